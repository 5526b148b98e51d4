"""A carried direction: the meta batch is asked now and then, and its answer is kept.

Symbols: v_t = ∇_w L_val(w_t), the meta batch's gradient at the parameters themselves; a = its moving
average, c = how often it was renewed, ρ = `Estimator.decay`, v̄ = the average without the bias of its
start, J = ∂f/∂w on the examples that are heard, T = the training loss, α = the step size.

    a ← ρ a + (1 − ρ) v_t,   v̄ = a / (1 − ρ^c)          every `renew_every`-th meta update
    −α ∇_θ ⟨∂T/∂f (f, θ), J v̄⟩                          every meta update, f held fixed

The meta gradient of one virtual step has v at ŵ = w − α g in the place of v̄ (`meta_gradient`). Two
things differ. v is taken at w, where it misses α ∇²L_val g, which is small for small α. And v̄ is that
of earlier parameters: an estimate biased by how far w has moved since, and less noisy, since it has
seen many meta batches. Neither depends on the training batch of this step, so no virtual step is taken.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from famus_jax.core.active_gradient import ActiveGradient, VirtualTrain
from famus_jax.core.estimator import Estimator
from famus_jax.core.meta_gradient import direction_to_theta, meta_loss_gradient
from famus_jax.core.problem import Inputs, Problem
from famus_jax.core.virtual_step import scale
from famus_jax.layers.partition import Layers, Part

PyTree = Any


class Carried(NamedTuple):
    """What is kept of the meta batches seen so far.

    Attributes:
      average: a, the active layers' part of a tree like the parameters.
      renewals: c, int32 scalar.
      meta_loss: L_val when it was renewed last.
    """

    average: Part
    renewals: jax.Array
    meta_loss: jax.Array


def first_carried(
    estimator: Estimator, layers: Layers, params: PyTree, dtype: Any
) -> Carried | tuple[()]:
    """Before the first renewal; `()` for an estimator that carries nothing.

    Args:
      estimator, layers, params: see there.
      dtype: of the loss.
    """
    if not estimator.carries:
        return ()
    part = layers.part(params, _heard(estimator, layers))
    kept = estimator.carried_dtype
    zeros = tuple(jnp.zeros(jnp.shape(x), kept or jnp.result_type(x)) for x in part)
    return Carried(zeros, jnp.zeros((), jnp.int32), jnp.zeros((), dtype))


def renewed(
    problem: Problem, estimator: Estimator, theta: PyTree, inputs: Inputs, carried: Carried
) -> Carried:
    """With this step's meta batch in it."""
    assert problem.layers is not None
    active = _heard(estimator, problem.layers)
    value, v = meta_loss_gradient(problem, theta, inputs, inputs.params, active)
    decay = estimator.decay

    def mix(a: jax.Array, new: jax.Array) -> jax.Array:
        wide = jnp.promote_types(a.dtype, jnp.float32)
        return (decay * a.astype(wide) + (1 - decay) * new.astype(wide)).astype(a.dtype)

    average = tuple(mix(a, new) for a, new in zip(carried.average, v, strict=True))
    return Carried(average, carried.renewals + 1, value.astype(carried.meta_loss.dtype))


def carried_gradient(
    problem: Problem, estimator: Estimator, theta: PyTree, virtual: VirtualTrain, carried: Carried
) -> ActiveGradient:
    """Where v̄ meets θ on the examples that are heard."""
    layers, inputs = problem.layers, virtual.inputs
    assert layers is not None
    active = _heard(estimator, layers)
    unbiased = 1 / (1 - estimator.decay ** carried.renewals.astype(carried.meta_loss.dtype))
    part = layers.part(inputs.params, active)
    v = tuple(a.astype(w.dtype) for a, w in zip(carried.average, part, strict=True))
    d = scale(scale(v, unbiased), -inputs.step_size)
    gradient = direction_to_theta(problem, theta, estimator, virtual.lin, d, active)
    return ActiveGradient(gradient, None, carried.meta_loss)


def _heard(estimator: Estimator, layers: Layers) -> tuple[int, ...]:
    return estimator.active.programs(layers)[0]
