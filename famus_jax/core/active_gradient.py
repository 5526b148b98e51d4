"""The active layers' share of the meta gradient, inside one compiled program.

Symbols: S = the layers that the program can hear, r_l = their factors (gates, or importance weights),
v_S = ∂L_val/∂ŵ_S, g_S = the virtual gradient there, d_S = (∂ŵ_S/∂g_S)ᵀ v_S (−α v_S for SGD),
L_c = the meta batch's loss.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from famus_jax.core.active_layers import Seen
from famus_jax.core.estimator import Estimator
from famus_jax.core.meta_gradient import direction_to_theta, meta_loss_gradient
from famus_jax.core.problem import Inputs, Problem
from famus_jax.core.second_order import second_order_meta_gradient
from famus_jax.core.virtual_step import pull_back, virtual_step
from famus_jax.differentiate.linearize import Linearized
from famus_jax.layers.partition import Layers, Part

PyTree = Any


class VirtualTrain(NamedTuple):
    """What Virtual-Train (Eq. 3) gives, before any layer is chosen.

    Attributes:
      inputs: where: with `Estimator.examples` the training batch is that part.
      lin: the training batch's forward pass, linearized.
      cotangent: ∂T/∂f at θ.
      loss, weights: T and the examples' weights at θ.
      gradient: the whole virtual gradient; None if only active layers step, or nothing moves.
    """

    inputs: Inputs
    lin: Linearized
    cotangent: list[jax.Array]
    loss: jax.Array
    weights: jax.Array
    gradient: PyTree | None


class ActiveGradient(NamedTuple):
    """What the active layers say.

    Attributes:
      theta: the θ-gradient of L_c.
      added: the θ-gradient of the direction that the kind adds; None if it adds none.
      meta_loss: L_val at the virtual step.
      slopes: for kinds that read them ∂L_c/∂r, float32 [L]; else None.
      direction: for those, where the virtual step does not move, d in a tree like the parameters (the
        slopes are then taken with the actual gradient); else None.
    """

    theta: PyTree
    added: PyTree
    meta_loss: jax.Array
    slopes: jax.Array | None = None
    direction: PyTree = None


def active_gradient(
    problem: Problem,
    estimator: Estimator,
    theta: PyTree,
    virtual: VirtualTrain,
    active: tuple[int, ...],
    factors: jax.Array | None,
    seen: Seen,
) -> ActiveGradient:
    """The meta gradient of the layers `active`, each times its factor (Eq. 9).

    Args:
      problem, estimator, theta: see `update`.
      virtual: see `VirtualTrain`.
      active: the layers that this program can hear.
      factors: r, [L], 0 for closed layers; None where all of `active` count fully.
      seen: see `Seen`.
    """
    layers, kind, inputs, lin = seen.layers, estimator.active, virtual.inputs, virtual.lin
    if estimator.route == "second_order":
        how = {
            "virtual_step": estimator.virtual_step,
            "through_optimizer": estimator.through_optimizer,
        }
        value, gradient = second_order_meta_gradient(problem, theta, inputs, active=active, **how)
        return ActiveGradient(gradient, None, value)

    g, stepped = None, virtual.gradient
    if stepped is not None:
        g = layers.part(stepped, active)
    elif not problem.method.zero_virtual_step:
        g = lin.vjp_part(virtual.cotangent, active)
        is_open = None if factors is None else (factors != 0).astype(factors.dtype)
        stepped = g if is_open is None else _times(layers, g, active, is_open)
    ahead = virtual_step(layers, inputs, estimator, stepped, active)
    if factors is not None and estimator.virtual_step == "active":
        # An optimizer moves at gradient 0 too.
        ahead = _where_open(layers, ahead, inputs.params, active, factors)
    value, v = meta_loss_gradient(problem, theta, inputs, ahead, active)
    d = pull_back(layers, inputs, estimator, stepped, v, active)

    def to_theta(direction: Part, heard: tuple[int, ...]) -> PyTree:
        return direction_to_theta(problem, theta, estimator, lin, direction, heard)

    kept = d if factors is None else _times(layers, d, active, factors)
    result = ActiveGradient(to_theta(kept, active), None, value)
    added = kind.added_direction(v, g, active, seen)
    if added is not None:
        result = result._replace(added=to_theta(*added))
    if kind.reads_slopes and g is not None:
        result = result._replace(slopes=layer_slopes(layers, active, g, d))
    elif kind.reads_slopes:
        zeros = jax.tree.map(jnp.zeros_like, inputs.params)
        result = result._replace(direction=layers.place(d, zeros, active))
    return result


def layer_slopes(layers: Layers, active: tuple[int, ...], gradient: PyTree, d: PyTree) -> jax.Array:
    """∂L_c/∂r_l = ⟨d_l, g_l⟩ (−α⟨v_l, g_l⟩), float32 [L], 0 outside `active`.

    Read as ŵ_l = w_l − α r_l g_l.
    """
    sums = [jnp.zeros((), jnp.float32) for _ in layers.names]
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(d), strict=True)
    for (g, x), layer in zip(pairs, layers.part_index(active), strict=True):
        sums[layer] += jnp.vdot(x.astype(jnp.float32), g.astype(jnp.float32))
    return jnp.stack(sums)


def _times(layers: Layers, part: Part, active: tuple[int, ...], factors: jax.Array) -> Part:
    owner = layers.part_index(active)
    return tuple(x * factors[i].astype(x.dtype) for x, i in zip(part, owner, strict=True))


def _where_open(
    layers: Layers, ahead: PyTree, w: PyTree, active: tuple[int, ...], factors: jax.Array
) -> PyTree:
    parts = zip(layers.part(ahead, active), layers.part(w, active), layers.part_index(active))
    kept = tuple(jnp.where(factors[i] != 0, moved, still) for moved, still, i in parts)
    return layers.place(kept, ahead, active)
