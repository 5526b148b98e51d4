"""From a score to the probability that a label is wrong.

Without decisions the evidence is taken for a mixture of two normal distributions, of right and of wrong
labels, whose posterior is moved (in log odds) until its mean is the estimated share of wrong labels.
Labels that are known to be right fix the distribution of the right ones. It falls with the score,
without exception. What decisions make of it is in `decisions`.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq, isotonic_regression
from scipy.special import expit, logit

_EDGE = 1e-6


def mixture_posterior(values: np.ndarray, right: np.ndarray | None = None) -> np.ndarray:
    """P(wrong | value) by a mixture of two normal distributions, the lower of wrong labels.

    Args:
      values: float [N], higher where the label looks right.
      right: values of labels that are known to be right; they fix the upper distribution. None: it is
        fitted as well.
    """
    spread = values.std() or 1.0
    z = (values - values.mean()) / spread
    low, high = np.quantile(z, [0.1, 0.75])
    means, stds, share = np.array([low, high]), np.array([0.5, 0.5]), 0.2
    if right is not None:
        fixed = (right - values.mean()) / spread
        means[1], stds[1] = fixed.mean(), max(fixed.std(), 0.05)
    posterior = _posterior(z, means, stds, share)
    for _ in range(500):
        for k, weight in enumerate((posterior, 1 - posterior)):
            if (k == 1 and right is not None) or weight.sum() < 1e-6:
                continue
            means[k] = (weight * z).sum() / weight.sum()
            # A floor as of ten examples: a distribution of a few labels is not taken for a point.
            variance = (weight * (z - means[k]) ** 2).sum() + 10 * 0.05
            stds[k] = np.sqrt(variance / (weight.sum() + 10))
        share = float(np.clip(posterior.mean(), 1e-4, 1 - 1e-4))
        newer = _posterior(z, means, stds, share)
        if np.abs(newer - posterior).max() < 1e-7:
            break
        posterior = newer
    if means[0] <= means[1]:
        return posterior
    # Above what is known to be right there is nothing wrong: those that are known are no guide.
    return 1 - posterior if right is None else mixture_posterior(values)


def _posterior(z: np.ndarray, means: np.ndarray, stds: np.ndarray, share: float) -> np.ndarray:
    log_density = -0.5 * ((z[:, None] - means) / stds) ** 2 - np.log(stds)
    return expit(logit(share) + log_density[:, 0] - log_density[:, 1])


def with_mean(probabilities: np.ndarray, mean: float) -> np.ndarray:
    """The same log odds, all moved alike, so that the mean is `mean`.

    >>> with_mean(np.array([0.5, 0.5]), 0.25).round(3).tolist()
    [0.25, 0.25]
    """
    odds = logit(np.clip(probabilities, _EDGE, 1 - _EDGE))
    mean = min(max(mean, _EDGE), 1 - _EDGE)
    by = brentq(lambda b: expit(odds + b).mean() - mean, -60.0, 60.0)
    return expit(odds + by)


def falling(probabilities: np.ndarray, score: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The nearest probabilities that never rise with the score (isotonic regression).

    Args:
      probabilities, score: float [M].
      wanted: float [N], the scores to tell it for; between those of `score` it is interpolated.
    """
    steps, at, count = np.unique(score, return_inverse=True, return_counts=True)
    mean = np.bincount(at, weights=probabilities) / count  # of equal scores
    fitted = isotonic_regression(mean, weights=count, increasing=False).x
    return np.clip(np.interp(wanted, steps, fitted), 0.0, 1.0)
