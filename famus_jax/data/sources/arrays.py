"""Arrays as `Examples`: in memory, in `.npz` and `.npy` files, images or precomputed features."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from famus_jax.data import hashing
from famus_jax.data.sources.classes import number_classes, spelled
from famus_jax.data.sources.labels_in_arrays import labels_of_array
from famus_jax.data.sources.numpy_files import existing, read_array, read_arrays
from famus_jax.data.sources.tables import SUFFIXES, read_columns
from famus_jax.data.types import Examples
from famus_jax.files import expanded


def from_arrays(
    images: np.ndarray,
    labels: np.ndarray,
    ids: Sequence[str] | np.ndarray | None = None,
    *,
    name: str,
    num_classes: int | None = None,
    class_names: Sequence[str] = (),
) -> Examples:
    """Check arrays and wrap them.

    Args:
      images: uint8[N, H, W, C], uint8[N, H, W] (gray), or floats [N, D] (features; float32 after).
      labels: integers [N] from 0, or strings [N], the names of the classes.
      ids: N unique strings; by default the row numbers, "row_0000017" (then the order of the file
        must never change, or noise and splits go to other examples).
      name: for messages.
      num_classes: C; by default the highest label + 1.
      class_names: the classes there are, in their order, not all of which need examples; () takes
        them from the labels.

    Raises:
      ValueError: other shapes or dtypes (each with its fix), channels first, lengths that
        disagree, features that are not finite, labels that are none, an empty class.

    >>> from_arrays([[0.5, 2.0], [1.5, 0.0]], ["dog", "cat"], name="two").labels
    array([1, 0], dtype=int32)
    """
    array = checked_inputs(np.asarray(images), name)
    values, names = labels_of_array(labels, f"{name}: array 'labels'", class_names)
    if len(values) != len(array) or len(array) == 0:
        axis = array.shape.index(len(values)) if len(values) in array.shape[1:] else 0
        fix = f"; save numpy.moveaxis(images, {axis}, 0)" if axis else ""
        raise ValueError(
            f"{name}: {len(values)} labels for {len(array)} images (at least 1 of each){fix}"
        )
    count = len(names) or int(values.max()) + 1
    if num_classes is not None and num_classes != count:
        if num_classes > count:
            raise ValueError(f"{name}: class {count} of {num_classes} has no examples")
        raise ValueError(f"{name}: label {values.max()} is outside the {num_classes} classes")
    rows = (
        [f"row_{row:07d}" for row in range(len(values))] if ids is None else texts_of_ids(ids, name)
    )
    checked = np.asarray(hashing.checked_ids(rows, len(values)), dtype=np.str_)
    return Examples(array, values, checked, count, name, names)


def texts_of_ids(ids: Sequence[str] | np.ndarray, name: str) -> list[str]:
    """Ids in one spelling. Raises `ValueError` for an array of anything but texts."""
    array = np.asarray(ids)
    if array.dtype.kind not in "US":
        raise ValueError(f"{name}: ids are {array.dtype}; expected strings: save ids.astype(str)")
    return [spelled(i.decode() if isinstance(i, bytes) else i) for i in array.tolist()]


def checked_inputs(array: np.ndarray, name: str) -> np.ndarray:
    """uint8[N, H, W, C] or float32[N, D].

    Raises:
      ValueError: other shapes or dtypes, each with its fix; channels first; a feature that is not
        finite.
    """
    if array.dtype == np.uint8 and array.ndim == 3:
        array = array[..., None]
    if array.dtype == np.uint8 and array.ndim == 4:
        if looks_channels_first(array.shape):
            raise ValueError(
                f"{name}: images have the shape {list(array.shape)}, which looks like channels first; "
                "expected [N, H, W, C]: save images.transpose(0, 2, 3, 1)"
            )
        return array
    if array.dtype.kind == "f" and array.ndim == 2:
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float32)
        bad = np.flatnonzero(~np.isfinite(narrow).all(axis=1))
        if bad.size:
            raise ValueError(
                f"{name}: row {bad[0]} is not finite as float32 ({bad.size} such rows)"
            )
        return narrow
    raise ValueError(
        f"{name}: images are {array.dtype}{list(array.shape)}; expected uint8 [N, H, W, C] or "
        f"[N, H, W], or float features [N, D]{_fix(array)}"
    )


def looks_channels_first(shape: Sequence[int]) -> bool:
    """Whether [N, a, b, c] is rather [N, C, H, W]: a < c, and b is nearer to c than to a.

    Height and width are nearer to each other than the channels are to either. One or three of the last
    axis are always channels.

    >>> looks_channels_first((60, 3, 32, 32)), looks_channels_first((60, 32, 32, 5))
    (True, False)
    """
    _, a, b, c = shape
    if c in (1, 3) or a >= c or not a:
        return False
    return max(b, c) / min(b, c) < max(a, b) / min(a, b) if b else False


def _fix(array: np.ndarray) -> str:
    if array.ndim < 3:
        return ": save features.astype('float32')" if array.dtype.kind in "iu" else ""
    if array.dtype.kind == "f":
        return (
            ". Images in [0, 1]: save (255 * images).round().astype('uint8'); in [0, 255]: "
            "images.round().astype('uint8'); features: images.reshape(len(images), -1)"
        )
    if array.dtype == np.uint16:
        return ". Save (images // 257).astype('uint8') if white is 65535"
    return (
        ". Save images.astype('uint8') if they lie in [0, 255]" if array.dtype.kind in "iub" else ""
    )


def load_npz(
    path: str | os.PathLike,
    *,
    images: str = "images",
    labels: str = "labels",
    ids: str = "ids",
    class_names: Sequence[str] = (),
) -> Examples:
    """An `.npz` file with arrays of images (or features), labels and, if present, ids.

    Args:
      path: the file; read without unpickling.
      images, labels, ids: names of the arrays in it.
      class_names: as in `from_arrays`.

    Raises:
      FileNotFoundError, ValueError: see `from_arrays`; an array that is missing, damage.
    """
    source = expanded(path)
    found = read_arrays(source, [images, labels], [ids])
    return from_arrays(
        found[images], found[labels], found.get(ids), name=source.name, class_names=class_names
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
      labels: `.npy`, `.npz` (integers or strings [N]), or a table (in the same order).
      label_column: of a table; class numbers or names.
      id_column: of a table, ids of the examples; row numbers by default.

    Returns:
      `Examples` with float32 "images" [N, D].
    """
    source, target = expanded(features), existing(expanded(labels))
    ids, names = None, ()
    if target.suffix.lower() in SUFFIXES:
        table = read_columns(target, [label_column] + ([id_column] if id_column else []))
        values, names = number_classes(table.columns[label_column], str(target), at=table.at)
        ids = [str(v) for v in table.columns[id_column]] if id_column else None
    else:
        values, names = labels_of_array(read_array(target), str(target))
    array = read_array(source)
    if array.dtype.kind != "f":
        raise ValueError(f"{source}: features are {array.dtype}; expected floats [N, D]")
    return from_arrays(array, values, ids, name=source.name, class_names=names)
