"""Which of several classifiers to take: accuracies with intervals, and the simplest that ties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_DRAWS = 2000
_BLOCK = 50  # draws at a time, so that large tests fit into memory


class Row(NamedTuple):
    """One way to train, tested.

    Attributes:
      name: for the table.
      labels: which labels it learned from.
      accuracy: in [0, 1], on the test.
      low, high: its 95 % interval, of a bootstrap over the test's examples.
      behind: accuracy of the best row less this one's.
      behind_low, behind_high: the interval of that, of the same draws (paired).
      ties: whether 0 is in that interval.
      seconds: that training and prediction took.
    """

    name: str
    labels: str
    accuracy: float
    low: float
    high: float
    behind: float
    behind_low: float
    behind_high: float
    ties: bool
    seconds: float


class Point(NamedTuple):
    """A number of trusted labels, and the accuracy with them; `low`, `high`: its 95 % interval."""

    trusted: int
    accuracy: float
    low: float
    high: float


def bootstrap_means(correct: np.ndarray, *, seed: int = 0, draws: int = _DRAWS) -> np.ndarray:
    """Means of resampled examples, the same for all rows: float64 [draws, R] of bool [R, n]."""
    rows, count = correct.shape
    generator, values = np.random.default_rng(seed), correct.astype(np.float64)
    found = np.empty((draws, rows))
    for start in range(0, draws, _BLOCK):
        some = min(_BLOCK, draws - start)
        times = generator.multinomial(count, np.full(count, 1 / count), size=some)
        found[start : start + some] = times @ values.T / count
    return found


def ranked(
    names: Sequence[str],
    labels: Sequence[str],
    correct: np.ndarray,
    seconds: Sequence[float],
    *,
    seed: int = 0,
) -> tuple[Row, ...]:
    """The rows of a table, in the order given.

    Args:
      names, labels, seconds: see `Row`; R of each.
      correct: bool [R, n], whether a row was right about an example of the test.
      seed: of the bootstrap.

    >>> correct = np.array([[True, True, False, True], [False, False, False, False]])
    >>> [(row.accuracy, row.behind) for row in ranked("ab", "ab", correct, (1.0, 2.0))]
    [(0.75, 0.0), (0.0, 0.75)]
    """
    means = bootstrap_means(correct, seed=seed)
    accuracy = correct.mean(1)
    best = int(accuracy.argmax())
    found = []
    for r, name in enumerate(names):
        low, high = _of_accuracy(means[:, r], correct.shape[1])
        behind_low, behind_high = _interval(means[:, best] - means[:, r])
        found.append(
            Row(
                name, labels[r], float(accuracy[r]), low, high,
                float(accuracy[best] - accuracy[r]), behind_low, behind_high,
                bool(behind_low <= 0 <= behind_high), float(seconds[r]),
            )
        )  # fmt: skip
    return tuple(found)


def recommended(rows: Sequence[Row]) -> Row:
    """The first that ties with the best; rows stand in the order of simplicity."""
    return next(row for row in rows if row.ties)


def recommendation(rows: Sequence[Row]) -> str:
    """One sentence."""
    row, best = recommended(rows), max(rows, key=lambda row: row.accuracy)
    said = f"Recommended: {row.name} ({row.accuracy:.1%})"
    if row is best or row.accuracy == best.accuracy:
        return f"{said}: no other row was better on this test, and no simpler one as good."
    return (
        f"{said}: the simplest that ties with the best, {best.name} ({best.accuracy:.1%}; the "
        f"difference {row.behind:.1%} could be chance, 95 % interval {row.behind_low:.1%} to "
        f"{row.behind_high:.1%})."
    )


def curve_of(
    sizes: Sequence[int], correct: np.ndarray, *, seed: int = 0
) -> tuple[tuple[Point, ...], str]:
    """Accuracy by the number of trusted labels, and whether more would help.

    Args:
      sizes: K numbers, rising.
      correct: bool [K, n].
      seed: of the bootstrap.
    """
    means = bootstrap_means(correct, seed=seed)
    points = tuple(
        Point(size, float(correct[k].mean()), *_of_accuracy(means[:, k], correct.shape[1]))
        for k, size in enumerate(sizes)
    )
    if len(points) < 2:
        return points, "There are too few trusted labels to say whether more would help."
    low, high = _wide(_interval(means[:, -1] - means[:, -2]), correct.shape[1])
    gain = points[-1].accuracy - points[-2].accuracy
    said = (
        f"from {sizes[-2]} to {sizes[-1]} trusted labels the accuracy changed by {gain:+.1%} (95 % "
        f"interval {low:+.1%} to {high:+.1%})"
    )
    if low > 0:
        return points, f"More trusted labels would most likely help: {said}."
    if high < 0.01:
        return points, f"More trusted labels would hardly help: {said}."
    return points, f"Whether more trusted labels would help is open: {said}."


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _of_accuracy(values: np.ndarray, count: int) -> tuple[float, float]:
    low, high = _wide(_interval(values), count)
    return max(low, 0.0), min(high, 1.0)


def _wide(interval: tuple[float, float], count: int) -> tuple[float, float]:
    """Where no example differs, a bootstrap sees no chance at all: then the rule of three holds."""
    low, high = interval
    return (low - 3 / count, high + 3 / count) if low == high else interval
