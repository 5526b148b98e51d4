"""The page of experiments, `report.html`: one file that holds all it needs (see `famus_jax.web`).

The charts are SVG that the page's own script draws from numbers in the file: so they fit any width,
follow the scheme's colors, and tell their values to a mouse and to the arrow keys. Drawn ahead, a
picture could do none of it; a library for it would be larger than all of the page.
"""

from __future__ import annotations

import html
import time
from collections.abc import Mapping, Sequence
from typing import Any

from famus_jax.files import finite
from famus_jax.printable import printable
from famus_jax.report import charts
from famus_jax.report.read import Directory
from famus_jax.web import asset, base_style, filled, one_script

SCRIPTS = ("elements", "axis", "chart", "small", "table", "main")


def page_content(directories: Sequence[Directory], reload: float | None = None) -> bytes:
    """The page as the bytes of one HTML file.

    Args:
      directories: at least one; their rows share a table, each has a section of charts.
      reload: seconds after which the page reads itself anew; None: it doesn't.
    """
    names = names_of(directories)
    parts = [section(one, name) for one, name in zip(directories, names, strict=True)]
    data = {
        "made": time.time(),
        "reload": reload,
        "columns": [column._asdict() for column in charts.COLUMNS],
        "experiments": parts,
        "differences": charts.differences([one.config for one in directories]),
    }
    title = names[0] if len(names) == 1 else f"{len(names)} experiments"
    return filled(
        _asset("template.html"),
        style=base_style() + _asset("style.css"),
        script=one_script([_asset(f"{name}.js") for name in SCRIPTS]),
        data=finite(data),
        title=html.escape(printable(title)),
    )


def names_of(directories: Sequence[Directory]) -> list[str]:
    """The folders' names, with as many of the folders above as tell them apart."""
    paths = [one.path.absolute() for one in directories]
    for count in range(1, 1 + max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]  # one of them was named twice


def section(one: Directory, name: str) -> dict[str, Any]:
    """What the page shows of one work directory, see `charts`."""
    return {
        "name": printable(name),
        "state": one.state,
        "progress": one.done / one.total if one.done is not None and one.total else None,
        "done": one.done,
        "total": one.total,
        "left": one.seconds_left,
        "what": one.what,
        "message": one.message,
        "at": one.at,
        "problems": list(one.problems),
        "rows": charts.table_rows(one),
        "curves": charts.curves(one),
        "byLoss": charts.weights_by_loss(one),
        "histograms": charts.histograms(one),
        "matrices": charts.matrices(one),
        "provenance": _provenance(one.provenance),
        "config": list(charts.flat(one.config).items()),
    }


def _provenance(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    flat = charts.flat(made)
    return [(name.removeprefix("versions."), text) for name, text in flat.items() if text]


def _asset(name: str) -> str:
    return asset("famus_jax.report", name)
