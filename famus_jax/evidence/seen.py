"""How many labels are wrong, by networks that were trained on them.

Such a network learns wrong labels as if they were right, so the confident joint of its probabilities
counts too few. While it trains it learns them later, which the margins keep: a label whose margin is
below 0 on the mean of the training was behind another class for longer than it was ahead.
"""

from __future__ import annotations

import numpy as np

from famus_jax.evidence.calibrate import mixture_posterior
from famus_jax.evidence.confident import share_wrong


def share_wrong_seen(
    margins: np.ndarray, probabilities: np.ndarray, labels: np.ndarray, *, seed: int = 0
) -> tuple[float, float, float]:
    """Estimated share of wrong labels, and an interval.

    The middle one of three counts: the margins below 0, which has the network's own mistakes in it; the
    lower part of a mixture of two normal distributions, which is off where the margins are not such;
    and the confident joint, which is far too low where the labels have been learned by heart. The
    interval reaches from the lowest count by the margins to the highest of all, each with its chance:
    it is as wide as they disagree, which is wide for a network that is often mistaken.

    Args:
      margins: float [N], means over the training of z_y - max_{c≠y} z_c (`aum`); NaN: not known.
      probabilities: float [N, C], means over the training.
      labels: int [N] in [0, C).
      seed: of the bootstrap of the confident joint.
    """
    known = np.isfinite(margins)
    behind = (margins[known] < 0).astype(np.float64)
    lower = mixture_posterior(margins[known])
    counts = [_with_interval(one) for one in (behind, lower)]
    joint = share_wrong(probabilities, labels, seed=seed)
    middle = float(np.median([count[0] for count in (*counts, joint)]))
    low = min(count[1] for count in counts)
    high = max(count[2] for count in (*counts, joint))
    return middle, min(low, middle), max(high, middle)


def _with_interval(counted: np.ndarray) -> tuple[float, float, float]:
    """The mean of numbers in [0, 1], and its 95 % interval of chance."""
    mean, reach = counted.mean(), 1.96 * counted.std() / np.sqrt(len(counted))
    return float(mean), float(max(mean - reach, 0)), float(min(mean + reach, 1))
