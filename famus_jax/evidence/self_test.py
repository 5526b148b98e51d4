"""Does the evidence rank wrong labels low? Each kind is tried before it may count.

With labels corrupted on purpose (`Planted`) the question is asked of them. Without, it is asked of the
labels that the network's probabilities, or else the other kinds of evidence, are surest of: a kind that
ranks those upside down is found too, but one that errs as all others do is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from famus_jax.evidence.types import Planted, SelfTest

_SURE = 0.1  # share of the examples at either end that the other evidence is surest of


def self_tests(
    kinds: Mapping[str, np.ndarray],
    names: Sequence[str],
    planted: Planted | None,
    compared: np.ndarray,
    reference: np.ndarray | None = None,
) -> tuple[SelfTest, ...]:
    """Tries each kind of evidence.

    Args:
      kinds: name -> float [N], higher where the label looks right, NaN where there is none.
      names: those to be tried.
      planted: labels corrupted on purpose, or None.
      compared: bool [N], examples whose labels those are compared with.
      reference: float [N], higher where the label looks right by the probabilities: what a kind is
        compared with where no label was corrupted. None, or all alike: the other kinds.

    Returns:
      In the order of `names`. A kind's weight is (2 AUROC - 1)², what it has beyond a coin, and 0 if
      the interval of its AUROC reaches a coin's. A kind that can't be tested counts for nothing, unless
      none can: then all weights are 1.
    """
    tests = [_tried(n, *_values(kinds, n, names, planted, compared, reference)) for n in names]
    tested = any(np.isfinite(test.auroc) for test in tests)
    untested = 0.0 if tested else 1.0
    return tuple(t if np.isfinite(t.auroc) else t._replace(weight=untested) for t in tests)


def _tried(name: str, wrong: np.ndarray, others: np.ndarray) -> SelfTest:
    wrong, others = wrong[np.isfinite(wrong)], others[np.isfinite(others)]
    if len(wrong) < 2 or len(others) < 2:
        return SelfTest(name, float("nan"), float("nan"), 1.0)
    area = auroc(wrong, others)
    low = area - 1.96 * _standard_error(area, len(wrong), len(others))
    return SelfTest(name, area, low, (2 * area - 1) ** 2 if low > 0.5 else 0.0)


def auroc(wrong: np.ndarray, right: np.ndarray) -> float:
    """The chance that a wrong label's value is below a right one's; ties count half.

    >>> auroc(np.array([0.1, 0.4]), np.array([0.3, 0.9]))
    0.75
    """
    ranks = rankdata(np.concatenate([wrong, right]))
    below = ranks[len(wrong) :].sum() - len(right) * (len(right) + 1) / 2
    return float(below / (len(wrong) * len(right)))


def _standard_error(area: float, wrong: int, right: int) -> float:
    """Of an AUROC: Hanley and McNeil, Radiology 143 (1982), equation 2."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (wrong - 1) * (q1 - area**2) + (right - 1) * (q2 - area**2)
    return float(np.sqrt(max(variance, 0.0) / (wrong * right)))


def _values(
    kinds: Mapping[str, np.ndarray],
    name: str,
    names: Sequence[str],
    planted: Planted | None,
    compared: np.ndarray,
    reference: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The evidence of wrong labels, and of those that they are compared with."""
    if planted is not None and name in planted.evidence:
        return planted.evidence[name], kinds[name][compared]
    if reference is not None and np.ptp(reference[compared]) > 1e-6:
        others = [reference]
    else:
        others = [kinds[other] for other in names if other != name]
    if not others:
        return np.empty(0), np.empty(0)
    known = compared & np.isfinite(kinds[name]) & np.all([np.isfinite(o) for o in others], axis=0)
    at = np.flatnonzero(known)
    if len(at) < 20:
        return np.empty(0), np.empty(0)
    agreed = np.sum([rankdata(other[at]) for other in others], axis=0)
    order = at[np.argsort(agreed, kind="stable")]
    count = max(2, int(_SURE * len(at)))
    return kinds[name][order[:count]], kinds[name][order[-count:]]
