"""What a step costs, in units of a plain SGD step, from the layers alone.

Symbols: F = one forward pass over the training batch (a plain step is 3 F), s = the share of the
network's cost at or above the lowest active layer, ρ = meta batch size over training batch size,
p = the part of the training batch that the meta gradient is taken on.
"""

from __future__ import annotations

from collections.abc import Sequence

from famus_jax.core.estimator import Estimator
from famus_jax.core.problem import Problem
from famus_jax.layers.partition import Layers


def step_cost(
    virtual_step: str,
    share: float,
    rho: float,
    *,
    zero_virtual_step: bool = False,
    part: float = 1.0,
    products: float | None = None,
    steps: int = 1,
) -> float:
    """Forward and backward passes of one meta step over those of a plain step.

    Args:
      virtual_step: `"all"`, `"active"` or `"actual"`; `"carried"` for a step that does not ask the
        meta batch; `"unrolled"`.
      share: s, in [0, 1].
      rho: ρ.
      zero_virtual_step: the virtual step does not move (L2R), so that no virtual backward pass is run.
      part: p; below 1 the part has a forward pass of its own.
      products: the sum of s over all forward-mode products; one product, hence s, by default.
      steps: k, of `"unrolled"`.

    Example:
      >>> round(step_cost("active", share=0.01, rho=0.25), 3)  # the head alone, a small meta batch
      1.098
    """
    if virtual_step == "unrolled":
        # After the first step each is a gradient, 3 F, and again with its derivative along ḡ, 9 F.
        return step_cost("all", 1.0, rho) + (steps - 1) * (3 + 9) / 3
    actual, forward_of_part = 3.0, part if part < 1 else 0.0
    meta = 0.0 if virtual_step == "carried" else rho + 2 * share * rho
    jvp = 2 * (share if products is None else products) * part
    backward = {"all": 2.0, "active": 2 * share, "actual": 0.0, "carried": 0.0}
    virtual_backward = backward[virtual_step] * part
    if zero_virtual_step:
        virtual_backward = 0.0
    return (actual + forward_of_part + virtual_backward + meta + jvp) / 3


def program_costs(problem: Problem, estimator: Estimator, n: int, m: int) -> tuple[float, ...]:
    """What a meta step costs with each of the estimator's programs, in plain steps.

    Args:
      problem: see there; its layers must be known.
      estimator: see there.
      n: training batch size.
      m: meta batch size.
    """
    layers = _layers(problem)

    def cost(program: tuple[int, ...]) -> float:
        products = None
        if estimator.route == "vjp":
            # A layer's own product: its tangents travel up to the outputs, none come from below.
            products = sum(layers.share_above(i) for i in program) / 2
        return step_cost(
            estimator.virtual_step,
            layers.share_above(min(program)),
            m / n,
            zero_virtual_step=problem.method.zero_virtual_step,
            part=_part(estimator, n),
            products=products,
            steps=estimator.steps,
        )

    return tuple(cost(program) for program in estimator.active.programs(layers))


def renewal_cost(problem: Problem, estimator: Estimator, n: int, m: int) -> float:
    """What it costs besides to renew what is renewed now and then, in plain steps: the exact gradient
    of a control variate, or the carried direction."""
    if estimator.carries:
        layers = _layers(problem)
        share = layers.share_above(min(estimator.active.programs(layers)[0]))
        return (1 + 2 * share) * m / n / 3
    part, zero = _part(estimator, n), problem.method.zero_virtual_step
    whole = step_cost("all", 1.0, m / n, zero_virtual_step=zero, part=part)
    return whole - 1 - (part / 3 if part < 1 else 0)  # the part's forward pass is run already


def mean_cost(
    problem: Problem,
    estimator: Estimator,
    n: int,
    m: int,
    program_probabilities: Sequence[float] | None = None,
) -> float:
    """The average cost of a step over a long run, in plain steps.

    Args:
      problem, estimator, n, m: see `program_costs`.
      program_probabilities: how often each program is called for; by default what the kind of
        active layers says, and where nothing is known beforehand (learned gates) the most expensive
        program always.

    Example:
      >>> import jax.numpy as jnp
      >>> import famus_jax as famus
      >>> layers = famus.layers_by({"a": jnp.ones(2), "b": jnp.ones(2)}, {"a": 0, "b": 1})
      >>> problem = famus.problem(lambda *args: args[:2], famus.mwnet(), layers=layers)
      >>> round(mean_cost(problem, famus.all_layers(update_every=2), n=64, m=64), 3)
      2.167
    """
    costs = program_costs(problem, estimator, n, m)
    if program_probabilities is None:
        known = estimator.active.program_probabilities(_layers(problem))
        program_probabilities = known or (1.0,)
    meta = sum(p * c for p, c in zip(program_probabilities, costs))
    if every := estimator.renews_every or int(estimator.carries):
        meta += renewal_cost(problem, estimator, n, m) / every
    return 1 + (meta - 1) / estimator.update_every


def _layers(problem: Problem) -> Layers:
    if problem.layers is None:
        raise ValueError(
            "costs are of a network's layers, and this problem's are not known: use problem.on(params, "
            "model_state, key, batch), or problem(..., layers=...)"
        )
    return problem.layers


def _part(estimator: Estimator, n: int) -> float:
    return 1.0 if estimator.examples is None else min(1.0, estimator.examples / n)
