"""What the meta-model carries from step to step, how that starts, and what a step tells of itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from famus_jax.core.active_layers import Draw, Seen
from famus_jax.core.carried import first_carried
from famus_jax.core.checks import check_estimator, check_params
from famus_jax.core.cost import program_costs
from famus_jax.core.estimator import Estimator
from famus_jax.core.frozen import trained
from famus_jax.core.problem import Problem
from famus_jax.memory import first_memory

PyTree = Any


class StepInfo(NamedTuple):
    """Diagnostics of one step.

    Attributes:
      weights: the weights of the training examples, float [n]; `()` in a state, which holds nothing
        of a batch's size.
      loss: T at those weights.
      meta_loss: L_val at the virtual step; with a carried direction, when it was renewed last.
      theta_norm: the norm of the θ-gradient.
      open_layers: how many layers were heard.
      program: which of the active layers' programs was in use, int32; -1 for fixed sets.
      updated: 1 if θ was updated, 0 in a step without a meta update; then all of the others but
        `weights` and `loss` are 0 (or -1).
      cost: what the step costs in plain steps, by the layers' shares.
      active: what the kind of active layers reports, by name.
      metrics: what the user's `metrics` gave, by name.
    """

    weights: PyTree
    loss: jax.Array
    meta_loss: jax.Array
    theta_norm: jax.Array
    open_layers: jax.Array
    program: jax.Array
    updated: jax.Array
    cost: jax.Array
    active: dict[str, jax.Array]
    metrics: dict[str, PyTree]


class MetaState(NamedTuple):
    """What a method carries from step to step.

    Attributes:
      step: the number of steps so far, int32 scalar.
      updates: the number of meta updates so far (fewer with `update_every` > 1), int32 scalar.
      key: a PRNG key; step t splits `fold_in(key, t)` into `StepKeys`.
      theta: θ; `()` for methods whose θ lives one batch.
      opt_state: the meta-optimizer's state.
      active: what the kind of active layers carries: the samplers of learned gates; else `()`.
      draws: the `Draw`s of the meta updates to come, stacked, the next one first; `()` for kinds that
        draw nothing, or in the step itself.
      control_variate: with `control_variate_every` the exact gradient minus the cheap one, when last
        computed, a tree like θ; else `()`.
      info: the last step's `StepInfo`, without weights.
      skipped: the number of steps so far whose numbers were not finite: nothing was learned from them,
        and the model state was left as it was; int32 scalar.
      memory: what the method keeps: of every training example arrays [N, ...]; `()` for nothing. See
        `Memory`.
      carried: the direction of an estimator that carries one, a `core.carried.Carried`; else `()`.
    """

    step: jax.Array
    updates: jax.Array
    key: jax.Array
    theta: PyTree
    opt_state: PyTree
    active: PyTree
    draws: PyTree
    control_variate: PyTree
    info: StepInfo
    skipped: jax.Array
    memory: PyTree = ()
    carried: PyTree = ()


class StepKeys(NamedTuple):
    """The keys of one step, each for one purpose."""

    theta: jax.Array
    draw: jax.Array
    forward: jax.Array


def step_keys(key: jax.Array, number: jax.Array | int) -> StepKeys:
    """Keys that depend on the state's key and a number only: of the step, or for draws of the
    meta update."""
    return StepKeys(*jax.random.split(jax.random.fold_in(key, number), 3))


def init_state(
    problem: Problem,
    estimator: Estimator,
    key: jax.Array,
    params: PyTree,
    n: int | None = None,
    m: int | None = None,
) -> MetaState:
    """The state before the first update.

    Args:
      problem: what is learned; its layers must be known for active layers that are drawn.
      estimator: how.
      key: a PRNG key.
      params: w; its shapes count.
      n: the batch size, for methods that carry a number per example and for kinds that compare costs.
      m: the meta batch size; n by default.

    Raises:
      ValueError: for parameters, an estimator or sizes that can't work, and for a size or layers that
        are missing.
    """
    problem, params, _ = trained(problem, params)
    check_params(params)
    method, kind = problem.method, estimator.active
    if method.per_example and not method.reset_each_batch and n is None:
        raise ValueError(
            f"{method.name} carries a number per example, so its state has the batch's size: pass "
            "num_examples=..., the batch size"
        )
    if kind.drawn and problem.layers is None:
        raise ValueError(
            f"the state of {kind.label} depends on the network's layers: pass layers=..., from "
            "famus_jax.find_layers(forward, params, model_state, key, batch)"
        )
    seen = None
    if problem.layers is not None:
        kind.programs(problem.layers)  # looks them up
        costs = None if n is None else program_costs(problem, estimator, n, m or n)
        seen = Seen(problem.layers, costs)
    check_estimator(problem, estimator, seen, n)
    key_theta, key_active, key_steps = jax.random.split(key, 3)
    memory = ()
    if method.memory is not None:
        key_theta, key_memory = jax.random.split(key_theta)
        memory = first_memory(method, key_memory)
    theta = () if method.reset_each_batch else method.init(key_theta, n or 1)
    opt_state = () if method.reset_each_batch else method.meta_optimizer.init(theta)
    active, draws = (), ()
    if seen is not None:
        active = kind.init(key_active, params, seen)
    if seen is not None and kind.drawn and kind.ahead:
        first = [
            kind.draw(active, step_keys(key_steps, i).draw, jnp.asarray(i), seen)
            for i in range(kind.ahead)
        ]
        draws = jax.tree.map(lambda *x: jnp.stack(x), *first)
    carried = ()
    if problem.layers is not None:
        carried = first_carried(estimator, problem.layers, params, loss_dtype(params))
    elif estimator.carries:
        raise ValueError(
            f"the state of {estimator.label} holds a direction in the network's layers: pass "
            "layers=..., from famus_jax.find_layers(forward, params, model_state, key, batch)"
        )
    variate = jax.tree.map(jnp.zeros_like, theta) if estimator.control_variate_every else ()
    return MetaState(
        step=jnp.zeros((), jnp.int32),
        updates=jnp.zeros((), jnp.int32),
        key=key_steps,
        theta=theta,
        opt_state=opt_state,
        active=active,
        draws=draws,
        control_variate=variate,
        info=empty_info(estimator, loss_dtype(params)),
        skipped=jnp.zeros((), jnp.int32),
        memory=memory,
        carried=carried,
    )


def loss_dtype(params: PyTree) -> Any:
    """The dtype of losses that are reported: the parameters', float32 at least."""
    return jnp.promote_types(jnp.result_type(*jax.tree.leaves(params)), jnp.float32)


def empty_info(estimator: Estimator, dtype: Any) -> StepInfo:
    """The diagnostics of no step at all; every array its own, so that a state can be donated."""

    def zero(dtype: Any = jnp.float32) -> jax.Array:
        return jnp.zeros((), dtype)

    return StepInfo(
        weights=(),
        loss=zero(dtype),
        meta_loss=zero(dtype),
        theta_norm=zero(),
        open_layers=zero(),
        program=jnp.full((), -1, jnp.int32),
        updated=zero(),
        cost=zero(),
        active={name: zero() for name in estimator.active.reports},
        metrics={},
    )


def push_draw(draws: Draw, draw: Draw) -> Draw:
    """Drops the draw of this update and appends one for later."""
    return jax.tree.map(lambda queue, new: jnp.concatenate([queue[1:], new[None]]), draws, draw)
