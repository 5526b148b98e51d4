"""What the meta-model carries from step to step, how that starts, and what a step tells of itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from famus_jax.core import gate_state as gs
from famus_jax.core.checks import check_estimator, check_params
from famus_jax.core.estimators import Estimator
from famus_jax.core.gates import LearnedGates
from famus_jax.core.pooling import group_widths
from famus_jax.core.problem import Problem
from famus_jax.core.variants import cut_costs

PyTree = Any


class MetaState(NamedTuple):
    """What a method carries from step to step.

    Attributes:
      step: the number of steps so far, int32 scalar.
      updates: the number of meta updates so far (fewer with `every` > 1), int32 scalar.
      key: a PRNG key; step t splits `fold_in(key, t)` into `StepKeys`.
      theta: θ; `()` for methods whose θ lives one batch.
      opt_state: the meta-optimiser's state.
      gates: `GateState` with learned gates, else `()`.
      correction: with `correct_every` the exact gradient minus the cheap one, when last computed, a
        tree like θ; else `()`.
    """

    step: jax.Array
    updates: jax.Array
    key: jax.Array
    theta: PyTree
    opt_state: PyTree
    gates: PyTree
    correction: PyTree


class MetaInfo(NamedTuple):
    """Diagnostics of one step.

    Attributes:
      weights: the weights of the training examples, float [n].
      loss: T at those weights.
      meta_loss: L_val at the look-ahead.
      theta_norm_c, theta_norm_g: norms of the θ-gradients of L_c and of λ2 L_g.
      gate_norm_c, gate_norm_r: norms of the samplers' gradients of L_c and of λ1 L_r.
      open_groups: how many groups were open.
      branch: with a drawn set of groups the cut in use, an index into its `cuts`; else -1.
      next_branch: with learned gates the cut that the newest draw calls for, `lag` updates from now.
      updated: 1 if θ was updated, 0 in a step without a meta update; then all of the above but
        `weights` and `loss` are 0 (or -1).
      cost: what the step costs in plain steps, by the layer groups' shares.
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
    updated: jax.Array
    cost: jax.Array


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
    rho = meta_batch_size / batch_size
    check_estimator(problem, estimator, rho, batch_size)
    key_theta, key_gates, key_steps = jax.random.split(key, 3)
    objective = problem.objective
    theta = () if objective.fresh else objective.init(key_theta, batch_size)
    opt_state = () if objective.fresh else objective.meta_optimizer.init(theta)
    gates = ()
    if isinstance(spec := estimator.active, LearnedGates):
        costs = cut_costs(problem, estimator, rho)
        probability = spec.open_probability(problem.groups, costs)
        widths = group_widths(problem.groups, params, spec.out_axis)
        gates = gs.init_gates(spec, key_gates, problem.groups, widths, probability, costs)
    correction = jax.tree.map(jnp.zeros_like, theta) if estimator.correct_every else ()
    zero = jnp.zeros((), jnp.int32)
    return MetaState(zero, zero, key_steps, theta, opt_state, gates, correction)


class StepKeys(NamedTuple):
    """The keys of one step, each for one purpose."""

    theta: jax.Array
    gates: jax.Array
    forward: jax.Array


def step_keys(state: MetaState, step: jax.Array | int | None = None) -> StepKeys:
    """Keys that depend on the state's key and a step (by default the state's) only."""
    step = state.step if step is None else step
    return StepKeys(*jax.random.split(jax.random.fold_in(state.key, step), 3))
