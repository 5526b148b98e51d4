"""Examples, labels and trusted labels from arrays in memory, as `Classifier` takes them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from famus_jax.audit.items import UNLABELED, Items
from famus_jax.audit.labels import read_labels
from famus_jax.audit.run import Known, nothing_known
from famus_jax.data.sources.classes import written


class Encoded(NamedTuple):
    """Labels as places among classes.

    Attributes:
      labels: int32 [N], -1 for none; C or more for one that is no class, if these are asked for.
      classes: [C], as they were written.
      names: the same as text.
    """

    labels: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...]


def inputs_of(X: Any, fitting: bool = False) -> np.ndarray:
    """uint8 [N, H, W, C] or float32 [N, D]."""
    images = np.asarray(X).ndim in (3, 4)  # np.ndim would ask X itself, which may refuse
    if images:
        found = np.asarray(X)
        if found.dtype != np.uint8:
            raise ValueError(
                f"X is {found.dtype} {list(found.shape)}: images are uint8, 0 to 255 "
                "(np.uint8(255 * X) of images in [0, 1]); features are [N, D]"
            )
        if not found.size:
            raise ValueError(f"X has the shape {list(found.shape)}: there are no images")
        return found[..., None] if found.ndim == 3 else found
    try:
        from sklearn.utils import check_array
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "Classifier needs scikit-learn: pip install famus_jax[train]"
        ) from None
    number: Any = np.float32
    return check_array(
        X, dtype=number, estimator="Classifier", ensure_min_samples=2 if fitting else 1
    )


def pair_of(trusted: Any) -> tuple[Any, Any] | None:
    """(X, y), if that is what `trusted` is."""
    if isinstance(trusted, tuple) and len(trusted) == 2 and np.ndim(trusted[0]) >= 2:
        return trusted
    return None


def column_of(y: Any, count: int, what: str = "y") -> list[Any]:
    """One label for each of `count` examples, as it is written. Raises `ValueError` if it isn't so."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    values = y if isinstance(y, list | tuple) else np.asarray(y)
    shape = np.shape(values)
    if len(shape) == 2 and shape[1] == 1:
        from sklearn.exceptions import DataConversionWarning

        warnings.warn(
            f"A column-vector {what} was passed when a 1d array was expected; its one column is taken",
            DataConversionWarning,
            stacklevel=3,
        )
        values, shape = np.ravel(np.asarray(values)), shape[:1]
    if len(shape) != 1:
        raise ValueError(f"{what} has the shape {list(shape)}; expected one label per example, [N]")
    if len(values) != count:
        raise ValueError(f"{what} has {len(values)} labels, and there are {count} examples")
    return list(values)


def encoded(
    values: list[Any], classes: Sequence[Any] | None, dtype: np.dtype, *, others: bool = False
) -> Encoded:
    """Places in the sorted classes that occur, or in those given."""
    named = () if classes is None else tuple(map(written, classes))
    if others:  # a label of another class is wrong whatever is predicted, and no error
        known = set(named)
        extra = sorted(set(read_labels(values, "y")[1]) - known)
        named = (*named, *extra)
    labels, names = read_labels(
        values, "y", at=lambda row: f"y at position {row}", class_names=named
    )
    if classes is not None:
        return Encoded(labels, np.asarray(classes), names)
    first = {int(c): i for i, c in reversed(list(enumerate(labels)))}
    cells = [values[first[c]] for c in range(len(names))]
    numbers = all(isinstance(v, int | float | np.integer | np.floating | np.bool_) for v in cells)
    if numbers and dtype.kind in "iufb" and (dtype.kind != "f" or (labels >= 0).all()):
        found = np.asarray(cells, dtype)
    else:  # what missing values have made of whole numbers is undone
        found = np.asarray([int(v) for v in cells] if numbers else cells)
    order = np.argsort(found, kind="stable")
    place = np.append(np.argsort(order), UNLABELED).astype(np.int32)
    return Encoded(place[labels], found[order], tuple(names[c] for c in order))


def items_of(inputs: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> Items:
    """Of what `inputs_of` and `encoded` return."""
    kind = "features" if inputs.ndim == 2 else "images"
    ids = np.arange(len(inputs)).astype(np.str_)
    return Items(kind, inputs, labels.astype(np.int32), ids, names, "X, y")


def known_of(labels: np.ndarray, trusted: Any) -> Known:
    """The trusted labels are right."""
    known, count = nothing_known(len(labels)), len(labels)
    if trusted is None:
        return known
    at = np.asarray(trusted)
    if at.dtype == bool:
        if at.shape != (count,):
            raise ValueError(f"trusted has the shape {list(at.shape)}; expected bool [{count}]")
        at = np.flatnonzero(at)
    elif at.ndim != 1 or (at.size and at.dtype.kind not in "iu"):
        raise ValueError(
            f"trusted is {at.dtype} {list(at.shape)}; expected bool [{count}], positions, or (X, y)"
        )
    at = at.astype(np.int64)
    beyond = at[(at < 0) | (at >= count)]
    if beyond.size:
        raise ValueError(f"trusted names position {beyond[0]}; there are {count} examples, from 0")
    missing = at[labels[at] < 0]
    if missing.size:
        raise ValueError(f"trusted names position {missing[0]}, which has no label")
    known.right[at] = labels[at]
    return known
