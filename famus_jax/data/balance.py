"""Positions of which every class has equally many, for training batches of unequal classes."""

from __future__ import annotations

import numpy as np


def repeated_to_balance(positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Positions in which every class occurs equally often: the smaller ones are repeated.

    Each class is gone through in turn until it is as long as the largest, so that its examples occur
    equally often, or once more. A permutation of the result is an epoch of balanced batches, in the
    mean; nothing is left out. Classes without examples stay without.

    Args:
      positions: int [M], of the examples to draw from.
      labels: int [N], of all examples.

    Returns:
      int64 [C' · largest], class by class, for the C' classes that occur.

    Source: balanced training batches of Clothing1M, as in Li et al., DivideMix, ICLR 2020,
    https://arxiv.org/abs/2002.07394, §4.2 (there a part of each class per epoch).

    Example:
      >>> repeated_to_balance(np.array([0, 2, 3, 5]), np.array([1, 0, 0, 1, 1, 1])).tolist()
      [2, 2, 2, 0, 3, 5]
    """
    where = np.asarray(positions, np.int64)
    classes = [where[labels[where] == c] for c in np.unique(labels[where])]
    largest = max(map(len, classes), default=0)
    return np.concatenate([np.resize(mine, largest) for mine in classes] or [where])
