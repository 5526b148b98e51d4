"""Which estimator to take when none is named."""

from __future__ import annotations

from famus_jax.core.estimators import Estimator, exact, top_k
from famus_jax.core.objective import Objective


def default_estimator(objective: Objective) -> Estimator:
    """The estimator that did best for its price in the comparison of `docs/meta_gradient.md`.

    For a method that carries θ from batch to batch (MW-Net): the exact gradient on an eighth of the
    batch. It wants a small meta batch as well: with one of an eighth a step costs 1.33 plain steps.
    For one that weighs each batch anew (L2R), which needs every example's share: the head alone,
    1.04 plain steps; its virtual step does not move, so that the look-ahead is no approximation.
    For one that starts θ anew for every batch but has no weight per example (MLC), of which that
    comparison says nothing: the exact gradient on a quarter of the batch. θ never averages over
    batches there, so that it wants more than an eighth.
    """
    if not objective.fresh:
        return exact(part=0.125)
    if objective.per_example:
        return top_k(1, lookahead="active_only")
    return exact(part=0.25)
