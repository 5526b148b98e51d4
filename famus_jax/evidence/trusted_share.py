"""What trusted labels of other examples say about how many of the given labels are wrong.

A network that learns wrong labels as if they were right agrees with them, and disagrees with the truth.
Symbols: f what networks that have not seen an example say of it, y its given label, t the true one.

    P(y ≠ t)  ≥  P(f ≠ t) - P(f ≠ y)        P(y ≠ t)  ≤  P(f ≠ t) + P(f ≠ y)

Both hold whatever the noise (where y = t, f ≠ t is f ≠ y). The trusted examples give P(f ≠ t), the
others P(f ≠ y), if both are drawn alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Bounds(NamedTuple):
    """Of the share of wrong labels, each with its chance.

    Attributes:
      least: P(f ≠ t) - P(f ≠ y), and 0 at least.
      low: lower end of the 95 % interval of that.
      high: upper end of the 95 % interval of P(f ≠ t) + P(f ≠ y), and 1 at most.
      agrees_given: P(f = y).
      agrees_trusted: P(f = t).
    """

    least: float
    low: float
    high: float
    agrees_given: float
    agrees_trusted: float


def bounds_by_trusted(agrees_given: np.ndarray, agrees_trusted: np.ndarray) -> Bounds:
    """Bounds of the share of wrong labels among the given ones.

    Args:
      agrees_given: bool [N], whether f = y; f is of networks that have not seen the example.
      agrees_trusted: bool [M], whether f = t, of trusted examples that were not chosen for what
        networks or neighbors say of them.

    Raises:
      ValueError: one of them is empty.

    >>> given, trusted = np.arange(1000) < 900, np.arange(100) < 60
    >>> round(bounds_by_trusted(given, trusted).least, 3)
    0.3
    """
    if not len(agrees_given) or not len(agrees_trusted):
        raise ValueError(
            f"{len(agrees_given)} given and {len(agrees_trusted)} trusted labels; one or more of each"
        )
    given, trusted = float(np.mean(agrees_given)), float(np.mean(agrees_trusted))
    reach = 1.96 * np.sqrt(_variance(agrees_given) + _variance(agrees_trusted))
    gap, both = given - trusted, 2 - given - trusted
    return Bounds(
        least=max(gap, 0.0),
        low=float(max(gap - reach, 0.0)),
        high=float(min(both + reach, 1.0)),
        agrees_given=given,
        agrees_trusted=trusted,
    )


def _variance(hits: np.ndarray) -> float:
    """Of the mean of so many coin throws; two more of each side, so that ten of ten are not certain."""
    count = len(hits) + 4
    p = (np.sum(hits) + 2) / count
    return float(p * (1 - p) / count)
