"""One meta update: weigh the batch with a meta-model that has just been corrected (Algorithm 1).

Virtual step -> meta gradient on the active groups -> θ' (and the samplers) -> weights and gradient of
the actual step, all on one linearised forward pass. Everything that a user calls (the reweighter,
the optax transformation, the training step) is a thin shell around `meta_update`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from famus_jax.core import gate_state as gs
from famus_jax.core.checks import check_batches, check_estimator, check_forward, check_params
from famus_jax.core.estimators import Estimator
from famus_jax.core.gates import LearnedGates
from famus_jax.core.groups import Part
from famus_jax.core.meta_gradient import (
    Point,
    Problem,
    judge,
    layer_products,
    linearize_training,
    look_ahead,
    pull_to_theta,
    scale,
    second_order_meta_gradient,
    training_cotangent,
)
from famus_jax.core.pooling import gradient_matching, group_widths, pool_groups

PyTree = Any


class MetaState(NamedTuple):
    """What a method carries from step to step.

    Attributes:
      step: the number of meta updates so far, int32 scalar.
      key: a PRNG key; step t uses `fold_in(key, t)`.
      theta: θ; `()` for methods whose θ lives one batch.
      opt_state: the meta-optimiser's state.
      gates: `GateState` with learned gates, else `()`.
    """

    step: jax.Array
    key: jax.Array
    theta: PyTree
    opt_state: PyTree
    gates: PyTree


class MetaInfo(NamedTuple):
    """Diagnostics of one update.

    Attributes:
      weights: the weights of the training examples, float [n].
      loss: T at those weights.
      meta_loss: L_val at the look-ahead.
      theta_norm_c, theta_norm_g: norms of the θ-gradients of L_c and of λ2 L_g.
      gate_norm_c, gate_norm_r: norms of the samplers' gradients of L_c and of λ1 L_r.
      open_groups: how many groups were open.
      branch: with learned gates the cut in use, an index into `LearnedGates.cuts`.
      next_branch: the cut that the newest draw calls for, `lag` steps from now.
    """

    weights: jax.Array
    loss: jax.Array
    meta_loss: jax.Array
    theta_norm_c: jax.Array
    theta_norm_g: jax.Array
    gate_norm_c: jax.Array
    gate_norm_r: jax.Array
    open_groups: jax.Array
    branch: jax.Array
    next_branch: jax.Array


class MetaUpdate(NamedTuple):
    """The result of `meta_update`.

    Attributes:
      gradient: ∇_w T at w under the weights in `info`: the actual step's gradient.
      state: the new `MetaState`.
      model_state: the model state after the training batch's forward pass.
      outputs: the network's outputs on the training batch.
      info: `MetaInfo`.
    """

    gradient: PyTree
    state: MetaState
    model_state: PyTree
    outputs: PyTree
    info: MetaInfo


def init_meta(
    problem: Problem,
    estimator: Estimator,
    key: jax.Array,
    params: PyTree,
    batch_size: int,
    meta_batch_size: int,
) -> MetaState:
    """The state before the first update.

    Raises:
      ValueError: for parameters, groups or batch sizes that can't work; the message says why.
    """
    check_params(params)
    check_estimator(problem, estimator)
    key_theta, key_gates, key_steps = jax.random.split(key, 3)
    objective = problem.objective
    theta = () if objective.fresh else objective.init(key_theta, batch_size)
    opt_state = () if objective.fresh else objective.meta_optimizer.init(theta)
    gates = ()
    if isinstance(spec := estimator.active, LearnedGates):
        costs = _cut_costs(problem, estimator, batch_size, meta_batch_size)
        probability = spec.open_probability(problem.groups, costs)
        widths = group_widths(problem.groups, params, spec.out_axis)
        gates = gs.init_gates(spec, key_gates, problem.groups, widths, probability)
    return MetaState(jnp.zeros((), jnp.int32), key_steps, theta, opt_state, gates)


def meta_update(
    problem: Problem,
    estimator: Estimator,
    state: MetaState,
    point: Point,
    *,
    branch: int | None = None,
) -> MetaUpdate:
    """One update of the meta-model, and the gradient of the actual step under it.

    Args:
      problem: the functions; see `Problem`.
      estimator: how the meta gradient is estimated.
      state: from `init_meta` or the last update.
      point: parameters, batches and α; see `Point`. With `closed="coast"`, `point.coast` must be
        the optimiser's update at zero gradient.
      branch: with learned gates drawn ahead, the cut of this step as a Python int, so that the
        program has no branches; it must be what the queue in `state.gates` says. None leaves the
        choice to a `lax.switch`.

    Returns:
      A `MetaUpdate`. Compile the call (`jax.jit`): what is not used of it is then never computed.

    Raises:
      ValueError: when traced, for inputs that can't work; the message names the value and the fix.
    """
    objective, spec = problem.objective, estimator.active
    n, m = check_batches(problem, point)
    if estimator.closed == "coast" and point.coast is None:
        raise ValueError(
            'closed="coast" needs the optimiser\'s update at zero gradient: pass coast='
            "optimizer.update(zero_gradients, opt_state, params)[0]"
        )
    key = jax.random.fold_in(state.key, state.step)
    theta, opt_state = state.theta, state.opt_state
    if objective.fresh:
        theta = objective.init(key, n)
        opt_state = objective.meta_optimizer.init(theta)

    lin = linearize_training(problem, point)
    cotangent, (loss, weights) = training_cotangent(problem, theta, lin, point.batch)
    if not objective.learns:
        info = _no_meta_info(weights, loss)
        state = state._replace(step=state.step + 1)
        return MetaUpdate(lin.pull(cotangent), state, lin.model_state, lin.outputs, info)
    check_forward(problem, theta, point)

    # The virtual gradient, where every group takes part in the look-ahead.
    virtual = None
    if estimator.lookahead != "active_only" and not objective.stationary:
        virtual = lin.pull(cotangent)
    args = (problem, estimator, theta, point, lin, cotangent, virtual)
    if isinstance(spec, LearnedGates):
        draw = _gates_of_this_step(spec, state, key, virtual, problem)
        share, slopes, v = _on_cut(spec, draw, branch, args)
    else:
        draw = slopes = v = None
        share = _share(*args, spec.groups(problem.groups), None)[0]

    theta_gradient = jax.tree.map(jnp.add, share.gradient_c, share.gradient_g)
    updates, opt_state = objective.meta_optimizer.update(theta_gradient, opt_state, theta)
    new_theta = optax.apply_updates(theta, updates)

    if estimator.lookahead == "one_pass":
        gradient = virtual
    else:
        cotangent, (loss, weights) = training_cotangent(problem, new_theta, lin, point.batch)
        gradient = lin.pull(cotangent)

    gates, gate_info = state.gates, _no_gate_info(spec, problem)
    if isinstance(spec, LearnedGates):
        if objective.stationary:  # no virtual gradient: judge the groups by the actual one
            slopes = _slopes(problem, spec, problem.groups.all, gradient, v, draw.mask, point.alpha)
        costs = _cut_costs(problem, estimator, n, m)
        gates, gate_info = _train_samplers(spec, state, draw, slopes, point.alpha, problem, costs)
        if spec.lag:
            seen = gradient if virtual is None else virtual
            gates, next_branch = _draw_ahead(spec, gates, state.step, key, seen, problem)
            gate_info["next_branch"] = next_branch

    info = MetaInfo(
        weights=weights,
        loss=loss,
        meta_loss=share.meta_loss,
        theta_norm_c=optax.tree.norm(share.gradient_c),
        theta_norm_g=optax.tree.norm(share.gradient_g),
        **gate_info,
    )
    new_state = MetaState(
        state.step + 1,
        state.key,
        () if objective.fresh else new_theta,
        () if objective.fresh else opt_state,
        gates,
    )
    return MetaUpdate(gradient, new_state, lin.model_state, lin.outputs, info)


class _Share(NamedTuple):
    """What the active groups say: θ-gradients of L_c and λ2 L_g, and L_val."""

    gradient_c: PyTree
    gradient_g: PyTree
    meta_loss: jax.Array


def _share(problem, estimator, theta, point, lin, cotangent, virtual, active, mask):
    """The meta gradient of the groups `active`; `mask` [L] closes some of them, None none.

    Returns `(_Share, g_S, v_S)`, g_S being None where the virtual step does not move.
    """
    groups, owner = problem.groups, problem.groups.part_index(active)
    if estimator.route == "second_order":
        value, gradient = second_order_meta_gradient(
            problem, theta, point, active=active, lookahead=estimator.lookahead
        )
        return _Share(gradient, _zeros(theta), value), None, None

    part, ahead_gradient = None, virtual
    if virtual is not None:
        part = groups.part(virtual, active)
    elif not problem.objective.stationary:
        part = lin.pull_part(cotangent, active)
        ahead_gradient = part if mask is None else _gated(part, owner, mask)
    ahead = look_ahead(problem, point, ahead_gradient, active, estimator.lookahead)
    value, v = judge(problem, point, ahead, active)
    direction = scale(v if mask is None else _gated(v, owner, mask), -point.alpha)

    if estimator.route == "vjp":
        parts = layer_products(problem, theta, point, lin, v, active)
        gradient_c = jax.tree.map(lambda *x: sum(x), *parts.values())
    else:
        jv = lin.push(direction, active)
        gradient_c = pull_to_theta(problem, theta, lin, point.batch, jv)
    gradient_g = _zeros(theta)
    if isinstance(spec := estimator.active, LearnedGates) and spec.lambda_g:
        gradient_g = _matching_gradient(spec, problem, theta, point, lin, part, v, active)
    return _Share(gradient_c, gradient_g, value), part, v


def _matching_gradient(spec, problem, theta, point, lin, part, v, active):
    """∇_θ λ2 L_g: L_g's gradient is one more direction, on the last layer's gradient."""
    groups = problem.groups
    head = groups.all[len(groups) - spec.head_groups :]
    in_head = [g in head for g in groups.part_index(active)]
    v_head = tuple(x for x, h in zip(v, in_head) if h)
    if part is None:
        g_head = tuple(jnp.zeros_like(x) for x in v_head)
    else:
        g_head = tuple(x for x, h in zip(part, in_head) if h)
    _, lambda_g = spec.lambdas(point.alpha)

    def l_g(train: Part) -> jax.Array:
        return lambda_g * gradient_matching(train, v_head, spec.matching, spec.out_axis)

    return pull_to_theta(problem, theta, lin, point.batch, lin.push(jax.grad(l_g)(g_head), head))


def _gates_of_this_step(spec, state, key, virtual, problem):
    if spec.lag:
        return gs.queued(state.gates)
    inputs = _pooled(spec, virtual, state.gates, problem)
    return gs.draw_now(spec, state.gates, key, inputs, state.step, problem.groups)


def _pooled(spec, gradient, gates, problem):
    groups = problem.groups
    width = gates.eta["kernels"][0].shape[1]
    part = groups.part(gradient, groups.all)
    return pool_groups(part, groups.all, groups, width, spec.pooling, spec.out_axis)


def _on_cut(spec, draw, branch, args):
    """The open groups' share, on the compiled variant with the right cut."""
    problem, point = args[0], args[3]
    groups = problem.groups
    keep_v = problem.objective.stationary

    def variant(cut):
        active = groups.all[cut:]

        def run(mask):
            share, part, v = _share(*args, active, mask)
            if keep_v:
                zeros = jax.tree.map(jnp.zeros_like, point.params)
                return share, jnp.zeros(len(groups), jnp.float32), groups.place(v, zeros, active)
            return share, _slopes(problem, spec, active, part, v, mask, point.alpha), ()

        return run

    variants = [variant(cut) for cut in spec.cuts(groups)]
    if branch is not None:
        return variants[branch](draw.mask)
    return jax.lax.switch(draw.branch, variants, draw.mask)


def _slopes(problem, spec, active, part, v, mask, alpha):
    """∂L_c/∂r_l = −α⟨v_l, g_l⟩, read as ŵ_l = w_l − α r_l g_l; 0 below the cut. float32 [L]."""
    groups = problem.groups
    part, v = jax.tree.leaves(part), jax.tree.leaves(v)
    sums = [jnp.zeros(()) for _ in groups.names]
    for g, x, group in zip(part, v, groups.part_index(active), strict=True):
        sums[group] += jnp.vdot(x.astype(jnp.float32), g.astype(jnp.float32))
    sign = jnp.where(mask > 0, 1, spec.closed_sign)
    return (-alpha * sign * jnp.stack(sums)).astype(jnp.float32)


def _train_samplers(spec, state, draw, slopes, alpha, problem, costs):
    lambda_r = jnp.asarray(spec.lambdas(alpha)[0], jnp.float32)
    gates, _, norms = gs.sampler_step(
        spec, state.gates, draw, slopes, lambda_r, problem.groups, costs
    )
    info = {
        **norms,
        "open_groups": draw.mask.sum(),
        "branch": draw.branch,
        "next_branch": draw.branch,
    }
    return gates, info


def _draw_ahead(spec, gates, step, key, gradient, problem):
    inputs = _pooled(spec, gradient, gates, problem)
    draw = gs.draw_now(spec, gates, key, inputs, step + spec.lag, problem.groups)
    return gs.enqueue(gates, draw), draw.branch


def _gated(part: Part, owner, mask) -> Part:
    return tuple(x * mask[g].astype(x.dtype) for x, g in zip(part, owner))


def _zeros(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, tree)


def _cut_costs(problem, estimator, n, m):
    spec, stationary = estimator.active, problem.objective.stationary
    return spec.cut_costs(problem.groups, estimator.lookahead, m / n, stationary)


def _no_gate_info(spec, problem):
    zero, minus_one = jnp.zeros(()), jnp.full((), -1, jnp.int32)
    fixed = 0 if isinstance(spec, LearnedGates) else len(spec.groups(problem.groups))
    return {
        "gate_norm_c": zero,
        "gate_norm_r": zero,
        "open_groups": jnp.asarray(fixed, jnp.float32),
        "branch": minus_one,
        "next_branch": minus_one,
    }


def _no_meta_info(weights, loss):
    zero, minus_one = jnp.zeros(()), jnp.full((), -1, jnp.int32)
    return MetaInfo(weights, loss, zero, zero, zero, zero, zero, zero, minus_one, minus_one)
