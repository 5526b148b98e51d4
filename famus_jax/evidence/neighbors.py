"""What an example's nearest neighbors in feature space say: their labels, near-duplicates, loners."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_BLOCK = 1024  # rows of the similarity matrix at a time
_FEW = 16  # features: of no more than these, the length of a row says as much as its direction
_COPY = 1e-6  # closer ones are the same row
_NEAR = 0.02  # of the usual distance to the nearest neighbor: closer ones are near-duplicates
_FAR = 6.0  # robust standard deviations beyond the usual distance to the neighbors


class Neighbors(NamedTuple):
    """The k nearest of N examples, the nearest first.

    Attributes:
      positions: int [N, k].
      distances: float64 [N, k], Euclidean, of features with mean 0 and length 1 (in the mean over all
        rows where there are few features).
    """

    positions: np.ndarray
    distances: np.ndarray


def nearest_neighbors(features: np.ndarray, k: int) -> Neighbors:
    """Exact search by the cosine of centered features, or by their distance where D <= 16; N² D steps.

    Args:
      features: float [N, D], N >= 2.
      k: how many, 1 or more; where there are fewer other rows, all of them.

    Raises:
      ValueError: fewer than two rows, or k below 1.
    """
    if len(features) < 2 or k < 1:
        raise ValueError(
            f"{len(features)} rows and k = {k}; two rows or more have 1 neighbor or more"
        )
    x = np.asarray(features, np.float32).reshape(len(features), -1)
    x = x - x.mean(0)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    if x.shape[1] <= _FEW:
        length = np.sqrt((length**2).mean(keepdims=True))
    x /= np.maximum(length, 1e-12)
    half_square = (x**2).sum(1) / 2  # x·y - y²/2 is greatest where (x - y)² is least
    k = min(k, len(x) - 1)
    positions, distances = [], []
    for start in range(0, len(x), _BLOCK):
        block = x[start : start + _BLOCK]
        similarity = block @ x.T - half_square
        rows = np.arange(len(block))
        similarity[rows, start + rows] = -np.inf  # nobody is its own neighbor
        near = np.argpartition(similarity, -k, axis=1)[:, -k:]
        # Distances by differences: 2 - 2 cos loses the digits that tell a copy from a likeness.
        apart = np.linalg.norm(block[:, None].astype(np.float64) - x[near], axis=2)
        order = np.argsort(apart, axis=1, kind="stable")
        positions.append(np.take_along_axis(near, order, 1))
        distances.append(np.take_along_axis(apart, order, 1))
    return Neighbors(np.concatenate(positions), np.concatenate(distances))


def votes(neighbors: Neighbors, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Shares of the neighbors' labels, float64 [N, C]; neighbors without a label (-1) don't vote."""
    near = labels[neighbors.positions]
    row, column = np.nonzero(near >= 0)
    counts = np.zeros((len(near), num_classes))
    np.add.at(counts, (row, near[row, column]), 1.0)
    total = counts.sum(1, keepdims=True)
    counts /= np.maximum(total, 1)
    counts[total[:, 0] == 0] = 1 / num_classes
    return counts


def near_duplicates(neighbors: Neighbors) -> tuple[tuple[int, ...], ...]:
    """Groups of examples that are all but the same, each in rising order of position.

    Closer than a fiftieth of what is usual between an example and its nearest neighbor. Copies don't
    count there, or in a set of many copies nothing else would be near. What is near by way of others
    is in one group.
    """
    nearest = neighbors.distances[:, 0]
    limit = max(_NEAR * _usual(nearest)[0], _COPY)
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
    """bool [N]: the mean distance to the neighbors is far beyond what is usual, copies aside."""
    distance = neighbors.distances.mean(1)
    middle, spread = _usual(distance)
    return distance > middle + _FAR * max(spread, 0.05 * middle, _COPY)


def _usual(distances: np.ndarray) -> tuple[float, float]:
    """Median and robust standard deviation of the distances that are none between copies."""
    apart = distances[distances > _COPY]
    if not len(apart):
        return 0.0, 0.0
    middle = float(np.median(apart))
    return middle, 1.4826 * float(np.median(np.abs(apart - middle)))
