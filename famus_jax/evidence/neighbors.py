"""What an example's nearest neighbors in feature space say: their labels, near-duplicates, loners."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_BLOCK = 1024  # rows of the similarity matrix at a time
_NEAR = 0.02  # of the median distance to the nearest neighbor: closer ones are near-duplicates
_FAR = 6.0  # robust standard deviations beyond the median distance to the nearest neighbor


class Neighbors(NamedTuple):
    """The k nearest of N examples, the nearest first.

    Attributes:
      positions: int [N, k].
      distances: float64 [N, k], Euclidean, of features with mean 0 and length 1.
    """

    positions: np.ndarray
    distances: np.ndarray


def nearest_neighbors(features: np.ndarray, k: int) -> Neighbors:
    """Exact search by the cosine of centered features; N² D operations.

    Args:
      features: float [N, D].
      k: how many, at most N - 1.
    """
    x = np.asarray(features, np.float32).reshape(len(features), -1)
    x = x - x.mean(0)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    k = min(k, len(x) - 1)
    positions, distances = [], []
    for start in range(0, len(x), _BLOCK):
        block = x[start : start + _BLOCK]
        similarity = block @ x.T
        rows = np.arange(len(block))
        similarity[rows, start + rows] = -np.inf  # nobody is its own neighbor
        near = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        # Distances by differences: 2 - 2 cos loses the digits that tell a copy from a likeness.
        apart = np.linalg.norm(block[:, None].astype(np.float64) - x[near], axis=2)
        order = np.argsort(apart, axis=1, kind="stable")
        positions.append(np.take_along_axis(near, order, 1))
        distances.append(np.take_along_axis(apart, order, 1))
    return Neighbors(np.concatenate(positions), np.concatenate(distances))


def votes(neighbors: Neighbors, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Shares of the neighbors' labels, float64 [N, C]; neighbors without a label (-1) don't vote."""
    near = labels[neighbors.positions]
    counts = np.stack([(near == c).sum(1) for c in range(num_classes)], 1).astype(np.float64)
    total = counts.sum(1, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), 1 / num_classes)


def near_duplicates(neighbors: Neighbors) -> tuple[tuple[int, ...], ...]:
    """Groups of examples that are all but the same, each in rising order of position."""
    nearest = neighbors.distances[:, 0]
    limit = max(_NEAR * float(np.median(nearest)), 1e-6)
    head = np.arange(len(nearest))

    def find(i: int) -> int:
        while head[i] != i:
            head[i] = head[head[i]]
            i = head[i]
        return i

    for i, j in zip(*np.nonzero(neighbors.distances <= limit), strict=True):
        a, b = find(int(i)), find(int(neighbors.positions[i, j]))
        head[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for i in range(len(head)):
        groups.setdefault(find(i), []).append(i)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def unlike_all(neighbors: Neighbors) -> np.ndarray:
    """bool [N]: the mean distance to the neighbors is far beyond what is usual."""
    distance = neighbors.distances.mean(1)
    middle = np.median(distance)
    spread = 1.4826 * np.median(np.abs(distance - middle))
    return distance > middle + _FAR * max(spread, 1e-12)
