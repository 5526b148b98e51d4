"""The active groups' share of the meta gradient, inside one training step.

Symbols: S = the active groups, r_l = their factors (gates, or importance weights), v_S = ∂L_val/∂ŵ_S,
g_S = the virtual gradient there, d_S = (∂ŵ_S/∂g_S)ᵀ v_S (−α v_S for SGD), L_c = the meta batch's loss,
L_g = gradient matching (Eq. 11), λ2 = its weight, "cut" = the lowest group that a compiled variant
differentiates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from famus_jax.core.estimators import Estimator
from famus_jax.core.gates import LearnedGates
from famus_jax.core.groups import Part
from famus_jax.core.linearize import Linearized
from famus_jax.core.look_ahead import look_ahead, way_back
from famus_jax.core.meta_gradient import direction_to_theta, judge, second_order_meta_gradient
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
      d: with learned gates and no virtual step: d_S in a tree like the parameters, else `()`.
    """

    gradient_c: PyTree
    gradient_g: PyTree
    meta_loss: jax.Array
    slopes: Any = ()
    d: PyTree = ()


def active_share(known: Known, active: Sequence[int]) -> Share:
    """The share of a fixed set of groups."""
    problem, estimator = known.problem, known.estimator
    if estimator.route == "second_order":
        value, gradient = second_order_meta_gradient(
            problem,
            known.theta,
            known.point,
            active=active,
            lookahead=estimator.lookahead,
            closed=estimator.closed,
            virtual_step=estimator.virtual_step,
        )
        return Share(gradient, _zeros(known.theta), value)
    seen = _judged(known, active, None)
    return Share(_to_theta(known, seen.d, active), _zeros(known.theta), seen.meta_loss)


def drawn_share(
    known: Known,
    cuts: Sequence[int],
    factors: jax.Array,
    branch: jax.Array,
    static_branch: int | None,
    gates: LearnedGates | None = None,
) -> Share:
    """The drawn groups' share, on the compiled variant with the right cut.

    Args:
      known: see there.
      cuts: the lowest group of every variant.
      factors: r, [L]: 0 for closed groups.
      branch: the variant that the draw calls for.
      static_branch: the same as a Python int, for a program without branches; None for a
        `lax.switch` over all.
      gates: the gates' description, if it is learned ones that drew.
    """
    groups = known.problem.groups

    def variant(cut: int):
        active = groups.all[cut:]

        def run(factors: jax.Array) -> Share:
            is_open = (factors != 0).astype(factors.dtype)
            seen = _judged(known, active, is_open)
            value, part = seen.meta_loss, seen.gradient
            gradient_c = _to_theta(known, _times(known, seen.d, active, factors), active)
            gradient_g = _zeros(known.theta)
            if gates is None:
                return Share(gradient_c, gradient_g, value)
            if gates.lambda_g:
                gradient_g = _matching_gradient(known, gates, part, seen.v, active)
            if part is None:
                zeros = jax.tree.map(jnp.zeros_like, known.point.params)
                return Share(gradient_c, gradient_g, value, (), groups.place(seen.d, zeros, active))
            slopes = gate_slopes(known, gates, active, part, seen.d, factors)
            return Share(gradient_c, gradient_g, value, slopes)

        return run

    variants = [variant(cut) for cut in cuts]
    if static_branch is not None:
        return variants[static_branch](factors)
    return jax.lax.switch(branch, variants, factors)


def gate_slopes(
    known: Known,
    spec: LearnedGates,
    active: Sequence[int],
    gradient: PyTree,
    d: PyTree,
    mask: jax.Array,
) -> jax.Array:
    """∂L_c/∂r_l = ⟨d_l, g_l⟩ (−α⟨v_l, g_l⟩), float32 [L], 0 below the cut.

    Read as ŵ_l = w_l − α r_l g_l.
    """
    groups = known.problem.groups
    sums = [jnp.zeros((), jnp.float32) for _ in groups.names]
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(d), strict=True)
    for (g, x), group in zip(pairs, groups.part_index(active), strict=True):
        sums[group] += jnp.vdot(x.astype(jnp.float32), g.astype(jnp.float32))
    return jnp.where(mask > 0, 1, spec.closed_sign) * jnp.stack(sums)


class _Judged(NamedTuple):
    """L_val at the look-ahead, v_S, d_S, and g_S (None where the virtual step does not move)."""

    meta_loss: jax.Array
    v: Part
    d: Part
    gradient: Part | None


def _judged(known: Known, active: Sequence[int], is_open: jax.Array | None) -> _Judged:
    problem, estimator = known.problem, known.estimator
    part, gradient = None, known.virtual
    if known.virtual is not None:
        part = problem.groups.part(known.virtual, active)
    elif not problem.objective.stationary:
        part = known.lin.pull_part(known.cotangent, active)
        gradient = part if is_open is None else _times(known, part, active, is_open)
    ahead = look_ahead(problem, known.point, estimator, gradient, active)
    only = estimator.lookahead == "active_only" and estimator.closed == "frozen"
    if only and is_open is not None:
        ahead = _where_open(known, ahead, active, is_open)  # an optimiser moves at gradient 0 too
    value, v = judge(problem, known.point, ahead, active)
    d = way_back(problem, known.point, estimator, gradient, v, active)
    return _Judged(value, v, d, part)


def _to_theta(known: Known, d: Part, active: Sequence[int]) -> PyTree:
    """(∂g/∂θ)ᵀ d."""
    return direction_to_theta(known.problem, known.theta, known.estimator, known.lin, d, active)


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

    return _to_theta(known, jax.grad(l_g)(g_head), head)


def _times(known: Known, part: Part, active: Sequence[int], factors: jax.Array) -> Part:
    owner = known.problem.groups.part_index(active)
    return tuple(x * factors[g].astype(x.dtype) for x, g in zip(part, owner, strict=True))


def _where_open(known: Known, ahead: PyTree, active: Sequence[int], is_open: jax.Array) -> PyTree:
    groups, w = known.problem.groups, known.point.params
    pairs = zip(groups.part(ahead, active), groups.part(w, active), groups.part_index(active))
    kept = tuple(jnp.where(is_open[g] > 0, moved, still) for moved, still, g in pairs)
    return groups.place(kept, ahead, active)


def _zeros(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, tree)
