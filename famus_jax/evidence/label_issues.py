"""Which labels are wrong: from evidence to a probability, a rank and a suggestion for each example."""

from __future__ import annotations

from typing import Any

import numpy as np

from famus_jax.evidence.calibrate import (
    falling,
    mixture_posterior,
    with_mean,
)
from famus_jax.evidence.cautions import cautions, decided_of
from famus_jax.evidence.confident import confident_joint, share_wrong
from famus_jax.evidence.decisions import by_decisions
from famus_jax.evidence.margins import log_margin
from famus_jax.evidence.score import SCORED, mean_rank, scored_kinds
from famus_jax.evidence.seen import share_wrong_seen
from famus_jax.evidence.self_test import self_tests
from famus_jax.evidence.trusted_share import Bounds, bounds_by_trusted
from famus_jax.evidence.types import Evidence, LabelIssues, Summary

_MIXTURE_OF = ("aum", "held_out", "probability", "neighbors")  # the first that is there
_ENOUGH_TRUSTED = 20
_ENOUGH_DECISIONS = 10


def label_issues(
    evidence: Evidence,
    labels: Any,
    *,
    trusted: Any = None,
    known_wrong: Any = None,
    added: Any = None,
    seed: int = 0,
) -> LabelIssues:
    """Ranks labels by how likely they are wrong, and suggests others.

    A pure function of arrays, for evidence of any training: `famus_jax.evidence.sums` gathers it in
    one's own loop, `famus audit` in networks that have not seen the label.

    Args:
      evidence: see `Evidence`; every kind of it is tried (`self_test`) before it counts.
      labels: int [N] in [0, C); -1: no label, and a suggestion.
      trusted: bool [N], labels that are known to be right; from twenty on they fix what evidence of
        right labels looks like. None: there are none.
      known_wrong: bool [N], labels that are known to be wrong. With `trusted` they are decisions, and
        from ten on, of both kinds, the probability is fitted to them.
      added: bool [N], those of `trusted` that are no part of the data in question: examples like
        them whose labels were never in doubt, and no decisions. From twenty on they bound the
        share of wrong labels (`trusted_share`), unless the networks have seen the labels.
      seed: of the bootstrap.

    Returns:
      `LabelIssues`. Where `summary.warnings` is not empty, read it first.

    Raises:
      ValueError: labels or evidence of other shapes or ranges; fewer than two labels, or all the same;
        no evidence that tells one label from another.

    >>> kinds = {"aum": np.array([2.0, 3.0, 2.5, -4.0, 2.2, 3.1])}
    >>> p = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.95, 0.05], [0.1, 0.9], [0.2, 0.8]])
    >>> found = label_issues(Evidence(kinds, p), [0, 0, 1, 1, 1, 1])
    >>> int(np.argmax(found.p_wrong)), int(found.rank[3]), int(found.suggested_label[3])
    (3, 1, 0)
    """
    labels = np.asarray(labels)
    sure = flags(trusted, len(labels), "trusted")
    bad = flags(known_wrong, len(labels), "known_wrong")
    more = flags(added, len(labels), "added")
    _check(evidence, labels, sure, bad, more)
    labels, at = labels.astype(np.int64), np.flatnonzero(labels >= 0)
    kinds = {name: np.asarray(v, np.float64) for name, v in evidence.kinds.items()}
    probabilities = np.array(evidence.probabilities, np.float64)
    judged = np.isfinite(probabilities).all(1)
    probabilities[~judged] = 1 / probabilities.shape[1]
    mine = probabilities[at]

    names = scored_kinds({name: values[at] for name, values in kinds.items()})
    if not names:
        raise ValueError(
            f"no evidence tells one label from another (there is {sorted(kinds) or 'none'}; what "
            f"counts is {', '.join(SCORED)}): where it is all alike, the network has learned nothing, "
            "so train longer or with another learning rate"
        )
    reference = np.zeros(len(labels))
    reference[at] = log_margin(mine, labels[at])
    tests = self_tests(kinds, names, evidence.planted, _compared(labels, bad, evidence), reference)
    weights = [(test.name, test.weight) for test in tests]
    failed = not any(weight for _, weight in weights)
    if failed:
        weights = [(name, 1.0) for name in names]
    score = mean_rank({n: kinds[n][at] for n in names}, weights, len(at))

    # What is known, to be right or wrong, says nothing about the others' share.
    known, decided = (sure | bad)[at], np.flatnonzero(((sure | bad) & ~more)[at])
    open_ = np.flatnonzero(~known)
    if len(open_) < 2:
        open_ = np.arange(len(at))
    given = labels[at][open_]
    bounds = None
    if evidence.seen and "aum" in kinds:
        share, low, high = share_wrong_seen(kinds["aum"][at][open_], mine[open_], given, seed=seed)
    else:
        share, low, high = share_wrong(mine[open_], given, seed=seed)
        bounds = _bounds(probabilities, labels, judged & ~(sure | bad), judged & more & sure)
    if bounds is not None and bounds.low > share:
        share, low, high = bounds.least, bounds.low, max(high, bounds.high)
    else:
        bounds = None
    p = _probability(kinds, weights, at, score, share, sure[at], open_)
    both = sure[at][decided].any() and bad[at].any()
    found = decided_of(p[decided], score[decided], bad[at][decided], score) if both else None
    if found is not None and len(decided) >= _ENOUGH_DECISIONS:
        used = [kinds[n][at] for n, w in weights if w]
        fit = by_decisions(used, p, decided, bad[at][decided], open_, seed=seed)
        p, low, high, bounds = fit.p, fit.low, fit.high, None
        if found.contradicts and found.one_sided:
            # Of labels that look better no more are wrong than of those that were decided.
            high = max(high, found.wrong / found.decisions)
    p = np.where(sure[at], 0.0, np.where(bad[at], 1.0, p))
    if known.any():
        of_open, surely = float((~known).mean()), float(bad[at].mean())
        share = float(p.mean())
        low, high = min(low * of_open + surely, share), max(high * of_open + surely, share)

    # No ties: what the probability leaves open, the score decides, and then the data's order.
    order = np.lexsort((np.arange(len(at)), score, -p))
    rank = np.zeros(len(labels), np.int64)
    rank[at[order]] = np.arange(1, len(at) + 1)
    p_wrong = np.full(len(labels), np.nan)
    p_wrong[at] = p
    issue = np.nan_to_num(p_wrong) > 0.5
    suggested, p_suggested = _suggest(probabilities, labels, p_wrong, issue)
    unlike = evidence.unlike_all
    summary = Summary(
        share_wrong=share,
        share_low=low,
        share_high=high,
        num_issues=int(issue.sum()),
        confusion=confident_joint(mine, labels[at]),
        duplicates=tuple(g for g in evidence.duplicates if len(set(labels[list(g)]) - {-1}) > 1),
        self_tests=tests,
        warnings=cautions(tests, failed, share, high, found, bounds),
    )
    return LabelIssues(
        p_wrong=p_wrong,
        rank=rank,
        suggested_label=suggested,
        p_suggested=p_suggested,
        fits_no_class=np.zeros(len(labels), bool) if unlike is None else np.asarray(unlike, bool),
        is_label_issue=issue,
        probabilities=probabilities.astype(np.float32),
        evidence=kinds,
        summary=summary,
    )


def flags(values: Any, count: int, name: str) -> np.ndarray:
    """bool [count], none set where `values` is None; raises `ValueError` for another shape or dtype."""
    if values is None:
        return np.zeros(count, bool)
    flags = np.asarray(values)
    if flags.shape != (count,) or flags.dtype != bool:
        raise ValueError(
            f"{name} has shape {flags.shape} and dtype {flags.dtype}; expected bool [{count}], one "
            "for each label"
        )
    return flags


def _check(
    evidence: Evidence, labels: np.ndarray, sure: np.ndarray, bad: np.ndarray, more: np.ndarray
) -> None:
    shape = np.shape(evidence.probabilities)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"labels are {labels.dtype} {labels.shape}; expected whole numbers, [N]")
    if len(shape) != 2 or shape[0] != len(labels) or shape[1] < 2:
        raise ValueError(
            f"probabilities have the shape {shape}; expected [{len(labels)}, C] for as many labels and "
            "C >= 2 classes"
        )
    out = np.flatnonzero((labels < -1) | (labels >= shape[1]))
    if out.size:
        raise ValueError(
            f"label {labels[out[0]]} at position {out[0]} is none of the {shape[1]} classes "
            f"0 … {shape[1] - 1} ({out.size} such; -1 marks an example without a label)"
        )
    if (labels >= 0).sum() < 2:
        raise ValueError("fewer than two examples have a label: there is nothing to compare")
    if np.ptp(labels[labels >= 0]) == 0:
        raise ValueError(
            f"all labels are {labels.max()}: with one class there is nothing to compare, give labels "
            "of two or more"
        )
    p = np.asarray(evidence.probabilities)
    # Without a copy of what may be gigabytes: the sum of a row is NaN where any entry is.
    total, least = p.sum(1, dtype=np.float64), p.min(1)
    odd = np.flatnonzero((least < 0) | (np.abs(total - 1) > 0.01))
    if odd.size:
        raise ValueError(
            f"probabilities at position {odd[0]} have the sum {total[odd[0]]:g} and the least "
            f"{least[odd[0]]:g} ({odd.size} such rows): give softmax(logits), or NaN where there are "
            "none"
        )
    for name, values in evidence.kinds.items():
        if np.shape(values) != (len(labels),):
            raise ValueError(
                f"evidence {name!r} has the shape {np.shape(values)}; expected [{len(labels)}]"
            )
        if np.isinf(values).any():
            raise ValueError(
                f"evidence {name!r} is infinite at position {np.flatnonzero(np.isinf(values))[0]}: "
                "clip it, or give NaN where there is none"
            )
    unlike = evidence.unlike_all
    if unlike is not None and np.shape(unlike) != (len(labels),):
        raise ValueError(f"unlike_all has the shape {np.shape(unlike)}; expected [{len(labels)}]")
    if (sure & bad).any():
        at = int(np.flatnonzero(sure & bad)[0])
        raise ValueError(f"position {at} is both trusted and known_wrong; it can be one of them")
    if (more & ~sure).any():
        at = int(np.flatnonzero(more & ~sure)[0])
        raise ValueError(f"position {at} is added but not trusted; what is added is trusted")


def _bounds(
    probabilities: np.ndarray, labels: np.ndarray, given: np.ndarray, trusted: np.ndarray
) -> Bounds | None:
    """By trusted labels, if there are enough; the flags [N] are of those that networks judged."""
    given, agrees = given & (labels >= 0), probabilities.argmax(1) == labels
    if trusted.sum() < _ENOUGH_TRUSTED or not given.any():
        return None
    return bounds_by_trusted(agrees[given], agrees[trusted])


def _compared(labels: np.ndarray, bad: np.ndarray, evidence: Evidence) -> np.ndarray:
    """Labels as they were given, for the self-test to compare those with that it corrupted."""
    compared = (labels >= 0) & ~bad
    if evidence.planted is not None:
        compared[evidence.planted.positions] = False
    return compared


def _probability(
    kinds: dict[str, np.ndarray],
    weights: list[tuple[str, float]],
    at: np.ndarray,
    score: np.ndarray,
    share: float,
    sure: np.ndarray,
    open_: np.ndarray,
) -> np.ndarray:
    """P(wrong): a mixture of what is open and has evidence; the score carries it over to the others."""
    used = {name for name, weight in weights if weight}
    name = next((n for n in _MIXTURE_OF if n in used), next(iter(used)))
    values = kinds[name][at]
    known = open_[np.isfinite(values[open_])]
    right = values[sure & np.isfinite(values)]
    raw = mixture_posterior(values[known], right if len(right) >= _ENOUGH_TRUSTED else None)
    return falling(with_mean(raw, share), score[known], score)


def _suggest(
    probabilities: np.ndarray, labels: np.ndarray, p_wrong: np.ndarray, issue: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The most probable class of all, or but the given one where the label is an issue."""
    rows, labeled = np.arange(len(labels)), labels >= 0
    own = probabilities[rows, labels] * labeled
    others = probabilities.copy()
    others[rows[labeled], labels[labeled]] = -1.0
    best = others.argmax(1)
    among = others[rows, best] / np.maximum(probabilities.sum(1) - own, 1e-12)
    p_best = np.clip(among, 0.0, 1.0) * np.where(labeled, np.nan_to_num(p_wrong), 1.0)
    keeps = labeled & ~issue
    suggested = np.where(keeps, labels, best).astype(np.int32)
    return suggested, np.where(keeps, 1 - np.nan_to_num(p_wrong), p_best)
