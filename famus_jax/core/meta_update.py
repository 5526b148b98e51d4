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
from famus_jax.core.meta_gradient import (
    linearize_training,
    training_cotangent,
)
from famus_jax.core.pooling import group_widths, pool_groups
from famus_jax.core.problem import Point, Problem
from famus_jax.core.share import Known, active_share, gate_slopes, gated_share

PyTree = Any


class MetaState(NamedTuple):
    """What a method carries from step to step.

    Attributes:
      step: the number of meta updates so far, int32 scalar.
      key: a PRNG key; step t splits `fold_in(key, t)` into `StepKeys`.
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
    check_estimator(problem, estimator, meta_batch_size / batch_size)
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


class StepKeys(NamedTuple):
    """The keys of one step, each for one purpose."""

    theta: jax.Array
    gates: jax.Array
    forward: jax.Array


def step_keys(state: MetaState) -> StepKeys:
    """Keys that depend on the state's key and step only."""
    return StepKeys(*jax.random.split(jax.random.fold_in(state.key, state.step), 3))


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
    if estimator.closed != "coast":
        point = point._replace(coast=None)
    elif point.coast is None:
        raise ValueError(
            'closed="coast" needs the optimiser\'s update at zero gradient: pass coast='
            "optimizer.update(zero_gradients, opt_state, params)[0]"
        )
    keys = step_keys(state)
    theta, opt_state = state.theta, state.opt_state
    if objective.fresh:
        theta = objective.init(keys.theta, n)
        opt_state = objective.meta_optimizer.init(theta)

    check_forward(problem, theta, point)
    lin = linearize_training(problem, point)
    cotangent, (loss, weights) = training_cotangent(problem, theta, lin, point.batch)
    if not objective.learns:
        info = _no_meta_info(weights, loss)
        state = state._replace(step=state.step + 1)
        return MetaUpdate(lin.pull(cotangent), state, lin.model_state, lin.outputs, info)

    # The virtual gradient, where every group takes part in the look-ahead.
    virtual = None
    if estimator.lookahead != "active_only" and not objective.stationary:
        virtual = lin.pull(cotangent)
    known = Known(problem, estimator, theta, point, lin, cotangent, virtual)
    if isinstance(spec, LearnedGates):
        draw = _gates_of_this_step(spec, state, keys.gates, virtual, problem)
        share = gated_share(known, spec, draw, branch)
    else:
        draw = None
        share = active_share(known, spec.groups(problem.groups))

    theta_gradient = jax.tree.map(jnp.add, share.gradient_c, share.gradient_g)
    updates, opt_state = objective.meta_optimizer.update(theta_gradient, opt_state, theta)
    new_theta = optax.apply_updates(theta, updates)

    if estimator.lookahead == "one_pass":
        gradient = virtual
    else:
        cotangent, (loss, weights) = training_cotangent(problem, new_theta, lin, point.batch)
        gradient = lin.pull(cotangent)

    gates, gate_info = state.gates, _no_gate_info(spec, problem)
    if isinstance(spec, LearnedGates) and draw is not None:
        slopes = share.slopes
        if objective.stationary:  # no virtual gradient: judge the groups by the actual one
            slopes = gate_slopes(known, spec, problem.groups.all, gradient, share.v, draw.mask)
        costs = _cut_costs(problem, estimator, n, m)
        gates, gate_info = _train_samplers(spec, state, draw, slopes, point.alpha, problem, costs)
        if spec.lag:
            seen = gradient if virtual is None else virtual
            gates, next_branch = _draw_ahead(spec, gates, state.step, keys.gates, seen, problem)
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
