"""The page of an audit, `audit.html`: look through the suspects and decide, with keys or a mouse.

One file that holds all it needs. It asks no server for anything and can't: its policy (CSP) forbids
every connection, and runs no script but its own, known by its hash. Where a text of the data came to
stand as markup after all, it could do nothing.

What the page has is text and pictures of the data, so all of it is escaped: the fixed part (title,
warnings, facts) as HTML here, the rows as JSON in a block that no parser takes for markup; the script
puts them on the page as text only. Ids and names that no CSV can hold are shown as `decisions.written`
has them, so that what is saved can be read back by `decisions.read_decisions`.

The script draws the cards that are in sight, whatever their number. It is split by idea, and joined in
the order of `SCRIPTS`:

    base      the data, elements, numbers          panel     the item in focus
    csv       decisions.csv, written and read      filters   which rows are shown
    store     decisions, undo, what is kept        summary   the confusion of classes
    picker    choose one of many classes           main      keys, buttons, start
    grid      cards in sight
"""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from famus_jax.audit.decisions import written
from famus_jax.audit.page_data import Row, page_data
from famus_jax.web import asset, base_style, filled, one_script

SCRIPTS = ("base", "csv", "store", "picker", "grid", "panel", "filters", "summary", "main")
STYLES = ("style", "items")


class Fact(NamedTuple):
    """A number about the whole set: its name, its value as it is to be read, what it means."""

    name: str
    value: str
    meaning: str


def page_content(
    title: str,
    rows: Sequence[Row],
    class_names: Sequence[str],
    facts: Sequence[Fact],
    warnings: Sequence[str] = (),
    confusion: np.ndarray | None = None,
    decisions: Mapping[str, tuple[str, str]] | None = None,
) -> bytes:
    """A page as the bytes of one HTML file, the same for the same arguments.

    Args:
      title: what was audited.
      rows: in any order; the page sorts them by rank.
      class_names: C names, none of them empty.
      facts: about the whole set, in the order of the table.
      warnings: what must be known before trusting the list; they stand first.
      confusion: [C, C], number of examples of true class (row) and label (column).
      decisions: id -> (decision, new_label) (see `decisions.Decision`) to begin with, of ids in `rows`.

    Raises:
      ValueError: an id twice, a class that is not in `class_names`, a probability outside [0, 1], a
        picture that is no PNG, JPEG or WebP, a decision about no row; names the row's id.
    """
    data = page_data(rows, class_names, confusion, decisions or {})
    return filled(
        _asset("template.html"),
        style=base_style() + "".join(_asset(f"{name}.css") for name in STYLES),
        script=_script(),
        data=data,
        title=_escaped(title),
        warnings=_warnings(warnings),
        facts="".join(
            f"<tr><th scope=row dir=auto>{_escaped(fact.name)}</th><td dir=auto>{_escaped(fact.value)}"
            f"</td><td dir=auto>{_escaped(fact.meaning)}</td></tr>"
            for fact in facts
        ),
    )


def thumbnail(image: np.ndarray, size: int = 96) -> bytes:
    """A small picture of an image, encoded.

    One that fits into the square more than once is scaled up by a whole number, so that its pixels can
    be seen (8x8 becomes 96x96), and is a PNG. Any other is a JPEG, scaled down if it is too large.

    Args:
      image: uint8 [H, W, 1 or 3].
      size: side of the square in pixels.

    Raises:
      ValueError: another dtype or shape.

    >>> thumbnail(np.zeros((8, 8, 1), np.uint8))[1:4]
    b'PNG'
    """
    from PIL import Image

    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise ValueError(
            f"an image of dtype {image.dtype} and shape {image.shape}; give uint8 [H, W, 1 or 3]"
        )
    height, width = image.shape[:2]
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    content = io.BytesIO()
    times = size // max(height, width)
    if times > 1:
        picture = picture.resize((width * times, height * times), Image.Resampling.NEAREST)
        picture.save(content, "PNG", optimize=True)
    else:
        scale = min(1.0, size / max(height, width))
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture.resize(shape, Image.Resampling.LANCZOS).save(content, "JPEG", quality=85)
    return content.getvalue()


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li dir=auto>{_escaped(warning)}</li>" for warning in warnings)
    return (
        '<section class="warnings" aria-labelledby="warn"><h2 id="warn">Read this before you trust the '
        f"list</h2><ul>{items}</ul></section>"
    )


def _escaped(text: str) -> str:
    return html.escape(written(text))


def _asset(name: str) -> str:
    return asset("famus_jax.audit", name)


def _script() -> str:
    return one_script([_asset(f"{name}.js") for name in SCRIPTS])
