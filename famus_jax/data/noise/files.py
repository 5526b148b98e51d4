"""Noise tables in files: ours (by id) and the published ones (by position).

No reader here can execute code: pickles are refused, `numpy` loads with `allow_pickle=False`.
Positions mean nothing without an order, so a file without ids is read with `order="torchvision"`
only: row 17 belongs to the id "train_00017", which is how tfds names CIFAR's examples.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from famus_jax.data import hashing
from famus_jax.data.noise.transition import NoisyLabels, checked_labels, summarize

FORMAT = "famus_noise_table/1"
Order = Literal["ids", "torchvision"]


class LabelTable(NamedTuple):
    """Labels by example id.

    Attributes:
      ids: N unique strings.
      labels: int32[N].
      digest: fingerprint of the table, independent of order.
      about: what the file says of itself (seed, rate, …), strings and numbers.
    """

    ids: list[str]
    labels: np.ndarray
    digest: str
    about: dict[str, object]


def make_table(
    ids: Sequence[str] | np.ndarray, labels: Sequence[int] | np.ndarray, **about: object
) -> LabelTable:
    """A checked table: unique ids, whole labels >= 0."""
    values = checked_labels(labels, np.iinfo(np.int32).max)
    names = hashing.checked_ids(ids, len(values))
    return LabelTable(names, values, hashing.table_digest(names, values), about)


def align(table: LabelTable, ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """The table's labels in the order of `ids`, int32[M].

    Raises:
      ValueError: an id is not in the table (rows for other ids are ignored).
    """
    names = hashing.checked_ids(ids)
    by_id = dict(zip(table.ids, table.labels.tolist(), strict=True))
    missing = [name for name in names if name not in by_id]
    if missing:
        raise ValueError(
            f"the noise table has no label for {len(missing)} of {len(names)} examples, e.g. "
            f"{missing[0]!r}; its own ids look like {table.ids[0] if table.ids else '(none)'!r}. "
            "Is it a table for another set or split?"
        )
    return np.asarray([by_id[name] for name in names], np.int32)


def noisy_from_table(
    table: LabelTable,
    labels: np.ndarray | Sequence[int],
    ids: Sequence[str] | np.ndarray,
    num_classes: int,
) -> NoisyLabels:
    """The table as `NoisyLabels` of these examples, with the realized rate against `labels`."""
    return summarize(align(table, ids), np.asarray(labels), hashing.checked_ids(ids), num_classes)


def write_table(path: str | os.PathLike, table: LabelTable) -> None:
    """Write a table as `.json` (with `about`) or `.csv` (id, label), atomically.

    Rows are sorted by id, so that equal tables are equal files.

    Raises:
      ValueError: another suffix.
    """
    target = Path(path)
    rows = sorted(zip(table.ids, table.labels.tolist(), strict=True))
    if target.suffix not in (".json", ".csv"):
        raise ValueError(f"can't write a noise table to {target.name!r}; use .json or .csv")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            if target.suffix == ".json":
                head = {"format": FORMAT, "digest": table.digest, "about": table.about}
                json.dump({**head, "labels": dict(rows)}, file, indent=0, ensure_ascii=False)
            else:
                writer = csv.writer(file)
                writer.writerow(["id", "label"])
                writer.writerows(rows)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}


def _refuse_pickle(path: Path) -> None:
    raise ValueError(
        f"{path} is a pickle (torch files are too): opening one can run any code it holds, so it "
        "is never opened here. Where you trust it, convert it once yourself, for CIFAR-N:\n"
        "    labels = torch.load(path, weights_only=False)['worse_label']\n"
        "    numpy.save('labels.npy', numpy.asarray(labels, dtype='int64'))\n"
        "and read the .npy with order='torchvision'."
    )


def _by_position(values: object, path: Path, order: Order, prefix: str) -> LabelTable:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: expected a list of whole numbers, got {array.dtype} {array.shape}"
        )
    if order != "torchvision":
        raise ValueError(
            f"{path} holds {len(array)} labels without ids. If row i is the example i of the "
            "original files (torchvision's order, which tfds does not keep), say "
            "order='torchvision'."
        )
    ids = [f"{prefix}{row:05d}" for row in range(len(array))]
    return make_table(ids, array, source=path.name, order=order)


def _from_json(path: Path, order: Order, prefix: str) -> LabelTable:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if isinstance(value, list):  # DivideMix, and others: one label per row
        return _by_position(value, path, order, prefix)
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a list of labels or an object id -> label")
    labels = value["labels"] if value.get("format") == FORMAT else value
    about = value.get("about", {}) if value.get("format") == FORMAT else {"source": path.name}
    if not isinstance(labels, dict) or not all(
        isinstance(y, int) and not isinstance(y, bool) for y in labels.values()
    ):
        raise ValueError(f"{path}: every label must be a whole number, as in {{'train_00017': 3}}")
    table = make_table(list(labels), np.asarray(list(labels.values()), np.int64), **about)
    if value.get("format") == FORMAT and value.get("digest") != table.digest:
        raise ValueError(
            f"{path} says its digest is {value.get('digest')}, but its labels have {table.digest}: "
            "the file was changed or damaged; get it again, or write a new table"
        )
    return table


def _from_csv(path: Path, order: Order, prefix: str, key: str | None) -> LabelTable:
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        column = key or "label"
        names = reader.fieldnames or []
        if column not in names:
            raise ValueError(f"{path} has no column {column!r} (it has {names}); name it with key=")
        rows = list(reader)
    try:
        labels = np.asarray([int(row[column]) for row in rows], np.int64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: column {column!r} is not all whole numbers: {error}") from None
    if "id" in names:
        return make_table([row["id"] for row in rows], labels, source=path.name)
    return _by_position(labels, path, order, prefix)


def _from_numpy(path: Path, order: Order, prefix: str, key: str | None) -> LabelTable:
    names: list[str] = []
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return _by_position(loaded, path, order, prefix)
        with loaded:
            names = loaded.files
            column = key or "labels"
            if column not in names:
                raise KeyError(column)
            labels = loaded[column]
            ids = loaded["ids"] if "ids" in names else None
    except KeyError as error:
        raise ValueError(
            f"{path} has no array {error} (it has {names}); name it with key="
        ) from None
    except (ValueError, zipfile.BadZipFile) as error:
        if "pickle" in str(error):
            _refuse_pickle(path)
        raise
    if ids is not None:
        return make_table(ids, labels, source=path.name)
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
        write), `.csv` (columns "id", "label"), `.npy` (integers [N]), `.npz` (arrays "ids",
        "labels").
      order: "ids", or "torchvision" for files without ids: row i is example i of the original
        files. Never guessed.
      key: the column or array of the labels, e.g. "worse_label" of CIFAR-N.
      prefix: of the ids made for rows: "train_" gives "train_00017", tfds's name for row 17 of
        CIFAR's training batches.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a pickle or torch file (refused, with the reason), no ids and no order, labels
        that are no whole numbers, a digest that does not fit.
    """
    if order not in ("ids", "torchvision"):
        raise ValueError(f"order = {order!r}; choose 'ids' or 'torchvision'")
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"no noise table at {source.absolute()}")
    if source.suffix in _PICKLES:
        _refuse_pickle(source)
    if source.suffix == ".json":
        return _from_json(source, order, prefix)
    if source.suffix == ".csv":
        return _from_csv(source, order, prefix, key)
    if source.suffix in (".npy", ".npz"):
        return _from_numpy(source, order, prefix, key)
    raise ValueError(f"{source.name!r}: noise tables are .json, .csv, .npy or .npz")
