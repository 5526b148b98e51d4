"""The virtual step ŵ, and how a direction is pulled back through it.

Symbols: w = parameters, α = the step size, g = the virtual gradient ∇_w T, S = the active layers,
U(g) = the real optimizer's update as a function of the gradient (sign and learning rate inside),
v = ∂L_val/∂ŵ, d = (∂ŵ/∂g)ᵀ v: the direction in the space of gradients, −α v for SGD.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.core.estimator import Estimator
from famus_jax.core.problem import Inputs
from famus_jax.layers.partition import Layers, Part

PyTree = Any


def virtual_step(
    layers: Layers,
    inputs: Inputs,
    estimator: Estimator,
    gradient: PyTree | Part | None,
    active: Sequence[int],
) -> PyTree:
    """ŵ (Eq. 3 of FaMUS, arXiv:2104.15092).

    Args:
      layers, inputs: see there.
      estimator: which layers step, and by which rule.
      gradient: g as a tree; for a step of the active layers alone, its active part; None for 0.
      active: with `virtual_step="active"` just these layers step; the others stay at w.
    """
    w, only = inputs.params, estimator.virtual_step == "active"
    if estimator.through_optimizer:
        whole = _whole(layers, w, estimator, gradient, active)
        ahead = jax.tree.map(lambda w, u: w + u.astype(w.dtype), w, _update(inputs)(whole))
        return layers.place(layers.part(ahead, active), w, active) if only else ahead
    if gradient is None:
        return w
    if only:
        return layers.place(_sgd(layers.part(w, active), gradient, inputs.step_size), w, active)
    return _sgd(w, gradient, inputs.step_size)


def pull_back(
    layers: Layers,
    inputs: Inputs,
    estimator: Estimator,
    gradient: PyTree | Part | None,
    v: Part,
    active: Sequence[int],
) -> Part:
    """d_S = (∂ŵ_S/∂g_S)ᵀ v_S; arguments as for `virtual_step`, and v_S."""
    if not estimator.through_optimizer:
        return scale(v, -inputs.step_size)
    whole = _whole(layers, inputs.params, estimator, gradient, active)

    def updates(part: Part) -> Part:
        return layers.part(_update(inputs)(layers.place(part, whole, active)), active)

    return jax.vjp(updates, layers.part(whole, active))[1](v)[0]


def scale(part: Part, factor: jax.Array | float) -> Part:
    """`factor` times a part, in its dtypes."""
    return tuple((factor * x).astype(jnp.result_type(x)) for x in part)


def _whole(
    layers: Layers,
    params: PyTree,
    estimator: Estimator,
    gradient: PyTree | Part | None,
    active: Sequence[int],
) -> PyTree:
    """g as a tree for the optimizer, 0 where it is not known, and nowhere exactly 0."""
    whole = jax.tree.map(jnp.zeros_like, params)
    if gradient is not None and estimator.virtual_step == "active":
        whole = layers.place(gradient, whole, active)
    elif gradient is not None:
        whole = gradient
    return jax.tree.map(off_zero, whole)


def off_zero(g: jax.Array) -> jax.Array:
    """g with a number that is next to nothing in place of 0.

    At 0 the optimizers' formulas have a derivative, but automatic differentiation gives NaN: Adam's
    √v of a pixel that was always black, the norm of a zero gradient that is clipped.
    """
    numbers = jnp.finfo(g.dtype)
    tiny = 1e3 * float(numbers.tiny) ** 0.5  # its square, times 1 - β₂, is no underflow
    if tiny > float(numbers.eps):  # float16 has no room for it
        return g
    return g + jnp.where(g == 0, jnp.asarray(tiny, g.dtype), 0)


def _update(inputs: Inputs) -> Callable[[PyTree], PyTree]:
    if inputs.optimizer_update is None:
        raise ValueError(
            "through_optimizer=True needs the optimizer's update as a function of the gradient: pass "
            "optimizer_update=lambda g: optimizer.update(g, opt_state, params)[0]"
        )
    return inputs.optimizer_update


def _sgd(params: PyTree, gradient: PyTree, step_size: jax.Array | float) -> PyTree:
    """w − α g, in w's dtypes."""
    return jax.tree.map(lambda w, g: w - (step_size * g).astype(w.dtype), params, gradient)
