"""Label noise as a table keyed by example id.

A *transition matrix* P is float64[C, C]: `P[c, k]` is the chance that an example of clean class c
is labeled k; rows sum to 1. `corrupt_labels` draws one label per example from the row of its clean
class, with randomness of (seed, id) alone, so that the table is the same in any order, on any
number of hosts, for ever. The papers and codes behind the
definitions are named in `presets`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from famus_jax.data import hashing


class NoisyLabels(NamedTuple):
    """Labels after corruption, and what really happened to them.

    Attributes:
      labels: int32[N], in the order of the input.
      realized_rate: fraction of labels that differ from the clean one (0 for N = 0).
      realized_transition: float64[C, C], row c the distribution of labels among the examples of
        clean class c; a class without examples has a row of zeros.
      digest: 32 hex digits of the table id -> label, independent of order.
    """

    labels: np.ndarray
    realized_rate: float
    realized_transition: np.ndarray
    digest: str


def checked_rate(rate: float, name: str = "rate") -> float:
    """Return `rate` as a float; raise `ValueError` unless it lies in [0, 1]."""
    value = float(rate)
    if not 0.0 <= value <= 1.0:
        hint = f"; for {value:g} % write {value / 100:g}" if 1.0 < value <= 100.0 else ""
        raise ValueError(f"{name} = {rate!r} is outside [0, 1]{hint}")
    return value


def checked_num_classes(num_classes: int) -> int:
    """Return the number of classes as an int; raise `ValueError` below 2."""
    if int(num_classes) != num_classes or num_classes < 2:
        raise ValueError(f"num_classes = {num_classes!r}: label noise needs at least 2 classes")
    return int(num_classes)


def checked_labels(labels: np.ndarray | Sequence[int], num_classes: int) -> np.ndarray:
    """Return int32[N] labels; raise unless they are whole numbers in [0, num_classes).

    Raises:
      TypeError: a dtype that is not integer.
      ValueError: not one-dimensional, or a label out of range (the first one is named).
    """
    array = np.asarray(labels)
    if array.size == 0:
        array = array.astype(np.int32)
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels have dtype {array.dtype}; class labels are integers (int32[N])")
    if array.ndim != 1:
        raise ValueError(f"labels have shape {array.shape}; expected one label per example, [N]")
    wrong = np.flatnonzero((array < 0) | (array >= num_classes))
    if wrong.size:
        raise ValueError(
            f"label {array[wrong[0]]} at position {wrong[0]} is outside [0, {num_classes}) "
            f"({wrong.size} such labels); count classes from 0 or raise num_classes"
        )
    return array.astype(np.int32)


def checked_transition(transition: np.ndarray) -> np.ndarray:
    """Return float64[C, C]; raise `ValueError` unless every row is a distribution."""
    matrix = np.asarray(transition, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] < 2:
        raise ValueError(f"transition has shape {matrix.shape}; expected [C, C] with C >= 2")
    for row, values in enumerate(matrix):
        if not np.isfinite(values).all() or values.min() < 0 or abs(values.sum() - 1) > 1e-6:
            raise ValueError(
                f"row {row} of the transition is no distribution (minimum {values.min():g}, sum "
                f"{values.sum():g}): entries must be >= 0 and sum to 1. Rows are *clean* classes; "
                "transpose a matrix whose columns are."
            )
    return matrix


def symmetric(num_classes: int, rate: float, inclusive: bool = True) -> np.ndarray:
    """Uniform noise: float64[C, C].

    Args:
      num_classes: C >= 2.
      rate: r in [0, 1], the chance of a redraw.
      inclusive: True redraws among all C classes, the true one included, so that the expected
        share of wrong labels is r (1 - 1/C) (MW-Net, DivideMix, FaMUS); False among the C - 1
        others, share r.
    """
    c, r = checked_num_classes(num_classes), checked_rate(rate)
    if inclusive:
        return (1.0 - r) * np.eye(c) + np.full((c, c), r / c)
    matrix = np.full((c, c), r / (c - 1))
    np.fill_diagonal(matrix, 1.0 - r)
    return matrix


def flip_next(num_classes: int, rate: float) -> np.ndarray:
    """Pair flip: class c becomes (c + 1) mod C with chance `rate`; float64[C, C]."""
    c, r = checked_num_classes(num_classes), checked_rate(rate)
    return (1.0 - r) * np.eye(c) + r * np.roll(np.eye(c), 1, axis=1)


def expected_rate(transition: np.ndarray, labels: np.ndarray) -> float:
    """The share of wrong labels to expect: the mean of 1 - P[y, y] over the clean labels."""
    matrix = checked_transition(transition)
    clean = checked_labels(labels, len(matrix))
    return float(np.mean(1.0 - np.diagonal(matrix)[clean])) if clean.size else 0.0


def summarize(
    noisy: np.ndarray, clean: np.ndarray, ids: Sequence[str], num_classes: int
) -> NoisyLabels:
    """Wrap a corrupted label vector with its realized rate, matrix and digest.

    Args:
      noisy, clean: integers [N] in [0, num_classes).
      ids: N unique strings.
      num_classes: C.
    """
    clean = checked_labels(clean, num_classes)
    noisy = checked_labels(noisy, num_classes)
    if noisy.shape != clean.shape:
        raise ValueError(f"{len(noisy)} noisy labels for {len(clean)} clean ones")
    names = hashing.checked_ids(ids, len(clean))
    cells = clean.astype(np.int64) * num_classes + noisy
    counts = np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)
    realized = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rate = float(np.mean(noisy != clean)) if clean.size else 0.0
    return NoisyLabels(noisy, rate, realized, hashing.table_digest(names, noisy))


def draw_from_rows(rows: np.ndarray, row: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Invert the distribution functions: the first k with u_i < sum_{j<=k} rows[row_i, j].

    Args:
      rows: float64[C, K], each row a distribution.
      row: int[N], which row example i uses.
      u: float64[N] in [0, 1).

    Returns:
      int32[N] in [0, K). A label of probability 0 is never drawn.
    """
    drawn = np.zeros(len(u), np.int32)
    for c in np.unique(row):
        mine = row == c
        possible = np.flatnonzero(rows[c] > 0)
        edges = np.cumsum(rows[c][possible])[:-1]  # the last edge is 1 whatever the rounding
        drawn[mine] = possible[np.searchsorted(edges, u[mine], side="right")]
    return drawn


def corrupt_labels(
    labels: np.ndarray | Sequence[int],
    ids: Sequence[str] | np.ndarray,
    transition: np.ndarray,
    seed: int,
) -> NoisyLabels:
    """Draw one label per example from the transition's row of its clean class.

    Each example decides for itself, by a stable hash of (seed, id): adding, removing or reordering
    others changes nothing for it.

    Args:
      labels: clean labels, integers [N] in [0, C).
      ids: N unique strings.
      transition: float64[C, C], rows are clean classes and sum to 1.
      seed: int; seeds are independent draws.

    Returns:
      `NoisyLabels`; the realized rate differs from the expected one by sampling error.

    Raises:
      ValueError, TypeError: labels out of range, ids missing or repeated, rows no distributions.

    >>> noisy = corrupt_labels([0, 1, 2], ["a", "b", "c"], flip_next(3, 1.0), seed=0)
    >>> noisy.labels.tolist(), noisy.realized_rate
    ([1, 2, 0], 1.0)
    """
    matrix = checked_transition(transition)
    clean = checked_labels(labels, len(matrix))
    names = hashing.checked_ids(ids, len(clean))
    u = hashing.uniform(seed, "label_noise", names)
    return summarize(draw_from_rows(matrix, clean, u), clean, names, len(matrix))
