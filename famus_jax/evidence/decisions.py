"""What decisions, which say of some labels that they are right or wrong, make of the probabilities.

    log odds = a + b logit(prior) - Σ w_k features_k

fitted to the decided labels. The evidence (w) is heard only where it tells of decisions that it has not
seen; else the list keeps its order, and the probabilities alone are moved.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

_EDGE = 1e-6
_SPOKEN = 0.95  # of the decided labels, that evidence must speak of


class Fit(NamedTuple):
    """What decisions make of N probabilities.

    Attributes:
      p: float64 [N].
      heard: whether the evidence is; else p rises with the prior, and the list keeps its order.
      low, high: 95 % interval of the share of wrong labels among those that are not decided.
    """

    p: np.ndarray
    heard: bool
    low: float
    high: float


def by_decisions(
    kinds: list[np.ndarray],
    prior: np.ndarray,
    decided: np.ndarray,
    wrong: np.ndarray,
    rows: np.ndarray,
    *,
    seed: int = 0,
) -> Fit:
    """Fits to decisions.

    Args:
      kinds: of evidence, float [N] each, higher where the label looks right; NaN where there is none.
      prior: float [N], the probability of a wrong label without decisions.
      decided: int [M], positions.
      wrong: bool [M], what was decided.
      rows: int [R], positions of what is not decided.
      seed: of the bootstrap.
    """
    features = _comparable(kinds, decided)
    if not evidence_helps(features, prior, decided, wrong):
        features = features[:, :0]
    p = fitted_to_decisions(features, prior, decided, wrong)
    interval = interval_by_decisions(features, prior, decided, wrong, rows, seed=seed)
    return Fit(p, bool(features.shape[1]), *interval)


def _comparable(kinds: list[np.ndarray], decided: np.ndarray) -> np.ndarray:
    """float [N, K]: evidence that speaks of nearly all that was decided, standardized.

    What a network says of a label while it learns is not known of one that a person has corrected.
    """
    spoken = [v for v in kinds if np.isfinite(v[decided]).mean() > _SPOKEN]
    return np.column_stack([np.empty((len(kinds[0]), 0)), *map(_standard, spoken)])


def _standard(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    spread = values[known].std() or 1.0
    return np.where(known, (values - values[known].mean()) / spread, 0.0)


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


def evidence_helps(
    features: np.ndarray, prior: np.ndarray, decided: np.ndarray, wrong: np.ndarray
) -> bool:
    """Whether a fit with the evidence tells more about decisions it has not seen than one without.

    Few decisions where evidence is weak would else turn a list for no reason. Of ten parts of the
    decisions each is told by the others; the logarithmic loss must be lower by its standard error.

    Args:
      features, prior, decided, wrong: see `fitted_to_decisions`.
    """
    count, parts = len(decided), np.arange(len(decided)) % 10
    order = np.random.default_rng(0).permutation(count)
    gains = np.zeros(count)
    for part in range(min(10, count)):
        seen, asked = order[parts != part], order[parts == part]
        for sign, columns in ((1, 0), (-1, features.shape[1])):
            p = fitted_to_decisions(features[:, :columns], prior, decided[seen], wrong[seen])
            p = np.clip(p[decided[asked]], _EDGE, 1 - _EDGE)
            gains[asked] -= sign * np.log(np.where(wrong[asked], p, 1 - p))
    return bool(gains.mean() > gains.std() / np.sqrt(count))


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
