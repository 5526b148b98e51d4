"""Mended labels in place of the given ones, in the form that the source has."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from famus_jax.audit.decisions import RELABEL, WRONG, read_decisions
from famus_jax.audit.items import UNLABELED
from famus_jax.audit.labels import spellings
from famus_jax.audit.list_arrays import LABELS
from famus_jax.audit.list_table import LABEL, PATH
from famus_jax.audit.listing import Rows
from famus_jax.audit.mended_arrays import mended_npy, mended_npz, mended_txt
from famus_jax.audit.rewrite import rewritten
from famus_jax.data.sources.classes import is_missing, written
from famus_jax.data.sources.tables import SUFFIXES, quote_formula, read_columns
from famus_jax.evidence.table import escaped
from famus_jax.one_of import nearest


class Mended(NamedTuple):
    """New labels of some of N examples.

    Attributes:
      labels: int32 [N], the mended ones; -1 where there is none.
      wrong: bool [N], called wrong without a right one.
      confirmed: how many labels a person called right.
    """

    labels: np.ndarray
    wrong: np.ndarray
    confirmed: int


def by_decisions(rows: Rows, path: Path) -> Mended:
    """What `decisions.csv` says: "relabel" gives the new label, "wrong" leaves none.

    Raises:
      FileNotFoundError, ValueError: see `read_decisions`; an id that the source lacks, a label that is
        another one today.
    """
    decisions = read_decisions(path, rows.ids, rows.class_names, rows.labels)
    number = {name: c for c, name in enumerate(rows.class_names)}
    labels, wrong = rows.labels.copy(), np.zeros(len(rows.ids), bool)
    place = {name: at for at, name in enumerate(rows.ids)}
    for name, one in decisions.items():
        at = place[name]
        if one.decision == RELABEL:
            labels[at] = number[one.new_label]
        elif one.decision == WRONG:
            labels[at], wrong[at] = UNLABELED, True
    changed = (labels != rows.labels).sum()
    return Mended(labels, wrong, len(decisions) - int(changed))


def by_label_issues(rows: Rows, path: Path, above: float) -> Mended:
    """The suggested label for each one of `label_issues.csv` whose `p_wrong` is above a threshold.

    Raises:
      FileNotFoundError, ValueError: no such table; a threshold outside [0, 1); an id or a class that
        the source lacks, a label that is another one today, a probability that is none.
    """
    if not 0 <= above < 1:
        raise ValueError(f"above = {above!r} must be a probability in [0, 1)")
    columns = ("id", "label", "p_wrong", "suggested_label")
    table = read_columns(path, columns)
    place = {escaped(name): at for at, name in enumerate(rows.ids)}
    number = {escaped(name): c for c, name in enumerate(rows.class_names)} | {"": UNLABELED}
    labels = rows.labels.copy()
    for row, (name, *cells) in enumerate(zip(*(table.columns[c] for c in columns), strict=True)):
        given, p_wrong, suggested = ("" if cell is None else str(cell) for cell in cells)
        where = table.at(row)
        if name not in place:
            raise ValueError(
                f"{where}: the source has no id {name!r}; it is another one, or changed"
            )
        for label in (given, suggested):
            if label not in number:
                raise ValueError(
                    f"{where}: the source has no class {label!r}{nearest(label, number)}"
                )
        if number[given] != rows.labels[place[name]]:
            raise ValueError(
                f"{where}: {name!r} was labeled {given!r} and is not today: the source changed; "
                "audit it anew"
            )
        if given and _probability(p_wrong, where) > above and suggested:
            labels[place[name]] = number[suggested]
    return Mended(labels, np.zeros(len(labels), bool), 0)


def _probability(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"{where}: p_wrong {text!r} is no probability")
    return value


def together(
    decided: Mended, suggested: Mended, given: np.ndarray, undecided: np.ndarray
) -> Mended:
    """Decisions of a person, and suggestions for what none was made about.

    Args:
      decided, suggested: of the same N examples.
      given: int [N], the labels before.
      undecided: bool [N].
    """
    take = undecided & (suggested.labels != given)
    return decided._replace(labels=np.where(take, suggested.labels, decided.labels))


def content(
    rows: Rows,
    mended: Mended,
    source: Path,
    out: Path,
    *,
    label_column: str | None = None,
    drop_wrong: bool = False,
) -> bytes:
    """The mended source, or file of labels, as the file `out` is to hold it.

    Args:
      rows: what the source says.
      mended: of `rows.ids`.
      source: a folder, a table, an `.npz`, or the file of labels of features.
      out: where it goes: paths of images that were relative to the table are, from there.
      label_column: of a table, "label" by default.
      drop_wrong: leave out the rows whose labels are wrong, and no right one is known.

    Raises:
      ValueError: a format that can't hold the labels.
    """
    changed = np.flatnonzero(mended.labels != rows.labels)
    names = spellings(rows.cells, _labels_of_rows(rows), rows.class_names)
    new = {
        int(at): names[label] if (label := int(mended.labels[at])) >= 0 else "" for at in changed
    }
    if source.is_dir():
        return _table_of_folder(rows, mended, out, drop_wrong)
    # Also rows that repeat an example.
    changes = {row: new[at] for row, at in enumerate(rows.example.tolist()) if at in new}
    gone = {
        row
        for row, at in enumerate(rows.example.tolist())
        if drop_wrong and mended.wrong[at] and at >= 0
    }
    suffix = source.suffix.lower()
    if suffix in SUFFIXES:
        cells: dict[str, Mapping[int, str]] = {label_column or LABEL: changes}
        if rows.kind == "images" and source.parent.resolve() != out.parent.resolve():
            cells[PATH] = moved_paths(source, out)
        return rewritten(source, cells, gone)
    if suffix == ".npz":
        return mended_npz(source, LABELS, changes, gone)
    return mended_txt(source, changes) if suffix == ".txt" else mended_npy(source, changes)


def _labels_of_rows(rows: Rows) -> np.ndarray:
    return np.where(rows.example >= 0, rows.labels[rows.example], UNLABELED)


def moved_paths(source: Path, out: Path) -> dict[int, str]:
    """Relative paths of a table of images, by row, as a table at `out` must have them."""
    values = read_columns(source, [PATH]).columns[PATH]
    return {
        row: _relative(source.parent / str(value), out)
        for row, value in enumerate(values)
        if not is_missing(written(value)) and not os.path.isabs(str(value))
    }


def _relative(path: Path, out: Path) -> str:
    try:
        return Path(os.path.relpath(path.absolute(), out.absolute().parent)).as_posix()
    except ValueError:  # another drive
        return str(path.absolute())


def _table_of_folder(rows: Rows, mended: Mended, out: Path, drop_wrong: bool) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((PATH, LABEL, "id"))
    for at, (name, path, label) in enumerate(
        zip(rows.ids, rows.paths, mended.labels.tolist(), strict=True)
    ):
        if not (drop_wrong and mended.wrong[at]):
            new = rows.class_names[label] if label >= 0 else ""
            writer.writerow(map(quote_formula, (_relative(Path(path), out), new, name)))
    try:
        return text.getvalue().encode()
    except UnicodeEncodeError as error:
        near = ascii(error.object[max(0, error.start - 30) : error.start + 10])
        raise ValueError(f"a file name is not UTF-8, near {near}: rename the file") from None


def pairs(rows: Rows, mended: Mended) -> list[tuple[str, str, int]]:
    """(label before, after, how many), the most frequent first; "" is no label."""
    changed = mended.labels != rows.labels
    found = np.stack([rows.labels[changed], mended.labels[changed]])
    both, counts = np.unique(found, axis=1, return_counts=True)
    names: Sequence[str] = (*rows.class_names, "")  # -1 is the last
    order = np.argsort(-counts, kind="stable")
    return [(names[both[0, i]], names[both[1, i]], int(counts[i])) for i in order]


def undecided(rows: Rows, path: Path) -> np.ndarray:
    """bool [N]: nobody has decided about the example."""
    decisions: Mapping[str, Any] = read_decisions(path, rows.ids, rows.class_names, rows.labels)
    return np.asarray([name not in decisions for name in rows.ids], bool)
