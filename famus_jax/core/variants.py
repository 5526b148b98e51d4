"""The compiled variants of a step: which one is due, and what each costs.

A compiled program has a fixed lowest group (its cut), and either has a meta update in it or not. An
estimator that chooses anew from step to step therefore has several: the host picks one
(`TrainStep`), or a `lax.switch` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from famus_jax.core.costs import step_cost
from famus_jax.core.draws import RandomDepth, RandomGroups
from famus_jax.core.estimators import Drawn, Estimator
from famus_jax.core.problem import Problem


class Variant(NamedTuple):
    """A static choice.

    Attributes:
      meta: whether θ is updated at all; without it a step costs what a plain one does.
      branch: which cut, an index into `cuts_of`.
      correct: whether the exact gradient is computed too (`Estimator.correct_every`).
    """

    meta: bool = True
    branch: int = 0
    correct: bool = False


def is_meta_step(estimator: Estimator, step: jax.Array | int) -> jax.Array | bool:
    """Whether θ is updated at `step`: every k-th, from step 0 on."""
    every = estimator.every(step) if callable(estimator.every) else estimator.every
    return step % every == 0


def has_variants(estimator: Estimator) -> bool:
    """Whether there is more than one variant."""
    choice = callable(estimator.every) or estimator.every > 1 or estimator.correct_every
    return bool(choice) or isinstance(estimator.active, Drawn)


def cuts_of(problem: Problem, estimator: Estimator) -> tuple[int, ...]:
    """The lowest active group of every branch; one of them if the active set is fixed."""
    active = estimator.active
    if isinstance(active, Drawn):
        return active.cuts(problem.groups)
    return (min(active.groups(problem.groups)),)


def cut_costs(problem: Problem, estimator: Estimator, rho: float) -> tuple[float, ...]:
    """What a meta step costs on every branch, in plain steps; ρ = meta / training batch size."""
    groups = problem.groups
    products = None
    if estimator.route == "vjp" and not isinstance(estimator.active, Drawn):
        # A group's own product: its tangents travel up to the outputs, with none coming from below.
        products = sum(groups.share_above(i) for i in estimator.active.groups(groups)) / 2
    return tuple(
        step_cost(
            estimator.lookahead,
            groups.share_above(cut),
            rho,
            stationary=problem.objective.stationary,
            part=estimator.part,
            products=products,
        )
        for cut in cuts_of(problem, estimator)
    )


def variant_cost(problem: Problem, estimator: Estimator, rho: float, variant: Variant) -> float:
    """What a step of this variant costs, in plain steps."""
    if not variant.meta:
        return 1.0
    cheap = cut_costs(problem, estimator, rho)[variant.branch]
    return cheap + correction_cost(problem, estimator, rho) if variant.correct else cheap


def correction_cost(problem: Problem, estimator: Estimator, rho: float) -> float:
    """What the exact gradient costs besides the cheap one, in plain steps."""
    stationary, part = problem.objective.stationary, estimator.part
    whole = step_cost("full", 1.0, rho, stationary=stationary, part=part)
    return whole - 1 - (part / 3 if part < 1 else 0)  # the part's forward pass is run already


def mean_cost(
    problem: Problem,
    estimator: Estimator,
    rho: float,
    branch_probabilities: Sequence[float] | None = None,
) -> float:
    """The average cost of a step over a long run, in plain steps.

    Args:
      problem, estimator, rho: see there.
      branch_probabilities: how often each branch is called for; by default what a random draw says,
        and for learned gates, which nothing is known of beforehand, the dearest branch always.

    A function for `every` is taken at step 0.
    """
    costs = cut_costs(problem, estimator, rho)
    active = estimator.active
    if branch_probabilities is None:
        branch_probabilities = (1.0,)
        if isinstance(active, RandomGroups | RandomDepth):
            branch_probabilities = active.cut_probabilities(problem.groups)
    meta = sum(p * c for p, c in zip(branch_probabilities, costs))
    if estimator.correct_every:
        meta += correction_cost(problem, estimator, rho) / estimator.correct_every
    every = int(estimator.every(0)) if callable(estimator.every) else estimator.every
    return 1 + (meta - 1) / every


def branch_costs(problem: Problem, estimator: Estimator, rho: float) -> jax.Array:
    """`cut_costs` as an array, to be indexed by a traced branch."""
    return jnp.asarray(cut_costs(problem, estimator, rho), jnp.float32)
