"""Label issues as tables: `label_issues.csv`, the same in Parquet, and what other tools need."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np

from famus_jax.audit.items import Items
from famus_jax.data.sources.tables import import_parquet
from famus_jax.evidence.table import csv_of, escaped, in_order
from famus_jax.evidence.types import LabelIssues
from famus_jax.files import write_atomically

COLUMNS = (
    "rank", "id", "path", "label", "p_wrong", "suggested_label", "p_suggested", "fits_no_class",
    "is_label_issue", "label_score",
)  # fmt: skip
_TEXTS = frozenset(("id", "path", "label", "suggested_label"))


def write_label_issues(folder: Path, items: Items, issues: LabelIssues) -> list[Path]:
    """Writes what is known of each label; each file is whole or absent, and the same on every run.

    `label_issues.csv`, and `label_issues.parquet` where pyarrow is installed: a row for every example,
    the label that is most likely wrong first, those without a label last (rank 0). `label_score` is
    1 - p_wrong, as cleanlab has it. Then come the columns of the evidence. Texts that a spreadsheet
    would run are quoted in the `.csv` (`tables.quote_formula`).

    `pred_probs.npy`: float32 [N, C], probabilities of the classes, rows in the data's order; and
    `pred_probs_rows.csv`: the id, the label and its column in `pred_probs.npy` (-1 without a label) of
    each of these rows. For cleanlab, where every class occurs:

        rows = pandas.read_csv("pred_probs_rows.csv")
        known = rows["column"] >= 0
        lab = Datalab({"label": rows["column"][known].tolist()}, label_name="label")
        lab.find_issues(pred_probs=numpy.load("pred_probs.npy")[known])

    By number, since cleanlab sorts names by their letters (10 before 2), and columns are in the order
    of `items.class_names`.

    Args:
      folder: where to; made if it is not there.
      items: the examples.
      issues: of the same examples.

    Returns:
      The files.

    Raises:
      ValueError: shapes that disagree; evidence of the name of a column.
    """
    columns = _columns(items, issues)
    files = {"label_issues.csv": csv_of(columns)}
    if importlib.util.find_spec("pyarrow") is not None:
        files["label_issues.parquet"] = _parquet_of(columns)
    content = io.BytesIO()
    np.save(content, np.asarray(issues.probabilities, np.float32), allow_pickle=False)
    files["pred_probs.npy"] = content.getvalue()
    names = [_name(items, label) for label in items.labels.tolist()]
    files["pred_probs_rows.csv"] = csv_of(
        {"id": _texts(items.ids), "label": names, "column": items.labels.tolist()}
    )
    for name, data in files.items():
        write_atomically(Path(folder) / name, data)
    return [Path(folder) / name for name in files]


def _columns(items: Items, issues: LabelIssues) -> dict[str, list[Any]]:
    """All columns in the order of the ranks."""
    count = len(items.ids)
    _check(items, issues)
    paths = list(items.paths) if len(items.paths) else [""] * count
    columns: dict[str, list[Any]] = {
        "rank": issues.rank.tolist(),
        "id": _texts(items.ids),
        "path": _texts(paths),
        "label": [_name(items, label) for label in items.labels.tolist()],
        "p_wrong": issues.p_wrong.tolist(),
        "suggested_label": [_name(items, label) for label in issues.suggested_label.tolist()],
        "p_suggested": issues.p_suggested.tolist(),
        "fits_no_class": issues.fits_no_class.tolist(),
        "is_label_issue": issues.is_label_issue.tolist(),
        "label_score": (1 - issues.p_wrong).tolist(),
        **{name: np.asarray(v, np.float64).tolist() for name, v in issues.evidence.items()},
    }
    return in_order(columns, issues.rank)


def _check(items: Items, issues: LabelIssues) -> None:
    count, classes = len(items.ids), len(items.class_names)
    taken = [name for name in issues.evidence if name in COLUMNS]
    if taken:
        raise ValueError(
            f"evidence can't be called {taken[0]!r}: a column of the table has that name"
        )
    arrays = {**issues._asdict(), **issues.evidence}
    for name in (*issues._fields[:6], *issues.evidence):
        if np.shape(arrays[name]) != (count,):
            raise ValueError(f"{name} has the shape {np.shape(arrays[name])}; expected ({count},)")
    if np.shape(issues.probabilities) != (count, classes):
        raise ValueError(
            f"probabilities have the shape {np.shape(issues.probabilities)}; expected one for each of "
            f"{count} examples and {classes} classes"
        )


def _name(items: Items, label: int) -> str:
    return escaped(items.class_names[label]) if label >= 0 else ""


def _texts(values: Any) -> list[str]:
    return [escaped(str(value)) for value in values]


def _parquet_of(columns: dict[str, list[Any]]) -> bytes:
    """As the `.csv`, but numbers in full, and nothing quoted."""
    parquet = import_parquet()
    import pyarrow

    types = {name: pyarrow.string() for name in _TEXTS}
    arrays = {
        name: pyarrow.array(values, types.get(name), from_pandas=True)
        for name, values in columns.items()
    }
    content = io.BytesIO()
    parquet.write_table(pyarrow.table(arrays), content)
    return content.getvalue()
