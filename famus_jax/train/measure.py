"""What the steps since the last evaluation tell: a few numbers per step, then their means.

The numbers of a step are plain, so that a run that is stopped between two evaluations can keep them
beside its checkpoint and go on as if nothing had been.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from famus_jax.core.state import StepInfo

LOSS_EDGES = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0)
"""Between these, and on both sides of them, the mean weight by loss is recorded."""

# Recorded as means over the steps with a meta update, like what the active layers report.
_INFO_SCALARS = ("loss", "meta_loss", "theta_norm", "open_layers")


class Taken(NamedTuple):
    """What one network's part of one step leaves, still on the device.

    Attributes:
      examples: int32 [n], the positions of the examples that the batch held.
      info: diagnostics and metrics; its `cost` in steps of plain training.
    """

    examples: jax.Array
    info: StepInfo


class Told(NamedTuple):
    """The numbers of one network's part of one step, as JSON can hold them.

    Attributes:
      loss, cost: as `StepInfo` has them.
      metrics: by name.
      meta: diagnostics of the meta update by name; {} in a step without one.
      clean, wrong: sum and count of the weights times n, of labels that are right and that are wrong.
      least, most: of the weights times n.
      rise: how the weights go with the losses of the batch, their rank correlation: 1 if the larger
        loss has the larger weight, -1 if the smaller; None where either are all the same, or the
        losses are not known.
      by_loss: sum of the weights times n, and count, of the examples whose loss is between two of
        `LOSS_EDGES`, only those that hold some: the number of the interval, sum, count; () where the
        losses are not known.
    """

    loss: float
    cost: float
    metrics: dict[str, float]
    meta: dict[str, float]
    clean: tuple[float, int] = (0.0, 0)
    wrong: tuple[float, int] = (0.0, 0)
    least: float = math.nan
    most: float = math.nan
    rise: float | None = None
    by_loss: Sequence[tuple[int, float, int]] = ()


Window = list[list[Told]]
"""By step since the last evaluation, by network."""


def told(steps: Sequence[Sequence[Taken]], wrong: np.ndarray, reweights: bool) -> Window:
    """The numbers of some steps, which are already on the host.

    Args:
      steps: by step, by network.
      wrong: bool [N], which labels were corrupted.
      reweights: whether the weights tell something of the examples.
    """
    return [[_told(one, wrong, reweights) for one in step] for step in steps]


def _told(one: Taken, wrong: np.ndarray, reweights: bool) -> Told:
    info = one.info
    meta = {name: float(getattr(info, name)) for name in _INFO_SCALARS} if info.updated else {}
    if info.updated:
        meta.update({name: float(value) for name, value in info.active.items()})
    plain = Told(
        loss=float(info.loss),
        cost=float(info.cost),
        metrics={n: float(value) for n, value in info.metrics.items() if n != "losses"},
        meta=meta,
    )
    if not reweights:
        return plain
    weights = scaled_weights(info)
    bad = wrong[one.examples]
    return plain._replace(
        clean=(float(weights[~bad].sum()), int((~bad).sum())),
        wrong=(float(weights[bad].sum()), int(bad.sum())),
        least=float(weights.min()),
        most=float(weights.max()),
        rise=rank_correlation(weights, info.metrics.get("losses")) if info.updated else None,
        by_loss=weight_by_loss(weights, info.metrics.get("losses")),
    )


def weight_by_loss(weights: np.ndarray, losses: Any) -> list[tuple[int, float, int]]:
    """The number of an interval of `LOSS_EDGES`, sum of weights and count, for those that hold some.

    >>> weight_by_loss(np.array([1.5, 1.0, 0.5]), np.array([0.05, 0.01, 99.0]))
    [(0, 2.5, 2), (13, 0.5, 1)]
    """
    if losses is None or not np.isfinite(losses).all():
        return []
    place = np.searchsorted(LOSS_EDGES, np.asarray(losses))
    counts = np.bincount(place, minlength=len(LOSS_EDGES) + 1)
    sums = np.bincount(place, weights, minlength=len(LOSS_EDGES) + 1)
    return [(int(i), float(sums[i]), int(counts[i])) for i in np.flatnonzero(counts)]


def rank_correlation(weights: np.ndarray, losses: Any) -> float | None:
    """Spearman's rank correlation, ties not averaged among losses; None where there is none.

    >>> rank_correlation(np.array([0.9, 0.5, 0.1]), np.array([0.0, 1.0, 2.0]))
    -1.0
    """
    if losses is None or np.ptp(weights) < 1e-6 or not np.isfinite(losses).all():
        return None
    ranks = np.argsort(np.argsort(losses, kind="stable"), kind="stable")
    levels, place, count = np.unique(weights, return_inverse=True, return_counts=True)
    if len(levels) < 2 or np.ptp(np.asarray(losses)) == 0:
        return None
    middle = np.cumsum(count) - (count + 1) / 2  # weights that are the same share a rank
    return float(np.corrcoef(middle[place.reshape(-1)], ranks)[0, 1])


def scaled_weights(info: StepInfo) -> np.ndarray:
    """Weights times n, float64 [n]: 1 is as much as in plain training."""
    return np.asarray(info.weights, np.float64) * len(info.weights)


def as_json(window: Window) -> list[list[dict[str, Any]]]:
    """For the record of a checkpoint."""
    return [[one._asdict() for one in step] for step in window]


def from_json(kept: Sequence[Sequence[dict[str, Any]]]) -> Window:
    """The inverse of `as_json`."""
    return [[Told(**one) for one in step] for step in kept]


def means(window: Window, learns: bool, reweights: bool, known: bool = True) -> dict[str, Any]:
    """One dict of means over the window, what an evaluation records; None for a mean that is none.

    With `known`, of the weights of right and of wrong labels too.
    """
    parts = [one for step in window for one in step]
    measured: dict[str, Any] = {
        name: _mean([one.metrics[name] for one in parts]) for name in parts[0].metrics
    }
    measured["cost"] = _mean([sum(one.cost for one in step) for step in window])
    if not learns:
        return {"loss": _mean([one.loss for one in parts]), **measured}
    updated = [one.meta for one in parts if one.meta]
    for name in updated[0] if updated else _INFO_SCALARS:
        measured[name] = _mean([meta[name] for meta in updated])
    if reweights and known:
        for name in ("clean", "wrong"):
            total, count = np.sum([getattr(one, name) for one in parts], axis=0)
            measured[f"weight_{name}"] = _mean([total / count] if count else [])
    if reweights:
        measured["weight_loss_correlation"] = rise(window)
        if any(one.by_loss for one in parts):
            measured["weight_by_loss"] = _mean_by_loss(parts)
    return measured


def _mean_by_loss(parts: Sequence[Told]) -> list[float | None]:
    """The mean weight in every interval of `LOSS_EDGES`; None where no example was."""
    totals = np.zeros((len(LOSS_EDGES) + 1, 2))
    for one in parts:
        for place, total, count in one.by_loss:
            totals[place] += (total, count)
    return [round(total / count, 6) if count else None for total, count in totals.tolist()]


def rise(window: Window) -> float | None:
    """How the weights go with the losses, the mean over the window; None if no step tells."""
    return _mean([one.rise for step in window for one in step if one.rise is not None])


def _mean(values: Sequence[float]) -> float | None:
    """None for no values; and where the mean is not finite, since JSON knows no such number."""
    mean = float(np.mean(values)) if values else math.nan
    return mean if math.isfinite(mean) else None
