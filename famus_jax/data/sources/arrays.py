"""Arrays as `Examples`: in memory, in `.npz` and `.npy` files, images or precomputed features."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from famus_jax.data import hashing
from famus_jax.data.noise.transition import checked_labels
from famus_jax.data.sources.file_lists import number_classes, read_columns
from famus_jax.data.types import Examples


def from_arrays(
    images: np.ndarray,
    labels: np.ndarray,
    ids: Sequence[str] | np.ndarray | None = None,
    *,
    name: str,
    num_classes: int | None = None,
) -> Examples:
    """Check arrays and wrap them.

    Args:
      images: uint8[N, H, W, C], uint8[N, H, W] (gray), or floats [N, D] (features; float32 after).
      labels: integers [N] from 0.
      ids: N unique strings; by default the row numbers, "row_0000017" (then the order of the file
        must never change, or noise and splits go to other examples).
      name: for messages.
      num_classes: C; by default the highest label + 1.

    Raises:
      ValueError, TypeError: other shapes or dtypes, lengths that disagree, features that are not
        finite, an empty class.
    """
    array = np.asarray(images)
    if array.dtype == np.uint8 and array.ndim == 3:
        array = array[..., None]
    if array.dtype.kind == "f" and array.ndim >= 2:
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        if bad.size:
            raise ValueError(f"{name}: row {bad[0]} is not finite ({bad.size} such rows)")
        array = array.astype(np.float32)
    elif array.dtype != np.uint8 or array.ndim != 4:
        raise ValueError(
            f"{name}: images are {array.dtype}{list(array.shape)}; expected uint8 [N, H, W, C] or "
            "[N, H, W], or float features [N, D]"
        )
    count = int(num_classes) if num_classes is not None else int(np.max(labels, initial=-1)) + 1
    values = checked_labels(labels, max(count, 1))
    if len(values) != len(array) or len(array) == 0:
        raise ValueError(
            f"{name}: {len(values)} labels for {len(array)} images (at least 1 of each)"
        )
    empty = np.flatnonzero(np.bincount(values, minlength=count) == 0)
    if empty.size:
        raise ValueError(f"{name}: class {empty[0]} of {count} has no examples")
    names = [f"row_{row:07d}" for row in range(len(values))] if ids is None else ids
    checked = np.asarray(hashing.checked_ids(names, len(values)), dtype=np.str_)
    return Examples(images=array, labels=values, ids=checked, num_classes=count, name=name)


def load_npz(
    path: str | os.PathLike,
    *,
    images: str = "images",
    labels: str = "labels",
    ids: str = "ids",
) -> Examples:
    """An `.npz` file with arrays of images (or features), labels and, if present, ids.

    Args:
      path: the file; read without unpickling.
      images, labels, ids: names of the arrays in it.

    Raises:
      FileNotFoundError, ValueError, TypeError: see `from_arrays`; an array that is missing.
    """
    source = _existing(path)
    with np.load(source, allow_pickle=False) as file:
        present = file.files
    for name in (images, labels):
        if name not in present:
            raise ValueError(f"{source} has no array {name!r}; it has {present}")
    return from_arrays(
        _load_array(source, images),
        _load_array(source, labels),
        _load_array(source, ids) if ids in present else None,
        name=source.name,
    )


def load_features(
    features: str | os.PathLike,
    labels: str | os.PathLike,
    *,
    label_column: str = "label",
    id_column: str | None = None,
) -> Examples:
    """Precomputed features of any modality.

    Args:
      features: `.npy` or `.npz` (one array), floats [N, D].
      labels: `.npy`, `.npz` (integers [N]), `.csv` or `.parquet` (in the same order).
      label_column: of a table; class numbers or names.
      id_column: of a table, ids of the examples; row numbers by default.

    Returns:
      `Examples` with float32 "images" [N, D].
    """
    source, target = _existing(features), _existing(labels)
    ids = None
    if target.suffix in (".csv", ".parquet"):
        wanted = [label_column] + ([id_column] if id_column else [])
        columns = read_columns(target, wanted)
        values, _ = number_classes(columns[label_column], str(target))
        ids = [str(v) for v in columns[id_column]] if id_column else None
    else:
        values = _load_array(target)
    array = _load_array(source)
    if array.dtype.kind != "f":
        raise ValueError(f"{source}: features are {array.dtype}; expected floats [N, D]")
    return from_arrays(array, values, ids, name=source.name)


def _existing(path: str | os.PathLike) -> Path:
    source = Path(path).expanduser()
    if not source.is_file():
        raise FileNotFoundError(f"no file at {source.absolute()}")
    return source


def _load_array(path: Path, key: str | None = None) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
    except ValueError as error:
        if "pickle" in str(error):
            raise ValueError(
                f"{path} holds Python objects (a pickle), which could run code; save plain numeric "
                "arrays: numpy.save(path, numpy.asarray(x, dtype='float32'))"
            ) from None
        raise
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        name = key or (loaded.files[0] if len(loaded.files) == 1 else "")
        if name not in loaded.files:
            raise ValueError(f"{path} has arrays {loaded.files}, none is {name!r}; name it")
        try:
            return loaded[name]
        except ValueError as error:
            raise ValueError(f"{path}: array {name!r} can't be read: {error}") from None
