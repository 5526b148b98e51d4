"""One score from several kinds of evidence: the weighted mean of their ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

# What counts in the score. Other kinds are shown, but say again what one of these says.
SCORED = (
    "held_out",
    "aum",
    "probability",
    "neighbors",
    "trusted",
    "weight",
    "clean_probability",
)


def scored_kinds(kinds: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The kinds of evidence that may count: of `SCORED`, those that tell one label from another."""
    return tuple(name for name in SCORED if name in kinds and tells(kinds[name]))


def tells(values: np.ndarray) -> bool:
    """Whether the values, NaN aside, differ: else they tell no label from another."""
    known = values[np.isfinite(values)]
    return len(known) > 1 and float(np.ptp(known)) > 1e-6


def mean_rank(
    kinds: Mapping[str, np.ndarray], weights: Sequence[tuple[str, float]], size: int
) -> np.ndarray:
    """float64 [N] in [0, 1], low where the label looks wrong.

    Ranks don't depend on the units of the evidence, and one kind that is far off can't rule. Where a
    kind says nothing of an example (NaN), the others speak alone; where none does, the score is 0.5.

    >>> mean_rank({"a": np.array([0.1, 5.0, 9.0])}, [("a", 1.0)], 3).tolist()
    [0.0, 0.5, 1.0]
    """
    total, weight = np.zeros(size), np.zeros(size)
    for name, w in weights:
        values = np.asarray(kinds[name], np.float64)
        known = np.isfinite(values)
        ranks = np.zeros(size)
        if known.sum() > 1:
            ranks[known] = (rankdata(values[known]) - 1) / (known.sum() - 1)
        total += w * np.where(known, ranks, 0)
        weight += w * known
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1), 0.5)
