"""Random access to single images for streaming: row -> uint8[H, W, C] of one size.

A source is small and can be pickled: worker processes get their own copy and open the files
themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from famus_jax.data.sources.file_lists import FileList
from famus_jax.data.sources.images import (
    checked_size,
    decode,
    resize,
    try_decode,
    warn_of_frames,
)
from famus_jax.data.sources.tfds import eight_bits, open_builder
from famus_jax.data.sources.unreadable import check_tolerance, report_unreadable


class ImageSource(Protocol):
    """Images by row."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, row: int) -> np.ndarray:
        """Image `row` as uint8[H, W, C]."""
        ...


class ArraySource:
    """Rows of an array, e.g. of `numpy.load(path, mmap_mode="r")`."""

    def __init__(self, images: np.ndarray):
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> np.ndarray:
        return np.asarray(self._images[row])


class FileSource:
    """Image files, decoded when asked for.

    Args:
      files: paths and names.
      size: height and width to fit to; None keeps each image's own (for random crops on the host).
      channels: 3 or 1.
    """

    def __init__(
        self, files: FileList, size: int | tuple[int, int] | None = None, channels: int = 3
    ):
        self._paths = [os.fspath(path) for path in files.paths]
        self._ids, self._size, self._channels = files.ids, checked_size(size), channels

    def __len__(self) -> int:
        return len(self._paths)

    def files(self, rows: np.ndarray) -> list[Path]:
        """The files of these rows."""
        return [Path(self._paths[row]) for row in rows]

    def __getitem__(self, row: int) -> np.ndarray:
        try:
            return decode(self._paths[row], self._size, self._channels)
        except Exception as error:
            raise ValueError(
                f"image {self._ids[row]} can't be read ({type(error).__name__}: {error}). Mend or "
                "remove it, or leave a share of such out: famus train --config.data.tolerance=0.01 "
                "(from Python: readable(files, tolerance=0.01)) reads every image once at the start "
                "and names all such"
            ) from error


class TfdsSource:
    """The images of a prepared tfds split, read without TensorFlow.

    Args:
      name, split, data_dir: as in `load_source`.
      size: height and width to fit to, or None for the images' own.
    """

    def __init__(
        self,
        name: str,
        split: str,
        data_dir: str | os.PathLike | None = None,
        size: int | tuple[int, int] | None = None,
    ):
        self._where, self._size, self._source = (name, split, data_dir), checked_size(size), None
        self._open()

    def _open(self):
        if self._source is None:
            name, split, data_dir = self._where
            self._source = open_builder(name, data_dir).as_data_source(split=split)
        return self._source

    def __getstate__(self):
        return {**self.__dict__, "_source": None}

    def __len__(self) -> int:
        return len(self._open())

    def files(self, rows: np.ndarray) -> list[Path]:
        """The files of the split, which hold these rows and the others."""
        del rows
        name, split, data_dir = self._where
        return [Path(p) for p in open_builder(name, data_dir).info.splits[split].filepaths]

    def __getitem__(self, row: int) -> np.ndarray:
        image = eight_bits(self._open()[row]["image"], f"{self._where[0]!r}: image {row}")
        return image if self._size is None else resize(image, self._size)


def readable(
    files: FileList,
    *,
    tolerance: float = 0.0,
    progress: Callable[[int], None] | None = None,
) -> FileList:
    """The files that can be decoded; the others are named and counted.

    Decodes every file once (with threads), so do it once per data set.

    Args:
      files: the list to check.
      tolerance: share of unreadable files that is only warned about.
      progress: called with the number of files checked, now and then.

    Raises:
      ValueError: more unreadable files than that.
    """
    check_tolerance(tolerance)

    frames: list[Path] = []  # which have several

    def why(path: Path) -> str | None:
        read = try_decode(path, None, 3, lambda: frames.append(path))
        return read if isinstance(read, str) else None

    left = _without(files, why, tolerance, progress)
    have = set(frames)
    names = [name for path, name in zip(files.paths, files.ids, strict=True) if path in have]
    warn_of_frames(names, len(files.paths))
    return left


def present(files: FileList, *, tolerance: float = 0.0) -> FileList:
    """The files that exist, without opening any; the others are named and counted, as in `readable`."""
    check_tolerance(tolerance)
    missing = "no such file (or a folder, a pipe or a device)"
    return _without(files, lambda path: None if path.is_file() else missing, tolerance)


def _without(
    files: FileList,
    why: Callable[[Path], str | None],
    tolerance: float,
    progress: Callable[[int], None] | None = None,
) -> FileList:
    """The files for which `why` gives no reason against them."""
    reasons: dict[str, str] = {}
    kept = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for row, reason in enumerate(pool.map(why, files.paths)):
            if progress is not None and row % 1000 == 0:
                progress(row)
            if reason is None:
                kept.append(row)
            else:
                reasons[files.ids[row]] = reason
    report_unreadable(reasons, len(files.paths), tolerance, "images", stacklevel=4)
    return files.take(kept)
