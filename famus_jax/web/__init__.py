"""Pages of one file: what `audit.html` and `report.html` share.

Such a page holds all it needs and can ask for nothing: its policy (CSP) forbids every connection, and
runs no script and no style but its own, known by their hashes. `base.css` has the colors, of both
schemes, and the looks of text and controls.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any


def asset(package: str, name: str) -> str:
    """The text of a file in the folder `web` of a package."""
    return (resources.files(package) / "web" / name).read_text("utf-8")


def base_style() -> str:
    """The style sheet that all pages begin with."""
    return (resources.files("famus_jax.web") / "base.css").read_text("utf-8")


def one_script(parts: Sequence[str]) -> str:
    """Scripts as one, whose names nobody else sees."""
    joined = "\n".join(parts)
    return f'(() => {{\n"use strict";\n{joined}\n}})();'


def filled(template: str, *, style: str, script: str, data: Any, **parts: str) -> bytes:
    """A page: the template with something in the place of each `{{MARK}}`.

    Args:
      template: with `{{POLICY}}`, `{{STYLE}}`, `{{SCRIPT}}`, `{{DATA}}` and one for each of `parts`.
      style, script: what the page may use, and nothing else.
      data: what JSON can hold, without NaN.
      parts: HTML by the mark in small letters, already escaped.

    Raises:
      KeyError: for a mark that nothing was given for.

    >>> from famus_jax.web import filled
    >>> filled("<b>{{NAME}}</b>{{DATA}}", style="", script="", data="</b>", name="a")
    b'<b>a</b>"\\\\u003c/b>"'
    """
    marks = {name.upper(): text for name, text in parts.items()}
    marks["POLICY"] = "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    marks |= {"STYLE": style, "SCRIPT": script}
    # ASCII only, and no "<": nothing in it can end the block, or mean something to a parser.
    marks["DATA"] = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    # At one go: what is put in is not looked through for further marks.
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda mark: marks[mark[1]], template).encode()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
