"""Pictures that never cost a run: their text is drawn as it is, and what can't be drawn is said."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def new_figure(size: tuple[float, float], **options: Any) -> Any:
    """A matplotlib figure of `size` in inches that needs no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(size, **options)
    FigureCanvasAgg(figure)
    return figure


def drawn(path: Path, draw: Callable[[Path], None]) -> list[str]:
    """Draws a picture to `path`; what went wrong, as a list of at most one message.

    Only the picture is lost by it: what it shows is in a table already.
    """
    try:
        with _plain_text():
            draw(path)
    except Exception as error:  # whatever a library finds in names and images of any kind
        why = " ".join(str(error).split())[:200]
        return [f"{path} could not be drawn ({type(error).__name__}: {why})"]
    return []


@contextmanager
def _plain_text() -> Iterator[None]:
    """Text is no formula: "$" is a dollar. A letter that the font lacks is an empty box."""
    import matplotlib

    plain: Any = {"text.parse_math": False, "text.usetex": False}
    with matplotlib.rc_context(plain), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support .* natively")
        yield
