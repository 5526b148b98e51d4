"""Arrays as rows of an audit: an `.npz`, or features and labels in two files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from famus_jax.audit.items import UNLABELED
from famus_jax.audit.labels import read_labels
from famus_jax.audit.list_table import ID, LABEL
from famus_jax.audit.listing import Rows, distinct, numbered
from famus_jax.data.sources.arrays import checked_inputs
from famus_jax.data.sources.classes import At, written
from famus_jax.data.sources.labels_in_arrays import one_label_each
from famus_jax.data.sources.numpy_files import array_names, existing, read_array, read_arrays
from famus_jax.data.sources.tables import SUFFIXES, read_columns, read_text

INPUTS = ("images", "features")
LABELS, IDS, CLASS_NAMES = "labels", "ids", "class_names"


def rows_of_npz(source: Path, class_names: Sequence[str] = ()) -> Rows:
    """An `.npz` with `images` or `features`, `labels` and, if it has them, `ids` and `class_names`.

    Raises:
      FileNotFoundError, ValueError: see `read_arrays`, `checked_inputs`, `read_labels`; another number
        of labels or ids than of inputs; both arrays of inputs, or neither.
    """
    present = array_names(source) or ()
    inputs = [name for name in INPUTS if name in present]
    if len(inputs) != 1:
        raise ValueError(
            f"{source} has the arrays {list(present)}; expected one of 'images' and 'features', and "
            "'labels'"
        )
    arrays = read_arrays(source, [inputs[0], LABELS], [IDS, CLASS_NAMES])
    array, values = arrays[inputs[0]], cells_of_array(arrays[LABELS], f"{source}: array 'labels'")
    if not class_names and CLASS_NAMES in arrays:
        class_names = [written(name) for name in arrays[CLASS_NAMES].ravel().tolist()]
    if len(values) != len(array):
        raise ValueError(f"{source}: {len(values)} labels for {len(array)} {inputs[0]}")
    labels, names = read_labels(values, f"{source}: array 'labels'", class_names=class_names)
    ids = _ids_of_array(arrays, len(values), source)
    return _rows(array, ids, labels, names, values, str(source), source.name)


def rows_of_features(
    features: Path,
    labels: Path,
    class_names: Sequence[str] = (),
    *,
    label_column: str | None = None,
    id_column: str | None = None,
) -> Rows:
    """Features in one file, labels in another, matched by id where both have ids, else by row.

    Args:
      features: `.npy`, or `.npz` with "features" and, if it has them, "ids".
      labels: a table (columns `label` and, if it has one, `id`); `.npy`; `.npz` with "labels" and, if
        it has them, "ids"; `.txt`, a label per line.
      class_names: the classes there are, in their order; () takes those that occur.
      label_column, id_column: other names of these columns.

    Returns:
      Rows; `cells` and `example` are those of the file of labels. Matched by id, features without a
      label are examples without a label.

    Raises:
      FileNotFoundError, ValueError: also a label without features, an id that features or labels have
        more than once.
    """
    array, ids = _features(features)
    given = labels_of_file(labels, label_column, id_column)
    found, names = read_labels(given.values, str(labels), at=given.at, class_names=class_names)
    if ids is None or given.ids is None:
        if len(array) != len(found):
            raise ValueError(
                f"{labels} has {len(found)} labels, {features} {len(array)} rows of features; give one "
                "label per row (an empty one where there is none), or ids in both files"
            )
        of_rows = given.ids if ids is None else ids
        of_rows = numbered(len(found)) if of_rows is None else of_rows
        return _rows(array, of_rows, found, names, given.values, str(features), features.name)
    place = _places(ids, f"{features}: array 'ids'")
    _places(given.ids, str(labels))
    for row, name in enumerate(given.ids):
        if name not in place:
            raise ValueError(
                f"{given.at(row)}: {name!r} has a label, but no features in {features}"
            )
    to = np.asarray([place[name] for name in given.ids], np.int64)
    all_labels = np.full(len(ids), UNLABELED, np.int32)
    all_labels[to] = found
    rows = _rows(array, ids, all_labels, names, [None] * len(ids), str(features), features.name)
    return rows._replace(cells=given.values, example=rows.example[to])


class GivenLabels(NamedTuple):
    """Labels of a file of their own.

    Attributes:
      values: R cells.
      ids: R strings, or None.
      at: names a row for messages.
    """

    values: list[Any]
    ids: list[str] | None
    at: At


def labels_of_file(
    path: Path, label_column: str | None = None, id_column: str | None = None
) -> GivenLabels:
    """Labels of a table, an array or a text file (see `rows_of_features`)."""
    existing(path)
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        label, name = label_column or LABEL, id_column or ID
        table = read_columns(path, [label, name] if id_column else [label], [name])
        ids = [written(i) for i in table.columns[name]] if name in table.columns else None
        return GivenLabels(table.columns[label], ids, table.at)
    if suffix == ".txt":
        lines: list[Any] = lines_of(read_text(path))
        return GivenLabels(lines, None, lambda row: f"{path}, line {row + 1}")
    if suffix not in (".npy", ".npz"):
        raise ValueError(f"{path.name!r}: labels are {', '.join(SUFFIXES)}, .txt, .npy or .npz")
    present = array_names(path)
    array = read_array(path, LABELS if present and LABELS in present else None)
    values = cells_of_array(array, str(path))
    ids = None
    if present and IDS in present:
        ids = _ids_of_array(read_arrays(path, [IDS]), len(values), path)
    return GivenLabels(values, ids, lambda row: f"{path}, row {row}")


def lines_of(text: str) -> list[str]:
    r"""The lines of a text, whose last one may end or not.

    >>> lines_of("cat\r\n\ndog\n")
    ['cat', '', 'dog']
    """
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def cells_of_array(array: np.ndarray, where: str) -> list[Any]:
    """Labels [N] of numbers or strings as a list.

    Raises:
      ValueError: another shape or type, with the fix.
    """
    if array.ndim != 1 or array.dtype.kind not in "iufbUS":
        one_label_each(array, where)
        raise ValueError(f"{where}: labels are {array.dtype}; expected numbers or names")
    return array.tolist()


def _features(path: Path) -> tuple[np.ndarray, list[str] | None]:
    present = array_names(path)
    array = read_array(path, "features" if present and "features" in present else None)
    if array.ndim != 2:
        raise ValueError(f"{path}: features have the shape {list(array.shape)}; expected [N, D]")
    if not present or IDS not in present:
        return array, None
    return array, _ids_of_array(read_arrays(path, [IDS]), len(array), path)


def _ids_of_array(arrays: dict[str, np.ndarray], count: int, source: Path) -> list[str]:
    if IDS not in arrays:
        return numbered(count)
    ids = arrays[IDS]
    if ids.shape != (count,) or ids.dtype.kind not in "iuUS":
        raise ValueError(
            f"{source}: array 'ids' is {ids.dtype}{list(ids.shape)}; expected {count} strings"
        )
    return [written(i) for i in ids.tolist()]


def _places(ids: list[str], where: str) -> dict[str, int]:
    place = {name: row for row, name in enumerate(ids)}
    if len(place) < len(ids):
        name = next(name for row, name in enumerate(ids) if place[name] != row)
        raise ValueError(
            f"{where}: id {name!r} occurs more than once; to match by id, each must be unique"
        )
    return place


def _rows(
    array: np.ndarray,
    ids: list[str],
    labels: np.ndarray,
    names: tuple[str, ...],
    cells: list[Any],
    where: str,
    name: str,
) -> Rows:
    good = np.ones(len(array), bool)
    bad: dict[str, str] = {}
    if array.dtype.kind == "f" and array.ndim == 2:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        good = np.asarray(np.isfinite(array).all(axis=1))
        bad = {ids[row]: "not finite as float32" for row in np.flatnonzero(~good)}
    keys = (hash_of_row(i, array[row]) for row, i in enumerate(ids))
    found = distinct(ids, keys, labels, good)
    return Rows(
        kind="features" if array.ndim == 2 else "images",
        ids=found.ids,
        labels=labels[found.kept],
        class_names=names,
        name=name,
        inputs=checked_inputs(array[found.kept] if len(found.kept) < len(array) else array, where),
        paths=(),
        cells=cells,
        example=found.example,
        bad=bad,
        repeated=found.repeated,
    )


def hash_of_row(name: str, row: np.ndarray) -> tuple[str, int]:
    """Equal for rows of one id and the same content."""
    return name, hash(row.tobytes())
