"""The user's own images, as a list of files with labels: a folder per class, or a table.

The id of an example is its path below the root, "cat/0001.png", so that it stays the same when the
folder moves.
"""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from famus_jax.data.sources.classes import (
    is_missing,
    natural,
    number_classes,
    spelled,
    warn_of_capitals,
    written,
)
from famus_jax.data.sources.folders import Tree, visible_folders
from famus_jax.data.sources.images import SUFFIXES
from famus_jax.data.sources.tables import Table, read_columns
from famus_jax.files import expanded


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

    def take(self, rows: Sequence[int] | np.ndarray) -> FileList:
        """The files `rows`, in that order."""
        return self._replace(
            paths=[self.paths[row] for row in rows],
            labels=self.labels[np.asarray(rows, np.int64)],
            ids=[self.ids[row] for row in rows],
        )


def list_folder(root: str | os.PathLike, class_names: Sequence[str] = ()) -> FileList:
    """A folder with one folder of images per class.

    Args:
      root: classes are its sub-folders, numbered in natural order (2 before 10); images may lie deeper
        in them. Files of other types are ignored, and so are hidden files and folders at any depth.
        Links to files and folders are followed.
      class_names: the classes there are, in their order; not all need a folder, or images. () takes
        the sub-folders, each of which then needs images.

    Raises:
      FileNotFoundError: no such folder.
      ValueError: no class folders, a class folder without images, or of no class in `class_names`; a
        folder that two classes link to.
    """
    base = expanded(root)
    if not base.is_dir():
        raise FileNotFoundError(f"no folder at {base.absolute()}")
    folders = _class_folders(base, least=1 if class_names else 2)
    spellings = [written(folder.name) for folder in folders]
    labels, names = number_classes(
        spellings,
        str(base),
        at=lambda row: f"class folder {folders[row]}",
        class_names=tuple(class_names) or names_of_folders(spellings, base),
    )
    tree, found = Tree(base), []
    of_class: dict[int, list[Path]] = {}
    for label, folder in zip(labels.tolist(), folders, strict=True):
        of_class.setdefault(label, []).append(folder)
    for number, mine in sorted(of_class.items()):
        files = [file for folder in mine for file in tree.images(folder)]
        if not files and not class_names:
            raise ValueError(
                f"class folder {mine[0]} has no images ({', '.join(SUFFIXES)}); add some or remove "
                "the folder"
            )
        named = [(spelled(file.relative_to(base).as_posix()), file) for file in files]
        found += [(number, *pair) for pair in sorted(named, key=lambda pair: pair[0].split("/"))]
    tree.warn()
    if not found:
        raise ValueError(f"{base.absolute()}: none of the class folders has images")
    numbers, ids, paths = map(list, zip(*found, strict=True))
    _refuse_twice(ids, lambda row: ascii(str(paths[row])))
    return FileList(paths, np.asarray(numbers, np.int32), ids, names, base.name)


def classes_of_folder(root: Path) -> tuple[str, ...]:
    """The classes that `list_folder` finds there, by the folders' names; looks into none of them.

    Raises:
      ValueError: fewer than two folders.
    """
    return _sorted_names([written(folder.name) for folder in _class_folders(root, least=2)])


def _class_folders(base: Path, least: int) -> list[Path]:
    folders = visible_folders(base)
    if len(folders) < least:
        raise ValueError(
            f"{base.absolute()} has {len(folders)} class folders; expected at least two folders of "
            f"images, one for each class, e.g. {base.name}/cat/1.png and {base.name}/dog/1.png"
        )
    return folders


def _sorted_names(spellings: list[str]) -> tuple[str, ...]:
    return tuple(sorted(set(spellings), key=natural))


def names_of_folders(spellings: list[str], base: Path) -> tuple[str, ...]:
    """A folder is made on purpose, so that it may be called NA; but a script may have made it."""
    names = _sorted_names(spellings)
    warn_of_capitals(names, str(base))
    for name in filter(is_missing, names):
        warnings.warn(
            f"{base}: the folder {name!r} is a class here; if it holds what has no label, move it away",
            stacklevel=3,
        )
    return names


def list_table(
    path: str | os.PathLike,
    *,
    path_column: str = "path",
    label_column: str = "label",
    root: str | os.PathLike | None = None,
    class_names: Sequence[str] = (),
) -> FileList:
    """A table of image paths and labels.

    Args:
      path: a table, see `read_columns`.
      path_column, label_column: their names; labels are class numbers or names.
      root: folder that relative paths start from; the table's own folder by default.
      class_names: the classes there are, in their order; () takes them from the labels.

    Raises:
      FileNotFoundError, ValueError, ModuleNotFoundError: see `read_columns`, `number_classes`; a row
        without a path, a path that occurs twice.
    """
    source = expanded(path)
    table = read_columns(source, [path_column, label_column])
    labels, names = number_classes(
        table.columns[label_column], str(source), at=table.at, class_names=class_names
    )
    base = expanded(root) if root is not None else source.parent
    texts = _paths(table, path_column)
    paths = [on_disk(base / text) for text in texts]
    _refuse_twice([spelled(os.path.normpath(path)) for path in paths], table.at)
    return FileList(paths, labels, [spelled(text) for text in texts], names, source.name)


def _paths(table: Table, column: str) -> list[str]:
    for row, value in enumerate(table.columns[column]):
        if is_missing(written(value)):
            raise ValueError(
                f"{table.at(row)}: there is no {column}; fill it in or leave the row out"
            )
    return [str(value) for value in table.columns[column]]


def on_disk(path: Path) -> Path:
    """The file as the file system spells it, which may write "é" as one letter or as two."""
    if str(path).isascii() or path.exists():
        return path
    others = (Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD"))
    return next((other for other in others if other.exists()), path)


def _refuse_twice(keys: Sequence[str], at) -> None:
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        if first.setdefault(key, row) != row:
            raise ValueError(
                f"{at(row)}: {key!r} occurs more than once, first at {at(first[key])}; one image "
                "needs one name, in one spelling"
            )
