"""The active groups' share of the meta gradient, inside one training step.

Symbols: S = the active groups, r_l = gates, v_S = ∂L_val/∂ŵ_S, g_S = the virtual gradient there,
L_c = the meta batch's loss, L_g = gradient matching (Eq. 11), λ2 = its weight, "cut" = the lowest
group that a compiled variant differentiates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from famus_jax.core.estimators import Estimator
from famus_jax.core.gate_state import Draw
from famus_jax.core.gates import LearnedGates
from famus_jax.core.groups import Part
from famus_jax.core.linearize import Linearized
from famus_jax.core.meta_gradient import (
    judge,
    layer_products,
    look_ahead,
    pull_to_theta,
    scale,
    second_order_meta_gradient,
)
from famus_jax.core.pooling import gradient_matching
from famus_jax.core.problem import Point, Problem

PyTree = Any


class Known(NamedTuple):
    """What a step knows before any group is chosen.

    Attributes:
      problem, estimator, theta, point: see `meta_update`.
      lin: the training batch's forward pass, linearised.
      cotangent: ∂T/∂f at θ.
      virtual: the whole virtual gradient; None if the look-ahead is active-only or does not move.
    """

    problem: Problem
    estimator: Estimator
    theta: PyTree
    point: Point
    lin: Linearized
    cotangent: list[jax.Array]
    virtual: PyTree | None


class Share(NamedTuple):
    """What the active groups say.

    Attributes:
      gradient_c, gradient_g: the θ-gradients of L_c and of λ2 L_g.
      meta_loss: L_val at the look-ahead.
      slopes: with learned gates ∂L_c/∂r, float32 [L], else `()`.
      v: with learned gates and no virtual step: v_S in a tree like the parameters, else `()`.
    """

    gradient_c: PyTree
    gradient_g: PyTree
    meta_loss: jax.Array
    slopes: Any = ()
    v: PyTree = ()


def active_share(known: Known, active: Sequence[int]) -> Share:
    """The share of a fixed set of groups."""
    if known.estimator.route == "second_order":
        value, gradient = second_order_meta_gradient(
            known.problem,
            known.theta,
            known.point,
            active=active,
            lookahead=known.estimator.lookahead,
        )
        return Share(gradient, _zeros(known.theta), value)
    value, v, _ = _judged(known, active, None)
    if known.estimator.route == "vjp":
        parts = layer_products(
            known.problem, known.theta, known.point, known.lin, v, active
        ).values()
        return Share(jax.tree.map(lambda *x: sum(x), *parts), _zeros(known.theta), value)
    return Share(_to_theta(known, v, active), _zeros(known.theta), value)


def gated_share(known: Known, spec: LearnedGates, draw: Draw, branch: int | None) -> Share:
    """The open groups' share, on the compiled variant with the right cut.

    With `branch` (a Python int) there is one variant; with None a `lax.switch` over all.
    """
    groups = known.problem.groups

    def variant(cut: int):
        active = groups.all[cut:]

        def run(mask: jax.Array) -> Share:
            value, v, part = _judged(known, active, mask)
            gradient_c = _to_theta(known, _gated(known, v, active, mask), active)
            gradient_g = _zeros(known.theta)
            if spec.lambda_g:
                gradient_g = _matching_gradient(known, spec, part, v, active)
            if part is None:
                zeros = jax.tree.map(jnp.zeros_like, known.point.params)
                return Share(gradient_c, gradient_g, value, (), groups.place(v, zeros, active))
            slopes = gate_slopes(known, spec, active, part, v, mask)
            return Share(gradient_c, gradient_g, value, slopes)

        return run

    variants = [variant(cut) for cut in spec.cuts(groups)]
    if branch is not None:
        return variants[branch](draw.mask)
    return jax.lax.switch(draw.branch, variants, draw.mask)


def gate_slopes(
    known: Known,
    spec: LearnedGates,
    active: Sequence[int],
    gradient: PyTree,
    v: PyTree,
    mask: jax.Array,
) -> jax.Array:
    """∂L_c/∂r_l = −α⟨v_l, g_l⟩, read as ŵ_l = w_l − α r_l g_l; 0 below the cut. float32 [L]."""
    groups = known.problem.groups
    sums = [jnp.zeros((), jnp.float32) for _ in groups.names]
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(v), strict=True)
    for (g, x), group in zip(pairs, groups.part_index(active), strict=True):
        sums[group] += jnp.vdot(x.astype(jnp.float32), g.astype(jnp.float32))
    sign = jnp.where(mask > 0, 1, spec.closed_sign)
    return (-known.point.alpha * sign * jnp.stack(sums)).astype(jnp.float32)


def _judged(
    known: Known, active: Sequence[int], mask: jax.Array | None
) -> tuple[jax.Array, Part, Part | None]:
    """L_val at the look-ahead, v_S, and g_S (None where the virtual step does not move)."""
    problem, lookahead = known.problem, known.estimator.lookahead
    part, gradient = None, known.virtual
    if known.virtual is not None:
        part = problem.groups.part(known.virtual, active)
    elif not problem.objective.stationary:
        part = known.lin.pull_part(known.cotangent, active)
        gradient = part if mask is None else _gated(known, part, active, mask)
    ahead = look_ahead(problem, known.point, gradient, active, lookahead)
    value, v = judge(problem, known.point, ahead, active)
    return value, v, part


def _to_theta(known: Known, v: Part, active: Sequence[int]) -> PyTree:
    """−α ∇_θ ⟨∂T/∂f, J v⟩."""
    jv = known.lin.push(scale(v, -known.point.alpha), active)
    return pull_to_theta(known.problem, known.theta, known.lin, known.point.batch, jv)


def _matching_gradient(
    known: Known, spec: LearnedGates, part: Part | None, v: Part, active: Sequence[int]
) -> PyTree:
    """∇_θ λ2 L_g: L_g's gradient is one more direction, on the last layer's gradient."""
    groups = known.problem.groups
    head = groups.all[len(groups) - spec.head_groups :]
    in_head = [g in head for g in groups.part_index(active)]
    v_head = tuple(x for x, h in zip(v, in_head) if h)
    g_head = tuple(jnp.zeros_like(x) for x in v_head)
    if part is not None:
        g_head = tuple(x for x, h in zip(part, in_head) if h)
    _, lambda_g = spec.lambdas(known.point.alpha)

    def l_g(train: Part) -> jax.Array:
        return lambda_g * gradient_matching(train, v_head, spec.matching, spec.out_axis)

    jv = known.lin.push(jax.grad(l_g)(g_head), head)
    return pull_to_theta(known.problem, known.theta, known.lin, known.point.batch, jv)


def _gated(known: Known, part: Part, active: Sequence[int], mask: jax.Array) -> Part:
    owner = known.problem.groups.part_index(active)
    return tuple(x * mask[g].astype(x.dtype) for x, g in zip(part, owner, strict=True))


def _zeros(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, tree)
