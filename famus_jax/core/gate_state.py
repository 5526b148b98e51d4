"""Learned gates in motion: samplers, the draws under way, one training step of the samplers.

A compiled program has a fixed cut; gates above the cut multiply, groups below it are never built.
Gates are drawn either in the step itself (`lag=0`) or `lag` updates ahead, from the gradients known
then, so that the host can choose the compiled variant without waiting for the device. A queue in
`GateState` keeps the inputs and the noise of the draws under way: the gradient of a draw is taken
when it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.gates import LearnedGates
from famus_jax.core.groups import LayerGroups
from famus_jax.core.samplers import init_samplers

PyTree = Any


class GateState(NamedTuple):
    """The samplers, and the draws under way (a queue; empty with `lag=0`).

    Attributes:
      eta: the samplers' parameters η.
      opt_state: their optimiser's state.
      inputs: ḡ of each draw, [lag, L, D].
      uniforms: its noise, [lag, L, 2].
      masks: the open groups it gave, [lag, L].
      branches: the cut it calls for, int32 [lag].
    """

    eta: PyTree
    opt_state: PyTree
    inputs: jax.Array
    uniforms: jax.Array
    masks: jax.Array
    branches: jax.Array


def init_gates(
    spec: LearnedGates,
    key: jax.Array,
    groups: LayerGroups,
    widths: Sequence[int],
    probability: float,
    costs: Sequence[float],
) -> GateState:
    """Samplers at their start; the queue is filled with draws that have seen no gradient."""
    key_eta, key_queue = jax.random.split(key)
    eta = init_samplers(key_eta, widths, spec.hidden, spec.layers, probability)
    inputs = jnp.zeros((spec.lag, len(groups), max(widths)), jnp.float32)
    uniforms = jax.random.uniform(key_queue, (spec.lag, len(groups), 2), jnp.float32)
    masks = jnp.zeros((spec.lag, len(groups)), jnp.float32)
    branches = jnp.zeros((spec.lag,), jnp.int32)
    for i in range(spec.lag):
        mask = spec.mask(spec.draw(eta, inputs[i], uniforms[i], groups, costs).hard, groups)
        masks = masks.at[i].set(mask)
        branches = branches.at[i].set(spec.branch(mask, jnp.asarray(i), groups))
    return GateState(eta, spec.optimizer().init(eta), inputs, uniforms, masks, branches)


class Draw(NamedTuple):
    """The gates in force at a step: what was drawn, and what it was drawn from."""

    inputs: jax.Array
    uniforms: jax.Array
    factors: jax.Array
    branch: jax.Array


def draw_now(
    spec: LearnedGates,
    state: GateState,
    key: jax.Array,
    inputs: jax.Array,
    update: jax.Array,
    groups: LayerGroups,
    costs: Sequence[float],
) -> Draw:
    """Draws gates from the pooled gradients `inputs` [L, D], for the meta update numbered `update`."""
    uniforms = jax.random.uniform(key, (len(groups), 2), jnp.float32)
    draw = spec.draw(state.eta, inputs, uniforms, groups, costs)
    mask = jax.lax.stop_gradient(spec.mask(draw.hard, groups))
    return Draw(inputs, uniforms, mask, spec.branch(mask, update, groups))


def queued(state: GateState) -> Draw:
    """The draw that the queue holds for this step."""
    return Draw(state.inputs[0], state.uniforms[0], state.masks[0], state.branches[0])


def enqueue(state: GateState, draw: Draw) -> GateState:
    """Drops this step's draw and appends one for `lag` updates ahead."""

    def shift(queue: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.concatenate([queue[1:], new[None]])

    return state._replace(
        inputs=shift(state.inputs, draw.inputs),
        uniforms=shift(state.uniforms, draw.uniforms),
        masks=shift(state.masks, draw.factors),
        branches=shift(state.branches, draw.branch),
    )


def sampler_step(
    spec: LearnedGates,
    state: GateState,
    draw: Draw,
    slopes: jax.Array,
    lambda_r: jax.Array | float,
    groups: LayerGroups,
    costs: Sequence[float],
) -> tuple[GateState, dict[str, jax.Array]]:
    """One SGD step of the samplers on L_c + λ1 L_r, through the straight-through gates.

    Args:
      spec, state: the samplers.
      draw: the gates of this update.
      slopes: ∂L_c/∂r_l, [L]; 0 where it was not computed.
      lambda_r: λ1.
      groups: the layer groups.
      costs: of every cut (`variants.cut_costs`).

    Returns:
      The new state, and the norms of the two gradients (`gate_norm_c`, `gate_norm_r`).
    """

    def l_c(eta: PyTree) -> jax.Array:
        gates = spec.draw(eta, draw.inputs, draw.uniforms, groups, costs)
        return jnp.vdot(jax.lax.stop_gradient(slopes), gates.hard * spec.may_open(groups))

    def l_r(eta: PyTree) -> jax.Array:
        gates = spec.draw(eta, draw.inputs, draw.uniforms, groups, costs)
        return spec.regularizer(gates, groups, costs)

    grad_c = jax.grad(l_c)(state.eta)
    grad_r = jax.grad(l_r)(state.eta)
    grad = jax.tree.map(lambda c, r: c + lambda_r * r, grad_c, grad_r)
    updates, opt_state = spec.optimizer().update(grad, state.opt_state, state.eta)
    norms = {
        "gate_norm_c": optax.tree.norm(grad_c),
        "gate_norm_r": lambda_r * optax.tree.norm(grad_r),
    }
    eta = optax.apply_updates(state.eta, updates)
    return state._replace(eta=eta, opt_state=opt_state), norms
