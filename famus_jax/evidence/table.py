"""Label issues as columns of a table, and columns as a CSV that is the same on every run."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from famus_jax.data.sources.tables import quote_formula
from famus_jax.evidence.types import LabelIssues


def issue_columns(
    issues: LabelIssues, ids: Sequence[Any], labels: Any, names: Sequence[str] = ()
) -> dict[str, list[Any]]:
    """What is known of each label, in the order of the ranks; those without a rank (0) come last.

    The columns are `rank`, `id`, `label`, `p_wrong`, `suggested_label`, `p_suggested`,
    `is_label_issue`, `label_score` (1 - p_wrong, as cleanlab has it) and one of each kind of evidence.

    Args:
      issues: of N examples.
      ids: [N], of any type; they become text.
      labels: int [N], those that are shown as given; -1: none.
      names: of the classes; by default their numbers.

    Raises:
      ValueError: evidence of the name of a column; another number of ids or labels.
    """
    count = len(issues.rank)
    if len(ids) != count or np.shape(labels) != (count,):
        raise ValueError(f"{len(ids)} ids and labels {np.shape(labels)} for {count} label issues")

    def name(label: int) -> str:
        return escaped(name_of(label, names)) if label >= 0 else ""

    columns: dict[str, list[Any]] = {
        "rank": issues.rank.tolist(),
        "id": [escaped(str(one)) for one in ids],
        "label": [name(label) for label in np.asarray(labels).tolist()],
        "p_wrong": issues.p_wrong.tolist(),
        "suggested_label": [name(label) for label in issues.suggested_label.tolist()],
        "p_suggested": issues.p_suggested.tolist(),
        "is_label_issue": issues.is_label_issue.tolist(),
        "label_score": (1 - issues.p_wrong).tolist(),
    }
    for kind, values in issues.evidence.items():
        if kind in columns:
            raise ValueError(f"evidence can't be called {kind!r}: a column has that name")
        columns[kind] = np.asarray(values, np.float64).tolist()
    return in_order(columns, issues.rank)


def in_order(columns: Mapping[str, Sequence[Any]], rank: np.ndarray) -> dict[str, list[Any]]:
    """Every column by rising rank, those of rank 0 last in the order they have."""
    order = np.argsort(np.where(rank > 0, rank, len(rank) + 1), kind="stable")
    return {name: [values[row] for row in order] for name, values in columns.items()}


def name_of(label: int, names: Sequence[str]) -> str:
    """A class by its name, or by its number where it has none."""
    return names[label] if len(names) else str(label)


def escaped(text: str) -> str:
    r"""A text as a file can hold it: the character 0 and bytes that are no UTF-8 are escaped.

    >>> escaped("a.png"), escaped("\udcff.png")
    ('a.png', '\\udcff.png')
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def csv_of(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """A CSV in UTF-8; numbers with six digits, nothing for NaN; what a spreadsheet would run is quoted.

    >>> csv_of({"id": ["=1+1", "b"], "p": [0.25, float("nan")]}).decode().split()
    ['id,p', "'=1+1,0.25", 'b,']
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([quote_formula(name) for name in columns])
    for cells in zip(*columns.values(), strict=True):
        writer.writerow(map(_cell, cells))
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return quote_formula(value) if isinstance(value, str) else str(value)
