"""Labels in arrays, checked: integers [N] in [0, C), or names. What is refused comes with the fix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from famus_jax.data.sources.classes import number_classes, refuse_gaps, written


def labels_of_array(
    values: np.ndarray | Sequence, where: str, class_names: Sequence[str] = ()
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class numbers, and the names of the classes.

    Args:
      values: integers [N], counted from 0; or strings [N], the names.
      where: the file and the array, for messages.
      class_names: the classes there are, in their order; () takes them from the labels.

    Returns:
      (int32[N], C names; () for integers without `class_names`).

    Raises:
      ValueError: another shape or dtype (one-hot, [N, 1], floats, booleans), a number outside
        [0, C), a class without examples; names: see `number_classes`.

    >>> labels_of_array([2, 0, 1], "set.npz")
    (array([2, 0, 1], dtype=int32), ())
    """
    array = one_label_each(np.asarray(values), where)
    if array.dtype.kind in "US":
        return number_classes(array.tolist(), where, class_names=class_names)
    count = len(class_names) or None
    _refuse_out_of_range(array, where, count)
    return array.astype(np.int32), tuple(map(written, class_names))


def one_label_each(array: np.ndarray, where: str) -> np.ndarray:
    """Return it; raise `ValueError` unless it is integers or strings, [N]."""
    if array.ndim != 1:
        raise ValueError(
            f"{where}: labels have the shape {list(array.shape)}; expected one per example, [N]"
            + _fix_of_shape(array)
        )
    if array.size and array.dtype.kind not in "iuUS":
        raise ValueError(
            f"{where}: labels are {array.dtype}; expected whole numbers from 0"
            + _fix_of_type(array)
        )
    return array


def _fix_of_shape(array: np.ndarray) -> str:
    if array.ndim == 2 and array.shape[1] == 1:
        return ": save labels[:, 0]"
    if array.ndim == 2:
        return ". One-hot or probabilities? Save labels.argmax(axis=1)"
    return ""


def _fix_of_type(array: np.ndarray) -> str:
    if array.dtype.kind == "b":
        return ": save labels.astype('int64')"
    if array.dtype.kind != "f":
        return ""
    odd = np.flatnonzero(~np.isfinite(array) | (array != np.floor(array)))
    if not odd.size:
        return ": save labels.astype('int64')"
    return f"; row {odd[0]} is {array[odd[0]]:g} ({odd.size} such rows)"


def _refuse_out_of_range(array: np.ndarray, where: str, count: int | None) -> None:
    """Makes nothing that is as long as the highest label is high."""
    low = np.flatnonzero(array < 0)
    if low.size:
        raise ValueError(
            f"{where}: label {array[low[0]]} at row {low[0]} names no class ({low.size} such rows); "
            "classes count from 0, and -1 or -100 often mark examples without a label: leave these out"
        )
    if count is not None:
        high = np.flatnonzero(array >= count)
        if high.size:
            raise ValueError(
                f"{where}: label {array[high[0]]} at row {high[0]} is outside the {count} classes "
                f"0 … {count - 1} ({high.size} such rows)"
            )
        return
    unique = "numpy.unique(labels, return_inverse=True)[1]"
    refuse_gaps(array, f"number the classes 0, 1, 2, … without gaps: {unique}", where)
