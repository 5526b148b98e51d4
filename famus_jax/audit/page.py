"""The page of an audit, `audit.html`: look through the suspects and decide, with keys or a mouse.

One file that holds all it needs. It asks no server for anything and can't: its policy (CSP) forbids every
connection, and runs no script but its own, known by its hash. Where a text of the data came to stand as
markup after all, it could do nothing.

What the page has is text and pictures of the data, so all of it is escaped: the fixed part (title,
warnings, facts) as HTML here, the rows as JSON in a block that no parser takes for markup; the script puts
them on the page as text only. Ids and names that no CSV can hold are shown as `decisions.written` has
them, so that what is saved can be read back by `decisions.read_decisions`.

The script draws the cards that are in sight, whatever their number. It is split by idea, and joined in the
order of `SCRIPTS`:

    base      the data, elements, numbers          panel     the item in focus
    csv       decisions.csv, written and read      filters   which rows are shown
    store     decisions, undo, what is kept        summary   the confusion of classes
    picker    choose one of many classes           main      keys, buttons, start
    grid      cards in sight
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from famus_jax.audit.decisions import check_decision, written, written_once

SCRIPTS = ("base", "csv", "store", "picker", "grid", "panel", "filters", "summary", "main")
SHOWN_OF_TEXT = 4000  # characters; a page of whole books would open slowly
MOST_CLASSES = 24  # of the confusion; of more classes the most confused ones
SHOWN_CLASSES = 16
_KINDS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}


class Row(NamedTuple):
    """One example on the page.

    Attributes:
      rank: 1 for the most suspicious; 0 without a label: it stands behind all others.
      id: unique.
      label: the given class, "" if there is none.
      p_wrong: the probability that the label is wrong, in [0, 1]; None (or NaN) if not known.
      suggested_label: the most probable class.
      p_suggested: its probability, in [0, 1].
      fits_no_class: no class is probable.
      is_label_issue: within the recommended cut.
      evidence: name -> value, higher where the label looks right; NaN where there is none.
      picture: an encoded PNG, JPEG or WebP, small (`thumbnail`), or None.
      text: what was classified, if it is text; the page shows its first 4,000 characters.
    """

    rank: int
    id: str
    label: str
    p_wrong: float | None
    suggested_label: str
    p_suggested: float
    fits_no_class: bool
    is_label_issue: bool
    evidence: Mapping[str, float]
    picture: bytes | None = None
    text: str | None = None


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
    of_class = written_once(class_names, "class names")
    if "" in of_class:
        raise ValueError("a class has an empty name, which means 'no label' here; name it")
    last = max((row.rank for row in rows), default=0) + 1
    rows = sorted(rows, key=lambda row: row.rank or last)
    ids = [row.id for row in rows]
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise ValueError(f"two rows have the id {twice!r}; ids must be unique")
    of_id = written_once(ids, "ids")
    data = {
        **_columns(rows, of_class),
        "classes": list(of_class),
        "decided": _decided(rows, of_id, of_class, decisions or {}),
        "confusion": None if confusion is None else _confusion(confusion, len(of_class)),
    }
    data["fingerprint"] = _fingerprint(data)
    style, script = _asset("style.css"), _script()
    parts = {
        "POLICY": "; ".join(
            (
                "default-src 'none'",
                "img-src data:",
                f"style-src '{_hash(style)}'",
                f"script-src '{_hash(script)}'",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        "TITLE": _escaped(title),
        "STYLE": style,
        "SCRIPT": script,
        "WARNINGS": _warnings(warnings),
        "FACTS": "".join(
            f"<tr><th scope=row dir=auto>{_escaped(fact.name)}</th><td dir=auto>{_escaped(fact.value)}"
            f"</td><td dir=auto>{_escaped(fact.meaning)}</td></tr>"
            for fact in facts
        ),
        # ASCII only, and no "<": nothing in it can end the block, or mean something to a parser.
        "DATA": json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
    }
    # At one go: what is put in is not looked through for further marks.
    page = re.sub(r"\{\{([A-Z]+)\}\}", lambda mark: parts[mark[1]], _asset("template.html"))
    return page.encode()


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


def _columns(rows: Sequence[Row], of_class: dict[str, int]) -> dict[str, Any]:
    """The rows as columns: names of fields once, not once a row."""
    names = list(dict.fromkeys(name for row in rows for name in row.evidence))
    return {
        "rank": [int(row.rank) for row in rows],
        "ids": [written(row.id) for row in rows],
        "given": [_position(row, row.label, of_class) if row.label else -1 for row in rows],
        "wrong": [_probability(row, "p_wrong", row.p_wrong) for row in rows],
        "suggested": [_position(row, row.suggested_label, of_class) for row in rows],
        "sure": [_probability(row, "p_suggested", row.p_suggested) for row in rows],
        "misfit": [int(row.fits_no_class) for row in rows],
        "issue": [int(row.is_label_issue) for row in rows],
        "pictures": [_data_uri(row) for row in rows],
        "texts": [None if row.text is None else _excerpt(row.text) for row in rows],
        "evidence": {
            written(name): [_number(row.evidence.get(name)) for row in rows] for name in names
        },
    }


def _position(row: Row, name: str, of_class: dict[str, int]) -> int:
    if written(name) not in of_class:
        raise ValueError(f"row {row.id!r}: {name!r} is not among the {len(of_class)} class names")
    return of_class[written(name)]


def _probability(row: Row, what: str, value: float | None) -> float | None:
    if value is None or math.isnan(value):
        return None
    if not 0 <= value <= 1:
        raise ValueError(f"row {row.id!r}: {what} = {value}; a probability is in [0, 1]")
    return _number(value)


def _number(value: float | None) -> float | None:
    """Six digits of it; None unless finite."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _data_uri(row: Row) -> str | None:
    if row.picture is None:
        return None
    for head, kind in _KINDS.items():
        if row.picture.startswith(head):
            return f"data:image/{kind};base64,{base64.b64encode(row.picture).decode()}"
    raise ValueError(f"row {row.id!r}: its picture is no PNG, JPEG or WebP; see thumbnail()")


def _excerpt(text: str) -> str:
    if len(text) <= SHOWN_OF_TEXT:
        return written(text)
    return f"{written(text[:SHOWN_OF_TEXT])} … ({len(text) - SHOWN_OF_TEXT:,} more characters)"


def _decided(
    rows: Sequence[Row],
    of_id: dict[str, int],
    of_class: dict[str, int],
    decisions: Mapping[str, tuple[str, str]],
) -> dict[int, tuple[str, int]]:
    """Row -> (word, position of the new class or -1)."""
    decided = {}
    for name, (word, new_label) in decisions.items():
        if written(name) not in of_id:
            raise ValueError(f"a decision about {name!r}, which is in no row; give its row as well")
        at = of_id[written(name)]
        check_decision(name, rows[at].label, word, new_label, of_class)
        if word:
            decided[at] = (word, of_class[written(new_label)] if new_label else -1)
    return decided


def _confusion(confusion: np.ndarray, classes: int) -> dict[str, Any]:
    """The counts of all classes, or of those that are confused most."""
    confusion = np.asarray(confusion, np.float64)
    if confusion.shape != (classes, classes) or not np.isfinite(confusion).all():
        raise ValueError(
            f"confusion of shape {confusion.shape} for {classes} classes; give finite [C, C]"
        )
    shown = np.arange(classes)
    if classes > MOST_CLASSES:
        moved = confusion - np.diag(np.diag(confusion))
        most = np.argsort(-(moved.sum(0) + moved.sum(1)), kind="stable")[:SHOWN_CLASSES]
        shown = np.sort(most)
    cells = [[_number(value) for value in row] for row in confusion[np.ix_(shown, shown)]]
    return {"shown": shown.tolist(), "cells": cells}


def _fingerprint(data: Mapping[str, Any]) -> str:
    """Of what decisions are about: the ids, their labels and the classes, in any order of the rows."""
    about = [sorted(zip(data["ids"], data["given"], strict=True)), data["classes"]]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


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
    return (resources.files("famus_jax.audit") / "web" / name).read_text("utf-8")


def _script() -> str:
    parts = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();'


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
