"""The look-ahead ŵ, and the way back through the step that led there.

Symbols: w = parameters, α = learning rate of the virtual step, g = the virtual gradient ∇_w T, S = the
active groups, U(g) = the real optimiser's update as a function of the gradient (sign and learning
rate inside), v = ∂L_val/∂ŵ, d = (∂ŵ/∂g)ᵀ v: the direction in the space of gradients, −α v for SGD.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.core.estimators import Estimator
from famus_jax.core.groups import Part
from famus_jax.core.problem import Point, Problem

PyTree = Any


def look_ahead(
    problem: Problem,
    point: Point,
    estimator: Estimator,
    gradient: PyTree | Part | None,
    active: Sequence[int],
) -> PyTree:
    """ŵ (Eq. 3).

    Args:
      problem, point: see there.
      estimator: which look-ahead, by which step, and where closed groups stand.
      gradient: g as a tree; for an active-only look-ahead its active part; None for 0.
      active: with an active-only look-ahead just these groups take the step; the others stay at
        w, or coast.
    """
    groups, w = problem.groups, point.params
    only = estimator.lookahead == "active_only"
    if estimator.virtual_step == "optimizer":
        ahead = _add(w, _descend(point)(_whole(problem, point, estimator, gradient, active)))
        if only and estimator.closed == "frozen":
            return groups.place(groups.part(ahead, active), w, active)
        return ahead
    start = w
    if estimator.closed == "coast":
        start = _add(w, _descend(point)(_zeros(w)))
    if gradient is None:
        return start
    if only:
        moved = _sgd(groups.part(start, active), gradient, point.alpha)
        return groups.place(moved, start, active)
    return _sgd(start, gradient, point.alpha)


def way_back(
    problem: Problem,
    point: Point,
    estimator: Estimator,
    gradient: PyTree | Part | None,
    v: Part,
    active: Sequence[int],
) -> Part:
    """d_S = (∂ŵ_S/∂g_S)ᵀ v_S; arguments as for `look_ahead`, and v_S."""
    if estimator.virtual_step == "sgd":
        return scale(v, -point.alpha)
    groups = problem.groups
    whole = _whole(problem, point, estimator, gradient, active)

    def moved(part: Part) -> Part:
        return groups.part(_descend(point)(groups.place(part, whole, active)), active)

    return jax.vjp(moved, groups.part(whole, active))[1](v)[0]


def scale(part: Part, factor: jax.Array | float) -> Part:
    """`factor` times a part, in its dtypes."""
    return tuple((factor * x).astype(jnp.result_type(x)) for x in part)


def _whole(
    problem: Problem,
    point: Point,
    estimator: Estimator,
    gradient: PyTree | Part | None,
    active: Sequence[int],
) -> PyTree:
    """g as a tree, 0 where it is not known."""
    if gradient is None:
        return _zeros(point.params)
    if estimator.lookahead == "active_only":
        return problem.groups.place(gradient, _zeros(point.params), active)
    return gradient


def _descend(point: Point):
    if point.descend is None:
        raise ValueError(
            'virtual_step="optimizer" and closed="coast" need the optimiser\'s update as a function of '
            "the gradient: pass descend=lambda g: optimizer.update(g, opt_state, params)[0]"
        )
    return point.descend


def _add(params: PyTree, updates: PyTree) -> PyTree:
    return jax.tree.map(lambda w, u: w + u.astype(w.dtype), params, updates)


def _sgd(params: PyTree, gradient: PyTree, alpha: jax.Array | float) -> PyTree:
    """w − α g, in w's dtypes."""
    return jax.tree.map(lambda w, g: w - (alpha * g).astype(w.dtype), params, gradient)


def _zeros(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, tree)
