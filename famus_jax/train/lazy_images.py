"""Images that stay on disk until a batch needs them, in the place of `Examples.images`.

Labels, ids and their order are those of `famus_jax.data.load_source` for the same arguments, so that
splits and noise are too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from famus_jax import data
from famus_jax.data.sources.load import is_path, refuse_class_names
from famus_jax.data.sources.own_data import refuse_lost_classes
from famus_jax.data.sources.random_access import ImageSource
from famus_jax.data.sources.texts import is_text_table


class FiledImages(ImageSource, Protocol):
    """Images by row, and where they are kept."""

    def files(self, rows: np.ndarray) -> list[Path]:
        """The files that hold these rows."""
        ...


class LazyImages:
    """Stands for an array uint8 [N, H, W, C]: `images[17]` reads one, `images[positions]` none.

    `np.asarray` reads all of them. Can be pickled, for worker processes.

    Attributes:
      shape, dtype: as an array has them.
    """

    def __init__(self, source: FiledImages, ids: np.ndarray, rows: np.ndarray | None = None):
        """Images `rows` (all, if None) of `source`; `ids` are the names of all of `source`."""
        self._source, self._ids = source, np.asarray(ids)
        self._rows = np.arange(len(source)) if rows is None else np.asarray(rows)
        first = source[int(self._rows[0])] if len(self._rows) else np.zeros((0, 0, 0), np.uint8)
        self.shape, self.dtype = (len(self._rows), *first.shape), first.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: Any) -> Any:
        if not isinstance(row, int | np.integer):
            return LazyImages(self._source, self._ids, self._rows[row])
        row = int(self._rows[row])
        image = self._source[row]
        if image.shape != self.shape[1:]:
            raise ValueError(
                f"image {self._ids[row]} has the shape {image.shape}, the first one "
                f"{self.shape[1:]}: set data.image_size, so that all are fitted to one size"
            )
        return image

    def files(self, rows: np.ndarray | None = None) -> list[Path]:
        """The files that hold these rows (all, if None); those of a tfds set hold its others too."""
        return self._source.files(self._rows if rows is None else self._rows[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("reading images makes an array: copy=False can't be granted")
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            read = list(pool.map(self.__getitem__, range(len(self))))
        return np.stack(read).astype(dtype or self.dtype, copy=False)


class _Both:
    """The images of two sources, one after the other."""

    def __init__(self, first: FiledImages, second: FiledImages):
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, row: int) -> np.ndarray:
        count = len(self._first)
        return self._first[row] if row < count else self._second[row - count]

    def files(self, rows: np.ndarray) -> list[Path]:
        """See `LazyImages.files`."""
        count = len(self._first)
        return self._first.files(rows[rows < count]) + self._second.files(
            rows[rows >= count] - count
        )


def concatenate(first: Any, second: Any, ids: np.ndarray) -> Any:
    """The images of two sets, both arrays or both lazy; `ids` are those of the result."""
    if isinstance(first, LazyImages):
        return LazyImages(_Both(first, second), ids)
    return np.concatenate([first, second])


def load_lazily(
    source: str,
    split: str,
    data_dir: str | None = None,
    *,
    size: int | None = None,
    tolerance: float = 0.0,
    class_names: Sequence[str] = (),
    label_key: str = "label",
) -> data.Examples:
    """As `famus_jax.data.load_source`, but its `images` are `LazyImages`.

    A file that does not exist is found here. One that can't be read is found when it is read, unless
    `tolerance` is above 0: then every file is read once here.

    Raises:
      FileNotFoundError, ValueError: what `load_source` raises; for texts.
    """
    if is_path(source):
        if is_text_table(source):
            raise ValueError(
                f"{source} holds texts, which are read as a whole: set data.path = 'memory'"
            )
        files = data.list_path(source, split, class_names, label_key)
        find = data.readable if tolerance else data.present
        left = find(files, tolerance=tolerance)
        refuse_lost_classes(files, left)
        images: FiledImages = data.FileSource(left, size)
        return _examples(
            images, left.labels, left.ids, len(left.class_names), left.name, left.class_names
        )
    refuse_class_names(source, class_names)
    column = data.load_column(source, split, label_key, data_dir)
    images = data.TfdsSource(source, split, data_dir, size)
    name = column.name.removesuffix(f"/{label_key}")
    return _examples(
        images, column.values, column.ids, column.num_classes, name, column.class_names
    )


def _examples(
    images: FiledImages,
    labels: np.ndarray,
    ids: Sequence[str] | np.ndarray,
    num_classes: int,
    name: str,
    class_names: Sequence[str],
) -> data.Examples:
    ids = np.asarray(ids, np.str_)
    lazy: Any = LazyImages(images, ids)
    labels = np.asarray(labels, np.int32)
    return data.Examples(
        images=lazy,
        labels=labels,
        ids=ids,
        num_classes=num_classes,
        name=name,
        class_names=tuple(class_names),
    )
