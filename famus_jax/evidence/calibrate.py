"""From a score to the probability that a label is wrong.

Without decisions the evidence is taken for a mixture of two normal distributions, of right and of wrong
labels, whose posterior is moved (in log odds) until its mean is the estimated share of wrong labels.
Labels that are known to be right fix the distribution of the right ones. Decisions, which hold right
and wrong labels, fit the probability itself. Without them it falls with the score, without exception.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq, isotonic_regression, minimize
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


def fitted_to_decisions(
    features: np.ndarray, prior: np.ndarray, decided: np.ndarray, wrong: np.ndarray
) -> np.ndarray:
    """P(wrong) by logistic regression on decided labels, drawn to what was thought before them.

    log odds = a + b logit(prior) - Σ w_k features_k, with b, w_k >= 0: more evidence for a label never
    makes it look worse. The penalty draws to a = 0, b = 1, w = 0, so that few decisions change little.

    Args:
      features: float [N, K], standardized, higher where the label looks right.
      prior: float [N], the probability without decisions.
      decided: int [M], positions.
      wrong: bool [M], what was decided.
    """
    odds = logit(np.clip(prior, 1e-4, 1 - 1e-4))
    x = np.column_stack([np.ones(len(prior)), odds, -features])
    start = np.concatenate([[0.0, 1.0], np.zeros(features.shape[1])])
    # The slope is held more firmly than the height: decisions are mostly about the head of the list,
    # and where that holds more right labels than was thought, the rest must not look worse for it.
    pull = np.concatenate([[0.1, 5.0], np.ones(features.shape[1])])
    seen, target = x[decided], wrong.astype(np.float64)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = seen @ w
        value = np.logaddexp(0, z).sum() - target @ z + 0.5 * (pull * (w - start) ** 2).sum()
        return float(value), seen.T @ (expit(z) - target) + pull * (w - start)

    bounds = [(None, None)] + [(0.0, None)] * (len(start) - 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return expit(x @ found.x)


def interval_by_decisions(
    features: np.ndarray,
    prior: np.ndarray,
    decided: np.ndarray,
    wrong: np.ndarray,
    rows: np.ndarray,
    *,
    draws: int = 100,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % interval of the share of wrong labels among `rows`: a bootstrap over the decisions.

    Args:
      features, prior, decided, wrong: see `fitted_to_decisions`.
      rows: int [R], positions.
      draws: how many times the decisions are drawn and fitted to.
      seed: any int.
    """
    generator, count = np.random.default_rng(seed % 2**63), len(decided)
    shares = []
    for _ in range(draws):
        again = generator.integers(0, count, count)
        fitted = fitted_to_decisions(features, prior, decided[again], wrong[again])
        shares.append(fitted[rows].mean())
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)
