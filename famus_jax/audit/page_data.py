"""The rows of an audit as a page has them: checked, in the order of their ranks, as JSON."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from famus_jax.audit.decisions import check_decision, written, written_once

SHOWN_OF_TEXT = 4000  # characters; a page of whole books would open slowly
MOST_CLASSES = 24  # of the confusion; of more classes the most confused ones
SHOWN_CLASSES = 16
_KINDS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


class Row(NamedTuple):
    """One example on the page.

    Attributes:
      rank: 1 for the most suspicious; 0 without a label: it stands behind all others.
      id: unique.
      label: the given class, "" if there is none.
      p_wrong: the probability that the label is wrong, in [0, 1]; None (or NaN) if not known.
      suggested_label: the most probable class.
      p_suggested: its probability, in [0, 1].
      fits_no_class: it is unlike all other examples.
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


def page_data(
    rows: Sequence[Row],
    class_names: Sequence[str],
    confusion: np.ndarray | None,
    decisions: Mapping[str, tuple[str, str]],
) -> dict[str, Any]:
    """What the script of a page reads: of N rows, columns of N.

    Args, Raises: see `page.page_content`.

    Returns:
      Values for JSON. Classes are positions in `classes`, -1 for no label; what is not known is None.
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
        "decided": _decided(rows, of_id, of_class, decisions),
        "confusion": None if confusion is None else _confusion(confusion, len(of_class)),
    }
    data["fingerprint"] = _fingerprint(data)
    return data


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
    kinds = [kind for head, kind in _KINDS.items() if row.picture.startswith(head)]
    if row.picture[:4] == b"RIFF" and row.picture[8:12] == b"WEBP":
        kinds = ["webp"]
    if not kinds:
        raise ValueError(f"row {row.id!r}: its picture is no PNG, JPEG or WebP; see thumbnail()")
    return f"data:image/{kinds[0]};base64,{base64.b64encode(row.picture).decode()}"


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
