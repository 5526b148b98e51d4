"""A forward pass whose J v is a finite difference of the outputs. Symbols: see `linearize`."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from famus_jax.differentiate.linearize import Forward, Linearized, function_of_params
from famus_jax.layers.partition import Layers, Part, PyTree


def finite_difference(
    forward: Forward,
    params: PyTree,
    model_state: PyTree,
    rng: jax.Array,
    batch: PyTree,
    layers: Layers,
    *,
    epsilon: float = 1e-2,
) -> Linearized:
    """As `linearize`, for networks whose operations define only a reverse rule (`jax.custom_vjp`).

    J v is (f(w + ε v) − f(w − ε v)) / 2ε, two more forward passes above the lowest active layer.

    Args:
      forward, params, model_state, rng, batch, layers: see `linearize`.
      epsilon: the norm of the step ε v over that of the active parameters. In float32 about three
        digits are right at best.
    """
    differentiable = function_of_params(forward, model_state, rng, batch)
    f, pull_back, (rest, new_state) = jax.vjp(differentiable, params, has_aux=True)

    def shifted(v: Part, active: Sequence[int]):
        part = layers.part(params, active)
        largest = _positive(jnp.stack([jnp.abs(x).max() for x in v]).max())
        unit = tuple(x / largest for x in v)  # first, so that no square of v is too small
        length = epsilon * _positive(_norm(part)) / _positive(_norm(unit))

        def at(sign: float) -> list[jax.Array]:
            moved = tuple(
                w + (sign * length * x).astype(w.dtype) for w, x in zip(part, unit, strict=True)
            )
            return differentiable(layers.place(moved, params, active))[0]

        return at(1.0), at(-1.0), length / largest

    def jvp(v: Part, active: Sequence[int]) -> list[jax.Array]:
        plus, minus, eps = shifted(v, active)
        return [((a - b) / (2 * eps)).astype(a.dtype) for a, b in zip(plus, minus)]

    def vjp(c: list[jax.Array]) -> PyTree:
        return pull_back(c)[0]

    return Linearized(
        f=f,
        rest=rest,
        batch=batch,
        model_state=new_state,
        jvp=jvp,
        vjp=vjp,
        vjp_part=lambda c, active: layers.part(vjp(c), active),
        shifted=shifted,
    )


def _positive(x: jax.Array) -> jax.Array:
    """x, or 1 where it is 0."""
    return jnp.where(x > 0, x, 1)


def _norm(part: Sequence[jax.Array]) -> jax.Array:
    return jnp.sqrt(sum(jnp.vdot(x, x).astype(jnp.float32) for x in part))
