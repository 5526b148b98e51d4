"""Which labels look right: a mixture of two normal distributions over the training losses.

Symbols: ℓ_i = the loss of training example i with the label it came with, p_i = the probability that it
belongs to the component with the smaller mean, i.e. that its label is right.

Source: DivideMix (Li et al., ICLR 2020); FaMUS (CVPR 2021), Algorithm 2.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np


class CleanSplit(NamedTuple):
    """A division of the training examples.

    Attributes:
      clean: bool [N], taken to have the right label.
      clamped: the threshold left a part too small, which was filled up by loss.
    """

    clean: np.ndarray
    clamped: bool


def clean_probability(losses: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """p, float32 [N], by expectation maximization on the losses scaled to [0, 1].

    Two components, at most 10 iterations, tolerance 1e-2, 5e-4 added to the variances (the published
    settings). If all losses are equal no label looks better than another: every p is 1/2.

    Args:
      losses: float [N].
      seed: of the initialization.

    Raises:
      ValueError: for fewer than two losses, or losses that are not finite.
    """
    losses = np.asarray(losses, np.float64)
    if losses.ndim != 1 or len(losses) < 2:
        raise ValueError(f"losses must be of shape [N], N >= 2; got {losses.shape}")
    if not np.isfinite(losses).all():
        raise ValueError(
            f"{(~np.isfinite(losses)).sum()} of {len(losses)} training losses are not finite: the "
            "network has diverged; lower schedule.learning_rate"
        )
    spread = losses.max() - losses.min()
    if spread < 1e-12:
        return np.full(len(losses), 0.5, np.float32)
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    scaled = ((losses - losses.min()) / spread)[:, None]
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # ten iterations are the published recipe
        mixture.fit(scaled)
    smaller = int(np.argmin(np.asarray(mixture.means_)))
    return mixture.predict_proba(scaled)[:, smaller].astype(np.float32)


def split_clean(
    probability: np.ndarray, losses: np.ndarray, *, threshold: float, at_least: int
) -> CleanSplit:
    """The examples with p above a threshold, both parts of at least `at_least` examples.

    A mixture can call all labels right, or none. Then the part that is too small is filled up to
    `at_least` by loss: the smallest losses for the clean part, the largest for the other.

    Args:
      probability: p, [N].
      losses: [N].
      threshold: in (0, 1).
      at_least: at most N / 2.

    Raises:
      ValueError: if both parts can't be so large.
    """
    count = len(probability)
    if not 1 <= at_least <= count // 2:
        raise ValueError(
            f"{count} training examples can't be split in two parts of at least {at_least}: use "
            f"batches of at most {count // 2}"
        )
    clean = np.asarray(probability) > threshold
    wanted = int(np.clip(clean.sum(), at_least, count - at_least))
    if wanted == clean.sum():
        return CleanSplit(clean, False)
    order = np.argsort(losses, kind="stable")
    clean = np.zeros(count, bool)
    clean[order[:wanted]] = True
    return CleanSplit(clean, True)
