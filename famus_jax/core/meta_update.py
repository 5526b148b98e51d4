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

from famus_jax.core import data_parallel
from famus_jax.core import gate_state as gs
from famus_jax.core.checks import (
    check_batches,
    check_forward,
    part_rows,
    part_size,
)
from famus_jax.core.coupling import check_uncoupled
from famus_jax.core.draws import GroupDraw
from famus_jax.core.estimators import Active, AllGroups, Drawn, Estimator
from famus_jax.core.gates import LearnedGates
from famus_jax.core.meta_gradient import linearize_training, training_cotangent
from famus_jax.core.meta_state import MetaInfo, MetaState, step_keys
from famus_jax.core.pooling import pool_groups
from famus_jax.core.problem import PART, Point, Problem
from famus_jax.core.share import Known, Share, active_share, drawn_share, gate_slopes
from famus_jax.core.variants import (
    Variant,
    branch_costs,
    correction_cost,
    cut_costs,
    cuts_of,
    is_meta_step,
)

PyTree = Any


class MetaUpdate(NamedTuple):
    """The result of `meta_update`.

    Attributes:
      gradient: ∇_w T at w under the weights in `info`: the actual step's gradient.
      state: the new `MetaState`.
      model_state: the model state after the training batch's forward pass.
      outputs: the network's outputs on the training batch, that of all devices.
      info: `MetaInfo`.
    """

    gradient: PyTree
    state: MetaState
    model_state: PyTree
    outputs: PyTree
    info: MetaInfo


def meta_update(
    problem: Problem,
    estimator: Estimator,
    state: MetaState,
    point: Point,
    *,
    variant: Variant | None = None,
) -> MetaUpdate:
    """One update of the meta-model, and the gradient of the actual step under it.

    In a step without a meta update (`Estimator.every`) the batch is weighed with θ as it is; by a
    method whose θ lives one batch (L2R), which has none then, with equal weights.

    Args:
      problem: the functions; see `Problem`.
      estimator: how the meta gradient is estimated.
      state: from `init_meta` or the last update.
      point: parameters, batches and α; see `Point`. `closed="coast"` and `virtual_step="optimizer"`
        need `point.descend`.
      variant: which compiled variant, so that the program has no branches; it must be the one that
        the state calls for. None leaves the choice to `lax.cond` and `lax.switch`.

    Returns:
      A `MetaUpdate`. Compile the call (`jax.jit`): what is not used of it is then never computed.

    Raises:
      ValueError: when traced, for inputs that can't work; the message names the value and the fix.

    With `problem.axis` the batches are this device's share; all results are those of all devices',
    alike on each.
    """
    check_batches(problem, point)
    data_parallel.check_axis(problem.axis, point.params, point.batch)
    if not problem.objective.learns:
        return _plain_step(problem, estimator, state, point)
    if variant is not None:
        step = _meta_step if variant.meta else _plain_step
        return step(problem, estimator, state, point, variant)
    if not callable(estimator.every) and estimator.every == 1:
        return _meta_step(problem, estimator, state, point)
    return jax.lax.cond(
        is_meta_step(estimator, state.step),
        lambda: _meta_step(problem, estimator, state, point),
        lambda: _plain_step(problem, estimator, state, point),
    )


def _plain_step(
    problem: Problem,
    estimator: Estimator,
    state: MetaState,
    point: Point,
    variant: Variant | None = None,
) -> MetaUpdate:
    """A step without a meta update."""
    del variant
    objective, theta = problem.objective, state.theta
    if objective.fresh:  # no θ outlives its batch: weigh all alike
        example_loss = objective.example_loss
        objective = objective._replace(loss=lambda theta, *args: _mean(example_loss(*args)))
        problem = problem._replace(objective=objective)
    lin = linearize_training(problem, theta, point, estimator)
    cotangent, (loss, weights) = training_cotangent(problem, theta, lin)
    zero, minus_one = jnp.zeros((), jnp.float32), jnp.full((), -1, jnp.int32)
    info = MetaInfo(
        weights=_wide(weights),
        loss=_wide(loss),
        meta_loss=jnp.zeros_like(_wide(loss)),
        theta_norm_c=zero,
        theta_norm_g=zero,
        gate_norm_c=zero,
        gate_norm_r=zero,
        open_groups=zero,
        branch=minus_one,
        next_branch=minus_one,
        updated=zero,
        cost=jnp.ones((), jnp.float32),
    )
    state = state._replace(step=state.step + 1)
    return MetaUpdate(lin.pull(cotangent), state, lin.model_state, lin.outputs, info)


def _meta_step(
    problem: Problem,
    estimator: Estimator,
    state: MetaState,
    point: Point,
    variant: Variant | None = None,
) -> MetaUpdate:
    """A step with a meta update."""
    objective, spec = problem.objective, estimator.active
    n, m = check_batches(problem, point)
    if estimator.virtual_step == "optimizer" and point.descend and not _every_group(problem, spec):
        check_uncoupled(point.descend, point.params, problem.groups)
    keys = step_keys(state)
    theta, opt_state = state.theta, state.opt_state
    if objective.fresh:
        theta = objective.init(keys.theta, n * data_parallel.count(problem.axis))
        opt_state = objective.meta_optimizer.init(theta)
    check_forward(problem, theta, point)

    # The training batch, and the part of it that the meta gradient is taken on.
    lin = linearize_training(problem, theta, point, estimator)
    meta_point, meta_lin = point, lin
    if estimator.part < 1:
        meta_point = _spaced_part(point, n, part_size(estimator, n, problem.axis))
        meta_lin = linearize_training(problem, theta, meta_point, estimator)
    cotangent, (loss, weights) = training_cotangent(problem, theta, meta_lin)

    # The virtual gradient, where every group takes part in the look-ahead.
    virtual = None
    if estimator.lookahead != "active_only" and not objective.stationary:
        virtual = meta_lin.pull(cotangent)
    known = Known(problem, estimator, theta, meta_point, meta_lin, cotangent, virtual)
    draw = _draw(known, state, keys.gates, m / n)
    share = _share(known, draw, variant)
    share, correction = _corrected(known, share, state, variant)

    theta_gradient = jax.tree.map(jnp.add, share.gradient_c, share.gradient_g)
    updates, opt_state = objective.meta_optimizer.update(theta_gradient, opt_state, theta)
    new_theta = optax.apply_updates(theta, updates)

    if estimator.lookahead == "one_pass":
        gradient = virtual
    else:
        if objective.in_forward:
            lin = linearize_training(problem, new_theta, point, estimator)
        cotangent, (loss, weights) = training_cotangent(problem, new_theta, lin)
        gradient = lin.pull(cotangent)

    cost = branch_costs(problem, estimator, m / n)[0 if draw is None else draw.branch]
    if estimator.correct_every:
        correcting = state.updates % estimator.correct_every == 0
        cost += jnp.where(correcting, correction_cost(problem, estimator, m / n), 0)
    zero, minus_one = jnp.zeros((), jnp.float32), jnp.full((), -1, jnp.int32)
    costs = cut_costs(problem, estimator, m / n)
    gates, norms = state.gates, {"gate_norm_c": zero, "gate_norm_r": zero}
    branch = next_branch = minus_one if draw is None else draw.branch
    if isinstance(spec, LearnedGates) and isinstance(draw, gs.Draw):
        slopes = share.slopes
        if objective.stationary:  # no virtual gradient: judge the groups by the actual one
            slopes = gate_slopes(known, spec, problem.groups.all, gradient, share.d, draw.factors)
        gates, norms = gs.sampler_step(
            spec,
            state.gates,
            draw,
            slopes,
            jnp.asarray(spec.lambdas(point.alpha)[0], jnp.float32),
            problem.groups,
            costs,
        )
        if spec.lag:
            seen = gradient if virtual is None else virtual
            inputs = _pooled(spec, seen, gates, problem)
            update = state.updates + spec.lag
            ahead = gs.draw_now(spec, gates, keys.gates, inputs, update, problem.groups, costs)
            gates, next_branch = gs.enqueue(gates, ahead), ahead.branch

    info = MetaInfo(
        weights=_wide(weights),
        loss=_wide(loss),
        meta_loss=_wide(share.meta_loss),
        theta_norm_c=optax.tree.norm(share.gradient_c).astype(jnp.float32),
        theta_norm_g=optax.tree.norm(share.gradient_g).astype(jnp.float32),
        **norms,
        open_groups=_open_groups(spec, draw, problem),
        branch=branch,
        next_branch=next_branch,
        updated=jnp.ones((), jnp.float32),
        cost=cost,
    )
    new_state = MetaState(
        state.step + 1,
        state.updates + 1,
        state.key,
        () if objective.fresh else new_theta,
        () if objective.fresh else opt_state,
        gates,
        correction,
    )
    return MetaUpdate(gradient, new_state, lin.model_state, lin.outputs, info)


def _draw(known: Known, state: MetaState, key: jax.Array, rho: float) -> gs.Draw | GroupDraw | None:
    """The groups in force; None where they are fixed."""
    problem, spec = known.problem, known.estimator.active
    if not isinstance(spec, Drawn):
        return None
    if not isinstance(spec, LearnedGates):
        return spec.draw(key, problem.groups)
    if spec.lag:
        return gs.queued(state.gates)
    inputs = _pooled(spec, known.virtual, state.gates, problem)
    costs = cut_costs(problem, known.estimator, rho)
    return gs.draw_now(spec, state.gates, key, inputs, state.updates, problem.groups, costs)


def _share(known: Known, draw: gs.Draw | GroupDraw | None, variant: Variant | None) -> Share:
    problem, estimator = known.problem, known.estimator
    active = estimator.active
    if not isinstance(active, Drawn):
        return active_share(known, active.groups(problem.groups))
    assert draw is not None
    gates = active if isinstance(active, LearnedGates) else None
    branch = None if variant is None else variant.branch
    return drawn_share(known, cuts_of(problem, estimator), draw.factors, draw.branch, branch, gates)


def _corrected(
    known: Known, share: Share, state: MetaState, variant: Variant | None
) -> tuple[Share, PyTree]:
    """The share with the control variate in it, and that variate, renewed when it is due."""
    estimator = known.estimator
    if not estimator.correct_every:
        return share, ()

    def renewed() -> PyTree:
        whole = Estimator(
            AllGroups(),
            virtual_step=estimator.virtual_step,
            route=estimator.route,
            epsilon=estimator.epsilon,
        )
        virtual = known.virtual
        if virtual is None and not known.problem.objective.stationary:
            virtual = known.lin.pull(known.cotangent)
        all_known = known._replace(estimator=whole, virtual=virtual)
        exact = active_share(all_known, known.problem.groups.all).gradient_c
        return jax.tree.map(jnp.subtract, exact, share.gradient_c)

    if variant is not None:
        correction = renewed() if variant.correct else state.correction
    else:
        due = state.updates % estimator.correct_every == 0
        correction = jax.lax.cond(due, renewed, lambda: state.correction)
    gradient = jax.tree.map(jnp.add, share.gradient_c, correction)
    return share._replace(gradient_c=gradient), correction


def _spaced_part(point: Point, n: int, size: int) -> Point:
    """The point with `size` of n examples, evenly spaced, as its training batch.

    Spaced, so that a batch that is spread over devices leaves each of them an equal part: leading
    examples would all lie on the first ones.
    """

    def part(x: Any) -> Any:
        if not jnp.ndim(x) or jnp.shape(x)[0] != n:
            return x
        if n % size == 0:  # as a reshape, which moves nothing between devices
            return jnp.reshape(x, (size, n // size, *jnp.shape(x)[1:]))[:, 0]
        return jnp.asarray(x)[jnp.asarray(part_rows(n, size))]

    return point._replace(batch=jax.tree.map(part, point.batch), rng=point.derived_rng(PART))


def _every_group(problem: Problem, spec: Active) -> bool:
    if isinstance(spec, Drawn):
        return False
    return spec.groups(problem.groups) == problem.groups.all


def _pooled(spec, gradient, gates, problem):
    groups = problem.groups
    width = gates.eta["kernels"][0].shape[1]
    part = groups.part(gradient, groups.all)
    return pool_groups(part, groups.all, groups, width, spec.pooling, spec.out_axis)


def _open_groups(spec, draw, problem) -> jax.Array:
    if draw is None:
        return jnp.asarray(len(spec.groups(problem.groups)), jnp.float32)
    return (draw.factors != 0).sum().astype(jnp.float32)


def _wide(x: jax.Array) -> jax.Array:
    """In float32 or wider: one type, whatever the network computes in."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _mean(losses: jax.Array) -> tuple[jax.Array, jax.Array]:
    return losses.mean(), jnp.full_like(losses, 1 / losses.shape[0])
