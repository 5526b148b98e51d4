"""Noise tables in files: ours (by id) and the published ones (by position).

No reader here can execute code: pickles are refused, `numpy` loads with `allow_pickle=False`.
Positions mean nothing without an order, so a file without ids is read with `order="torchvision"`
only: row 17 belongs to the id "train_00017", which is how tfds names CIFAR's examples.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from famus_jax.data.noise.table import LabelTable, make_table
from famus_jax.data.sources.classes import number_classes, numbers_or_names, says_nothing
from famus_jax.data.sources.labels_in_arrays import one_label_each
from famus_jax.data.sources.numpy_files import array_names, read_array, read_arrays
from famus_jax.data.sources.tables import SUFFIXES, quote_formula, read_columns, read_text
from famus_jax.files import write_atomically

FORMAT = "famus_noise_table/1"
Order = Literal["ids", "torchvision"]


def write_table(path: str | os.PathLike, table: LabelTable) -> None:
    """Write a table as `.json` (with `about`) or `.csv` (id, label), atomically.

    Rows are sorted by id, so that equal tables are equal files. Labels with names are written by name.

    Raises:
      ValueError: another suffix, no such folder, or, in a `.csv`, a class whose name would be read as
        no label.
    """
    target = Path(path)
    rows = sorted(zip(table.ids, table.written_labels(), strict=True))
    kind = target.suffix.lower()
    if kind not in (".json", ".csv"):
        raise ValueError(f"can't write a noise table to {target.name!r}; use .json or .csv")
    if not target.parent.is_dir():
        raise ValueError(f"can't write {target}: there is no folder {target.parent}")
    if kind == ".json":
        head: dict[str, object] = {"format": FORMAT, "digest": table.digest, "about": table.about}
        if table.class_names:
            head["classes"] = list(table.class_names)
        text = json.dumps({**head, "labels": dict(rows)}, indent=0, ensure_ascii=False)
    else:
        _refuse_silent_names(target, table)
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerow(["id", "label"])
        writer.writerows((quote_formula(i), quote_formula(str(y))) for i, y in rows)
        text = file.getvalue()
    write_atomically(target, text.encode())


def _refuse_silent_names(path: Path, table: LabelTable) -> None:
    """A `.csv` has no place for the classes that there are, so that "NA" would be read as no label."""
    for name in dict.fromkeys(table.written_labels()) if table.class_names else ():
        if says_nothing(str(name)):
            raise ValueError(
                f"can't write {path.name!r}: the class {name!r} would be read as no label there; use "
                ".json, which lists the classes"
            )


_PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}


def _refuse_pickle(path: Path) -> None:
    raise ValueError(
        f"{path} is a pickle (torch files are too): opening one can run any code it holds, so it "
        "is never opened here. Where you trust it, convert it once yourself, for CIFAR-N:\n"
        "    labels = torch.load(path, weights_only=False)['worse_label']\n"
        "    numpy.save('labels.npy', numpy.asarray(labels, dtype='int64'))\n"
        "and read the .npy with order='torchvision'."
    )


def _by_position(
    values: Sequence | np.ndarray, path: Path, order: Order, prefix: str, at: Callable | None = None
) -> LabelTable:
    if order != "torchvision":
        raise ValueError(
            f"{path} holds {len(values)} labels without ids. If row i is the example i of the "
            "original files (torchvision's order, which tfds does not keep), say "
            "order='torchvision' (famus noise inspect --order=torchvision); for your own data add "
            "the ids, the paths below the root, as a column or array 'id'."
        )
    ids = [f"{prefix}{row:05d}" for row in range(len(values))]
    return _table(ids, values, path, at, order=order)


def _table(
    ids: Sequence[str], values: Sequence | np.ndarray, path: Path, at: Callable | None, **about
) -> LabelTable:
    """Labels as a file holds them: all class numbers, or names."""
    cells = values.tolist() if isinstance(values, np.ndarray) else values
    numbers, names = numbers_or_names(cells, str(path), at=at)
    try:
        return make_table(ids, numbers, class_names=names, source=path.name, **about)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _from_json(path: Path, order: Order, prefix: str) -> LabelTable:
    try:
        value = json.loads(read_text(path), object_pairs_hook=_unique)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    except _Twice as error:
        raise ValueError(f"{path}: {error.args[0]!r} occurs more than once") from None
    if isinstance(value, list):  # DivideMix, and others: one label per row
        _refuse_odd(value, lambda row: f"{path}, row {row}")
        return _by_position(value, path, order, prefix)
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a list of labels or an object id -> label")
    ours = value.get("format") == FORMAT
    labels = value.get("labels") if ours else value
    about = value.get("about", {}) if ours else {}
    if not isinstance(labels, dict) or not isinstance(about, dict):
        raise ValueError(f"{path}: expected an object id -> label, as in {{'train_00017': 3}}")
    classes = value.get("classes", []) if ours else []
    ids, cells = list(labels), list(labels.values())

    def at(row: int) -> str:
        return f"{path}, id {ids[row]!r}"

    _refuse_odd(cells, at)
    if classes:
        numbers, names = number_classes(cells, str(path), at=at, class_names=classes)
        table = make_table(ids, numbers, class_names=names)
    else:
        table = _table(ids, cells, path, at)
    if ours and value.get("digest") != table.digest:
        raise ValueError(
            f"{path} says its digest is {value.get('digest')}, but its labels have {table.digest}: "
            "the file was changed or damaged; get it again, or write a new table"
        )
    return table._replace(about={**({} if ours else {"source": path.name}), **about})


def _refuse_odd(cells: list[object], at: Callable[[int], str]) -> None:
    """What JSON can hold and no label is: true, null, lists, objects."""
    for row, cell in enumerate(cells):
        if isinstance(cell, bool) or not isinstance(cell, int | float | str):
            raise ValueError(f"{at(row)}: label {cell!r} is neither a whole number nor a name")


class _Twice(Exception):
    """A name that an object in JSON has twice; Python would keep the last."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(name)
        found[name] = value
    return found


def _from_csv(path: Path, order: Order, prefix: str, key: str | None) -> LabelTable:
    column = key or "label"
    try:
        table = read_columns(path, [column], ["id"])
    except ValueError as error:
        name_it = "; name it with key=" if "has no column" in str(error) else ""
        raise ValueError(f"{error}{name_it}") from None
    labels = table.columns[column]
    if "id" in table.columns:
        ids = ["" if cell is None else str(cell) for cell in table.columns["id"]]
        if "" in ids:
            raise ValueError(f"{table.at(ids.index(''))}: there is no id")
        return _table(ids, labels, path, table.at)
    return _by_position(labels, path, order, prefix, table.at)


def _from_numpy(path: Path, order: Order, prefix: str, key: str | None) -> LabelTable:
    try:
        if array_names(path) is None:
            return _by_position(one_label_each(read_array(path), str(path)), path, order, prefix)
        column = key or "labels"
        found = read_arrays(path, [column], ["ids"])
    except ValueError as error:
        if "pickle" in str(error):
            _refuse_pickle(path)
        name_it = "; name it with key=" if "has no array" in str(error) else ""
        raise ValueError(f"{error}{name_it}") from None
    labels = one_label_each(found[column], str(path))
    if "ids" in found:
        return _table(found["ids"].tolist(), labels, path, None)
    return _by_position(labels, path, order, prefix)


def read_table(
    path: str | os.PathLike,
    *,
    order: Order = "ids",
    key: str | None = None,
    prefix: str = "train_",
) -> LabelTable:
    """Read a noise table.

    Args:
      path: `.json` (ours; an object id -> label; or a list, as DivideMix and its relatives
        write), another table (columns "id", "label"; see `read_columns`), `.npy` (integers [N]), `.npz`
        (arrays "ids", "labels"). Labels are class numbers, or names.
      order: "ids", or "torchvision" for files without ids: row i is example i of the original
        files. Never guessed.
      key: the column or array of the labels, e.g. "worse_label" of CIFAR-N.
      prefix: of the ids made for rows: "train_" gives "train_00017", tfds's name for row 17 of
        CIFAR's training batches.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a pickle or torch file (refused, with the reason), no ids and no order, a label
        that is missing, negative or a fraction (its row is named), a digest that does not fit.
    """
    if order not in ("ids", "torchvision"):
        raise ValueError(f"order = {order!r}; choose 'ids' or 'torchvision'")
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"no noise table at {source.absolute()}")
    suffix = source.suffix.lower()
    if suffix in _PICKLES:
        _refuse_pickle(source)
    if suffix == ".json":
        return _from_json(source, order, prefix)
    if suffix in SUFFIXES:
        return _from_csv(source, order, prefix, key)
    if suffix in (".npy", ".npz"):
        return _from_numpy(source, order, prefix, key)
    raise ValueError(
        f"{source.name!r}: noise tables are .json, {', '.join(SUFFIXES)}, .npy or .npz"
    )
