"""The meta gradient ∇_θ L_val(ŵ(θ)), layer by layer, in three forms that agree.

Symbols: w = parameters, α = learning rate of the virtual step, θ = meta-parameters, T = training
objective, f = network outputs, J = ∂f/∂w, ŵ(θ) = w − α ∇_w T(f(w), θ) (Eq. 3), S = the active
groups, v_l = ∂L_val/∂ŵ_l, g_l = the virtual gradient of group l.

* `layerwise_meta_gradient`: the paper's form (Eq. 7, 9): for every active group the vector-Jacobian
  product of θ ↦ ŵ_l(θ) with v_l.
* `fused_meta_gradient`: all of θ's influence on ŵ comes after the outputs f, hence

      Σ_{l∈S} (∂ŵ_l/∂θ)ᵀ v_l = −α ∇_θ ⟨∂T/∂f (f, θ), J v_S⟩,   f held fixed:

  one forward-mode product for all groups, and a gradient through the small function T.
* `second_order_meta_gradient`: differentiate the definition. The baseline, and the oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.core.checks import check_forward
from famus_jax.core.groups import Part
from famus_jax.core.linearize import Linearized, linearize
from famus_jax.core.problem import Point, Problem

PyTree = Any


def layerwise_meta_gradient(
    problem: Problem,
    theta: PyTree,
    point: Point,
    *,
    active: Sequence[int] | None = None,
    lookahead: str = "full",
) -> dict[str, PyTree]:
    """The meta gradient of every active layer group, by one `jax.vjp` per group (Eq. 7, 9).

    Args:
      problem: the functions; see `Problem`.
      theta: θ.
      point: parameters, batches and α; see `Point`.
      active: the active groups' numbers; None for all.
      lookahead: `"full"` (every group takes the virtual step) or `"active_only"`.

    Returns:
      `{group name: pytree like θ}`; the parts sum to the whole meta gradient. Gates multiply them.
    """
    groups = problem.groups
    active = groups.all if active is None else tuple(active)
    check_forward(problem, theta, point)
    lin = linearize_training(problem, point)
    part = virtual_gradient(problem, theta, point, lin, active, lookahead)
    _, v = judge(problem, point, look_ahead(problem, point, part, active, lookahead), active)
    return layer_products(problem, theta, point, lin, v, active)


def layer_products(
    problem: Problem,
    theta: PyTree,
    point: Point,
    lin: Linearized,
    v: Part,
    active: Sequence[int],
) -> dict[str, PyTree]:
    """(∂ŵ_l/∂θ)ᵀ v_l for every active group l, each by its own `jax.vjp`."""
    groups, owner = problem.groups, problem.groups.part_index(active)
    products = {}
    for group in active:

        def virtual_group(theta: PyTree, group: int = group) -> Part:
            """θ ↦ ŵ_l(θ) (Eq. 3)."""
            cotangent, _ = training_cotangent(problem, theta, lin, point.batch)
            gradient = lin.pull_part(cotangent, (group,))
            return descend(groups.part(point.params, (group,)), gradient, point.alpha)

        _, pull_back = jax.vjp(virtual_group, theta)
        v_l = tuple(x for x, g in zip(v, owner) if g == group)
        (products[groups.names[group]],) = pull_back(v_l)
    return products


def fused_meta_gradient(
    problem: Problem,
    theta: PyTree,
    point: Point,
    *,
    active: Sequence[int] | None = None,
    lookahead: str = "full",
) -> PyTree:
    """The sum of `layerwise_meta_gradient` over the active groups, by one J v. Same arguments."""
    active = problem.groups.all if active is None else tuple(active)
    check_forward(problem, theta, point)
    lin = linearize_training(problem, point)
    gradient = virtual_gradient(problem, theta, point, lin, active, lookahead)
    ahead = look_ahead(problem, point, gradient, active, lookahead)
    _, v = judge(problem, point, ahead, active)
    jv = lin.push(scale(v, -point.alpha), active)
    return pull_to_theta(problem, theta, lin, point.batch, jv)


def second_order_meta_gradient(
    problem: Problem,
    theta: PyTree,
    point: Point,
    *,
    active: Sequence[int] | None = None,
    lookahead: str = "full",
) -> tuple[jax.Array, PyTree]:
    """L_val and its gradient by reverse mode over reverse mode, through the virtual step itself.

    Same arguments as `layerwise_meta_gradient`; returns `(L_val, pytree like θ)`. Nothing here uses
    the identity of this module's docstring.
    """
    groups = problem.groups
    active = groups.all if active is None else tuple(active)

    def training_loss(params: PyTree, theta: PyTree) -> jax.Array:
        outputs, _ = problem.forward(params, point.model_state, point.rng, point.batch)
        return problem.objective.loss(theta, outputs, point.batch)[0]

    def l_val(theta: PyTree) -> jax.Array:
        gradient = jax.grad(training_loss)(point.params, theta)
        kept = groups.part(gradient, active)
        gradient = groups.place(kept, jax.lax.stop_gradient(gradient), active)
        if lookahead == "active_only":
            gradient = groups.part(gradient, active)
        ahead = look_ahead(problem, point, gradient, active, lookahead)
        outputs, _ = meta_pass(problem, point, ahead)
        return problem.meta_loss(outputs, point.meta_batch)

    return jax.value_and_grad(l_val)(theta)


# The steps that the three forms, and the compiled training step, are made of.


def linearize_training(problem: Problem, point: Point) -> Linearized:
    """The training batch's forward pass at w."""
    return linearize(
        problem.forward, point.params, point.model_state, point.rng, point.batch, problem.groups
    )


def training_cotangent(
    problem: Problem, theta: PyTree, lin: Linearized, batch: PyTree
) -> tuple[list[jax.Array], tuple[jax.Array, jax.Array]]:
    """∂T/∂f at the outputs f, with (T, weights)."""

    def loss(f: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        return problem.objective.loss(theta, lin.rebuild(f), batch)

    value, cotangent = jax.value_and_grad(loss, has_aux=True)(lin.f)
    return cotangent, value


def virtual_gradient(
    problem: Problem,
    theta: PyTree,
    point: Point,
    lin: Linearized,
    active: Sequence[int],
    lookahead: str,
) -> PyTree | Part:
    """∇_w T: the whole tree, or for an active-only look-ahead the active part."""
    cotangent, _ = training_cotangent(problem, theta, lin, point.batch)
    return lin.pull_part(cotangent, active) if lookahead == "active_only" else lin.pull(cotangent)


def look_ahead(
    problem: Problem,
    point: Point,
    gradient: PyTree | Part | None,
    active: Sequence[int],
    lookahead: str,
) -> PyTree:
    """ŵ (Eq. 3).

    Args:
      problem, point: see there.
      gradient: the virtual gradient as `virtual_gradient` returns it; None for 0.
      active, lookahead: with `"active_only"` just the active groups take the step; the others stay
        at w, or coast.
    """
    groups = problem.groups
    start = point.params
    if point.coast is not None:
        start = jax.tree.map(lambda w, u: w + u.astype(w.dtype), start, point.coast)
    if gradient is None:
        return start
    if lookahead == "active_only":
        moved = descend(groups.part(start, active), gradient, point.alpha)
        return groups.place(moved, start, active)
    return descend(start, gradient, point.alpha)


def meta_pass(problem: Problem, point: Point, params: PyTree) -> tuple[PyTree, PyTree]:
    """The meta batch's forward pass."""
    forward = problem.meta_forward or problem.forward
    return forward(params, point.model_state, point.rng, point.meta_batch)


def judge(
    problem: Problem, point: Point, params: PyTree, active: Sequence[int]
) -> tuple[jax.Array, Part]:
    """L_val at ŵ = `params`, and v_S = its gradient there with respect to the active groups.

    The backward pass ends at the lowest active group.
    """

    def l_val(part: Part) -> jax.Array:
        outputs, _ = meta_pass(problem, point, problem.groups.place(part, params, active))
        return problem.meta_loss(outputs, point.meta_batch)

    return jax.value_and_grad(l_val)(problem.groups.part(params, active))


def pull_to_theta(
    problem: Problem, theta: PyTree, lin: Linearized, batch: PyTree, jv: list[jax.Array]
) -> PyTree:
    """∇_θ ⟨∂T/∂f (f, θ), jv⟩ at fixed f: where a direction in output space meets θ."""

    def slope(theta: PyTree) -> jax.Array:
        def loss(f: list[jax.Array]) -> jax.Array:
            return problem.objective.loss(theta, lin.rebuild(f), batch)[0]

        return jax.jvp(loss, (lin.f,), (jv,))[1]

    return jax.grad(slope)(theta)


def descend(params: PyTree, gradient: PyTree, alpha: jax.Array | float) -> PyTree:
    """w − α g, in w's dtypes."""
    return jax.tree.map(lambda w, g: w - (alpha * g).astype(w.dtype), params, gradient)


def scale(part: Part, factor: jax.Array | float) -> Part:
    """`factor` times a part, in its dtypes."""
    return tuple((factor * x).astype(jnp.result_type(x)) for x in part)
