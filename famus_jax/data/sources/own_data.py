"""The user's own data at a path, as `Examples`: image folders, tables of images or texts, an `.npz`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from famus_jax.data import hashing
from famus_jax.data.sources.arrays import load_npz
from famus_jax.data.sources.classes import number_classes
from famus_jax.data.sources.file_lists import (
    FileList,
    classes_of_folder,
    list_folder,
    list_table,
)
from famus_jax.data.sources.folders import visible_folders
from famus_jax.data.sources.images import checked_size, read_images, resize
from famus_jax.data.sources.tables import SUFFIXES, read_columns
from famus_jax.data.sources.texts import (
    BUCKETS,
    LABEL,
    as_examples,
    is_text_table,
    list_texts,
    table_of_split,
)
from famus_jax.data.types import Examples, take
from famus_jax.files import expanded

TEST_SHARE = 0.25
# What people call the folders of a set that is split already.
_SPLITS = ("train", "test", "val", "valid", "validation", "dev", "eval")


def load_files(
    files: FileList,
    *,
    size: int | tuple[int, int] | None = None,
    channels: int = 3,
    tolerance: float = 0.0,
    progress: Callable[[int], None] | None = None,
) -> Examples:
    """Read a list of image files into memory (arguments and errors: `images.read_images`).

    Raises:
      ValueError: also if a class loses its last image because none can be read.
    """
    images, kept = read_images(
        files.paths,
        files.ids,
        size=size,
        channels=channels,
        tolerance=tolerance,
        progress=progress,
    )
    left = files.take(kept)
    refuse_lost_classes(files, left)
    return Examples(
        images=images,
        labels=left.labels,
        ids=np.asarray(left.ids, dtype=np.str_),
        num_classes=len(files.class_names),
        name=files.name,
        class_names=files.class_names,
    )


def refuse_lost_classes(files: FileList, readable: FileList) -> None:
    """Raises `ValueError` if a class has files, but none that can be read.

    A class without files is none of this: a small class may have none in the test part.
    """
    lost = np.setdiff1d(files.labels, readable.labels)
    if lost.size:
        name = files.class_names[int(lost[0])]
        raise ValueError(f"{files.name}: class {name!r} has no readable image left")


def held_out(labels: np.ndarray, ids: np.ndarray, part: str) -> np.ndarray:
    """Positions of "train" or "test" where the data come in one piece, or of "all" of them.

    A quarter of each class (rounded down), chosen by a hash of the id, is "test". Its labels are as
    noisy as the rest: accuracy on them is a lower bound.
    """
    if part == "all":
        return np.arange(len(labels))
    if part not in ("train", "test"):
        raise ValueError(f"split {part!r}; choose 'train', 'test' or 'all'")
    order = hashing.hash_order(0, "own_data_test", ids)
    by_class = order[np.argsort(labels[order], kind="stable")]  # one sort, however many classes
    starts = np.flatnonzero(np.diff(labels[by_class])) + 1
    rows = []
    for mine in np.split(by_class, starts):
        cut = int(len(mine) * TEST_SHARE)
        rows.append(mine[:cut] if part == "test" else mine[cut:])
    return np.sort(np.concatenate(rows))


def list_path(
    path: str | os.PathLike,
    split: str = "all",
    class_names: Sequence[str] = (),
    label_column: str = LABEL,
) -> FileList:
    """The image files that a path of the user's means, with their labels; nothing is read yet.

    Args:
      path: a folder of class folders; or with folders "train" and "test" (or others named as splits)
        of class folders; or a table (`tables.SUFFIXES`) with the columns "path" and "label".
      split: "train", "test" (or another of the folders) or "all". Data in one piece are split by
        `held_out`. A small class may then have nothing in "test".
      class_names: the classes there are, in their order; () takes them from the folders or the table
        (of split data, from "train").
      label_column: of a table.

    Raises:
      FileNotFoundError, ValueError: see `list_folder`, `list_table`; a class in another split that
        "train" does not have.
    """
    source = expanded(path)
    if source.is_dir():
        splits = split_folders(source)
        if splits:
            return _list_splits(source, split, splits, class_names)
        files = list_folder(source, class_names)
    elif source.suffix.lower() in SUFFIXES:
        files = list_table(source, label_column=label_column, class_names=class_names)
    elif not source.exists():
        raise FileNotFoundError(f"no data at {source.absolute()}")
    else:
        raise ValueError(
            f"{source.name!r}: expected a folder, a table ({', '.join(SUFFIXES)}) or .npz (features in "
            ".npy: load_features)"
        )
    return files.take(held_out(files.labels, np.asarray(files.ids), split))


def list_classes(table: Path, label_column: str = LABEL) -> tuple[str, ...]:
    """The classes of a table of images or texts, by its labels alone."""
    cells = read_columns(table, [label_column])
    return number_classes(cells.columns[label_column], str(table), at=cells.at)[1]


def split_folders(source: Path) -> list[str]:
    """The folders of a set that is split already, or [] if its folders are classes.

    "train" may be a class, beside "bus" and "car". It is a split if it holds folders, and the others
    are named as splits too, or another folder, whatever its name, holds a folder of the same name as
    one in "train": that one is a split then.
    """
    inside = {folder.name: folder for folder in visible_folders(source)}
    if "train" not in inside:
        return []
    classes = {name: {f.name for f in visible_folders(folder)} for name, folder in inside.items()}
    twins = {name for name in inside if name != "train" and classes[name] & classes["train"]}
    named = [name for name in inside if name in _SPLITS or name in twins]
    if classes["train"] and (twins or len(named) == len(inside)):
        return sorted(named)
    if len(named) == len(inside):
        raise ValueError(
            f"{source}: the folders {sorted(named)} are named as splits but hold no class folders; "
            f"expected {source.name}/train/cat/1.png. If these are the classes, rename one"
        )
    return []


def _list_splits(
    source: Path, split: str, splits: list[str], class_names: Sequence[str]
) -> FileList:
    wanted = splits if split == "all" else [split]
    if split not in ("all", *splits, *(folder.name for folder in visible_folders(source))):
        raise FileNotFoundError(
            f"{source} has the splits {splits}, but no folder {split!r}: name another with "
            f"data.train_split or data.test_split, or give {source / 'train'} as the source, of which "
            "a part is then held out; if 'train' is a class, rename it"
        )
    parts = [_list_split(source, name, class_names) for name in wanted]
    return FileList(
        paths=[path for part in parts for path in part.paths],
        labels=np.concatenate([part.labels for part in parts]),
        ids=[f"{name}/{i}" for name, part in zip(wanted, parts, strict=True) for i in part.ids],
        class_names=parts[0].class_names,
        name=f"{source.name}/{split}",
    )


def _list_split(source: Path, name: str, class_names: Sequence[str]) -> FileList:
    if class_names or name == "train":
        return list_folder(source / name, class_names)
    try:
        return list_folder(source / name, classes_of_folder(source / "train"))
    except ValueError as error:
        raise ValueError(f"{error} (the class folders of 'train' say which there are)") from error


def _fitted(examples: Examples, size: int | tuple[int, int] | None) -> Examples:
    """Images of arrays at the size that was asked for, as those of files are; features as they are."""
    return examples._replace(images=fitted_images(examples.images, size, examples.name))


def fitted_images(images: np.ndarray, size: int | tuple[int, int] | None, name: str) -> np.ndarray:
    """uint8 [N, H, W, C] fitted to a size (`images.fit`); features, and with None images, as they are.

    Raises:
      ValueError: images of other than 1 or 3 channels.
    """
    pair, shape = checked_size(size), images.shape
    if pair is None or len(shape) != 4 or shape[1:3] == pair or not len(images):
        return images
    if shape[-1] not in (1, 3):
        raise ValueError(
            f"{name}: images of {shape[-1]} channels can't be fitted to {pair}; save them at "
            "that size, or keep theirs (famus train: --config.data.image_size=0)"
        )
    return np.stack([resize(image, pair) for image in images])


def load_path(
    path: str | os.PathLike,
    split: str = "all",
    *,
    size: int | tuple[int, int] | None = None,
    channels: int = 3,
    tolerance: float = 0.0,
    class_names: Sequence[str] = (),
    label_column: str = LABEL,
    buckets: int = BUCKETS,
) -> Examples:
    """Load the user's data from one path, whatever they are.

    Args:
      path: as in `list_path`; an `.npz` with "images" and "labels"; a table with the columns "text" and
        "label"; or a folder with tables called like splits, `train.tsv` and `test.tsv`.
      split: "train", "test" or "all". Data in one piece are split by `held_out`.
      size: height and width to fit images to; None keeps theirs.
      channels, tolerance: for image files, see `images.read_images`.
      class_names: the classes there are, in their order; () takes them from the data.
      label_column: of a table; of an `.npz` the array, where it is not "labels".
      buckets: of texts, see `hashed_texts`.

    Raises:
      FileNotFoundError, ValueError: see `list_path`, `load_files`, `load_npz`, `list_texts`.
    """
    source = expanded(path)
    if source.is_dir() and (table := table_of_split(source, split)):
        train = table_of_split(source, "train")
        if split != "train" and train and not class_names:  # "train" says which classes there are
            class_names = list_classes(train, label_column)
        source, split = table, "all"
    if is_text_table(source):
        texts = list_texts(source, label_column=label_column, class_names=class_names)
        examples = as_examples(texts, buckets)
        return take(examples, held_out(examples.labels, examples.ids, split))
    if source.suffix.lower() == ".npz" and not source.is_dir():
        key = "labels" if label_column == LABEL else label_column
        examples = load_npz(source, labels=key, class_names=class_names)
        return _fitted(take(examples, held_out(examples.labels, examples.ids, split)), size)
    files = list_path(source, split, class_names, label_column)
    return load_files(files, size=size, channels=channels, tolerance=tolerance)
