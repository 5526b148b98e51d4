"""The user's own data at a path, as `Examples`: image folders, tables of images, an `.npz`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from famus_jax.data import hashing
from famus_jax.data.sources.arrays import load_npz
from famus_jax.data.sources.file_lists import FileList, list_folder, list_table
from famus_jax.data.sources.images import read_images
from famus_jax.data.types import Examples, take

TEST_SHARE = 0.25


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
      ValueError: also if a class has no readable image left.
    """
    images, kept = read_images(
        files.paths,
        files.ids,
        size=size,
        channels=channels,
        tolerance=tolerance,
        progress=progress,
    )
    labels = files.labels[kept]
    counts = np.bincount(labels, minlength=len(files.class_names))
    if counts.min() == 0:
        name = files.class_names[int(counts.argmin())]
        raise ValueError(f"{files.name}: class {name!r} has no readable image left")
    ids = np.asarray([files.ids[row] for row in kept], dtype=np.str_)
    return Examples(
        images=images,
        labels=labels,
        ids=ids,
        num_classes=len(files.class_names),
        name=files.name,
        class_names=files.class_names,
    )


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
    rows = []
    for c in np.unique(labels):
        mine = order[labels[order] == c]
        cut = int(len(mine) * TEST_SHARE)
        rows.append(mine[:cut] if part == "test" else mine[cut:])
    return np.sort(np.concatenate(rows))


def list_path(path: str | os.PathLike, split: str = "all") -> FileList:
    """The image files that a path of the user's means, with their labels; nothing is read yet.

    Args:
      path: a folder of class folders; or with folders "train" and "test" of class folders; or a
        `.csv`/`.parquet` of paths and labels (columns "path", "label").
      split: "train", "test" or "all". Data in one piece are split by `held_out`.

    Raises:
      FileNotFoundError, ValueError: see `list_folder`, `list_table`; classes that differ between
        the folders "train" and "test".
    """
    source = Path(path).expanduser()
    if source.is_dir() and split != "all" and (source / "train").is_dir():
        files = list_folder(source / split)
        expected = list_folder(source / "train").class_names
        if files.class_names != expected:
            odd = sorted(set(files.class_names) ^ set(expected))
            raise ValueError(f"{source}: {split!r} and 'train' have different class folders: {odd}")
        ids = [f"{split}/{i}" for i in files.ids]
        return files._replace(ids=ids, name=f"{source.name}/{split}")
    if source.is_dir():
        files = list_folder(source)
    elif source.suffix in (".csv", ".parquet"):
        files = list_table(source)
    elif not source.exists():
        raise FileNotFoundError(f"no data at {source.absolute()}")
    else:
        raise ValueError(
            f"{source.name!r}: expected a folder, .csv, .parquet or .npz (features in .npy: "
            "load_features)"
        )
    rows = held_out(files.labels, np.asarray(files.ids), split)
    return files._replace(
        paths=[files.paths[row] for row in rows],
        labels=files.labels[rows],
        ids=[files.ids[row] for row in rows],
    )


def load_path(
    path: str | os.PathLike,
    split: str = "all",
    *,
    size: int | tuple[int, int] | None = None,
    channels: int = 3,
    tolerance: float = 0.0,
) -> Examples:
    """Load the user's data from one path, whatever they are.

    Args:
      path: as in `list_path`, or an `.npz` with "images" and "labels".
      split: "train", "test" or "all". Data in one piece are split by `held_out`.
      size, channels, tolerance: for image files, see `images.read_images`.

    Raises:
      FileNotFoundError, ValueError: see `list_path`, `load_files`, `load_npz`.
    """
    source = Path(path).expanduser()
    if source.suffix == ".npz" and not source.is_dir():
        examples = load_npz(source)
        return take(examples, held_out(examples.labels, examples.ids, split))
    files = list_path(source, split)
    return load_files(files, size=size, channels=channels, tolerance=tolerance)
