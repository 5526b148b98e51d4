"""The user's own images, as a list of files with labels: a folder per class, or a table.

The id of an example is its path below the root, "cat/0001.png", so that it stays the same when the
folder moves.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from famus_jax.data.sources.images import SUFFIXES


class FileList(NamedTuple):
    """Image files and their labels, nothing read yet.

    Attributes:
      paths: N files.
      labels: int32[N] in [0, C).
      ids: N unique strings.
      class_names: C names; class c is `class_names[c]`.
      name: for messages and tables.
    """

    paths: list[Path]
    labels: np.ndarray
    ids: list[str]
    class_names: tuple[str, ...]
    name: str


def _image_files(folder: Path) -> list[Path]:
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.parts[-2:]))


def list_folder(root: str | os.PathLike) -> FileList:
    """A folder with one folder of images per class.

    Args:
      root: classes are its sub-folders, numbered in alphabetical order; images may lie deeper in
        them. Files of other types and hidden ones are ignored.

    Raises:
      FileNotFoundError: no such folder.
      ValueError: no class folders, a class folder without images.
    """
    base = Path(root).expanduser()
    if not base.is_dir():
        raise FileNotFoundError(f"no folder at {base.absolute()}")
    classes = sorted(p for p in base.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(classes) < 2:
        raise ValueError(
            f"{base.absolute()} has {len(classes)} class folders; expected at least two folders of "
            f"images, one for each class, e.g. {base.name}/cat/1.png and {base.name}/dog/1.png"
        )
    paths, labels = [], []
    for number, folder in enumerate(classes):
        files = _image_files(folder)
        if not files:
            raise ValueError(
                f"class folder {folder} has no images ({', '.join(SUFFIXES)}); add some or remove "
                "the folder"
            )
        paths += files
        labels += [number] * len(files)
    return FileList(
        paths=paths,
        labels=np.asarray(labels, np.int32),
        ids=[path.relative_to(base).as_posix() for path in paths],
        class_names=tuple(folder.name for folder in classes),
        name=base.name,
    )


def read_columns(path: Path, columns: Iterable[str]) -> dict[str, list]:
    """Columns of a `.csv` (text) or `.parquet` file as lists.

    Raises:
      FileNotFoundError: no such file.
      ModuleNotFoundError: Parquet without pyarrow; says what to install.
      ValueError: a missing column (the present ones are listed), no rows, another suffix.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no table at {path.absolute()}")
    wanted = list(columns)
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            present = list(reader.fieldnames or [])
            rows = list(reader)
        table = {c: [row[c] for row in rows] for c in present}
    elif path.suffix == ".parquet":
        try:
            import pyarrow.parquet
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "reading Parquet needs pyarrow: pip install pyarrow (or save the table as .csv)"
            ) from error
        if int(pyarrow.__version__.partition(".")[0]) < 15:
            raise ModuleNotFoundError(
                f"pyarrow {pyarrow.__version__} can be made to run code by a Parquet file "
                "(CVE-2023-47248): pip install 'pyarrow>=15'"
            )
        present = list(pyarrow.parquet.read_schema(path).names)
        kept = [c for c in wanted if c in present]
        table = pyarrow.parquet.read_table(path, columns=kept).to_pydict()
    else:
        raise ValueError(f"{path.name!r}: tables are .csv or .parquet")
    missing = [c for c in wanted if c not in present]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]!r}; it has {present}")
    lengths = {len(table[c]) for c in wanted}
    if lengths == {0}:
        raise ValueError(f"{path} has no rows")
    return {c: table[c] for c in wanted}


def number_classes(values: list, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as numbers, and the names of the classes.

    Whole numbers (also as text) stay what they are; anything else is a name, numbered in
    alphabetical order.

    Raises:
      ValueError: an empty label (its row is named), a negative one, or a class number without
        examples below the highest one.
    """
    empty = [row for row, v in enumerate(values) if v is None or str(v).strip() == ""]
    if empty:
        raise ValueError(f"{where}: row {empty[0]} has no label ({len(empty)} such rows)")
    texts = [str(v).strip() for v in values]
    if all(t.lstrip("-").isdecimal() for t in texts):
        numbers = np.asarray([int(t) for t in texts], np.int64)
        if numbers.min() < 0:
            raise ValueError(f"{where}: label {numbers.min()} is negative; count classes from 0")
        present = np.unique(numbers)
        if len(present) != present[-1] + 1:
            absent = int(np.setdiff1d(np.arange(min(present[-1], len(present) + 1)), present)[0])
            raise ValueError(
                f"{where}: class {absent} has no examples although labels go up to {present[-1]}; "
                "number the classes 0, 1, 2, … without gaps"
            )
        return numbers.astype(np.int32), tuple(str(c) for c in range(len(present)))
    names = sorted(set(texts))
    number = {name: c for c, name in enumerate(names)}
    return np.asarray([number[t] for t in texts], np.int32), tuple(names)


def list_table(
    path: str | os.PathLike,
    *,
    path_column: str = "path",
    label_column: str = "label",
    root: str | os.PathLike | None = None,
) -> FileList:
    """A table of image paths and labels.

    Args:
      path: `.csv` with a header line, or `.parquet`.
      path_column, label_column: their names; labels are class numbers or names.
      root: folder that relative paths start from; the table's own folder by default.

    Raises:
      FileNotFoundError, ValueError, ModuleNotFoundError: see `read_columns`, `number_classes`; a
        path that occurs twice.
    """
    source = Path(path).expanduser()
    columns = read_columns(source, [path_column, label_column])
    labels, names = number_classes(columns[label_column], str(source))
    base = Path(root).expanduser() if root is not None else source.parent
    ids = [str(p) for p in columns[path_column]]
    if len(set(ids)) != len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise ValueError(f"{source}: path {twice!r} occurs more than once; one row per image")
    return FileList(
        paths=[base / i for i in ids], labels=labels, ids=ids, class_names=names, name=source.name
    )
