"""Use (c): the whole training step, compiled, buffers donated.

With a fixed set of active groups: one executable, nothing read back by the host. With learned gates:
one executable per cut; the gates of step t were drawn at step t − lag, so the host reads a number
that is ready while step t − 1 still runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.checks import leading_size
from famus_jax.core.estimators import Estimator
from famus_jax.core.gates import LearnedGates
from famus_jax.core.groups import LayerGroups
from famus_jax.core.linearize import Forward
from famus_jax.core.losses import MetaLoss
from famus_jax.core.meta_update import MetaInfo, MetaState, init_meta, meta_update
from famus_jax.core.objectives import Objective
from famus_jax.core.problem import Point, Problem
from famus_jax.core.reweighter import LearningRate, learning_rate_at, reweighter

PyTree = Any
Metrics = Callable[[PyTree, PyTree], dict[str, jax.Array]]


class TrainState(NamedTuple):
    """Everything that training carries; a checkpoint of it resumes bit by bit.

    Attributes:
      step: steps taken, int32 scalar.
      params, model_state, opt_state: the network and its optimiser.
      meta: the meta-model; see `MetaState`.
      key: the key of the forward passes; step t uses `fold_in(key, t)`.
    """

    step: jax.Array
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    meta: MetaState
    key: jax.Array


class TrainStep:
    """`state, info, metrics = step(state, batch, meta_batch)`, compiled; see `train_step`.

    The one thing it keeps between calls is which cuts the gates under way call for: the host's copy
    of a queue that is also in the state, from which it is read anew whenever another state comes in.
    """

    def __init__(
        self,
        problem: Problem,
        estimator: Estimator,
        optimizer: optax.GradientTransformation,
        learning_rate: LearningRate,
        metrics: Metrics | None = None,
    ):
        self.problem, self.estimator = problem, estimator
        self._optimizer = optax.with_extra_args_support(optimizer)
        self._learning_rate, self._metrics = learning_rate, metrics
        active = estimator.active
        self._gated = isinstance(active, LearnedGates) and problem.objective.learns
        if self._gated and isinstance(active, LearnedGates) and active.lag == 0:
            raise ValueError(
                "train_step needs gates that are known before the step is dispatched: use "
                "learned_gates(..., lag=2) (or lag=1, which makes the host wait for each step)"
            )
        self._compiled = jax.jit(self._step, donate_argnums=0, static_argnames="branch")
        self._branches: deque[jax.Array | int] = deque()
        self._expected: jax.Array | None = None

    def init(
        self,
        key: jax.Array,
        params: PyTree,
        model_state: PyTree,
        batch: PyTree,
        meta_batch: PyTree = None,
    ) -> TrainState:
        """The state before the first step; a copy of everything that goes into it.

        Raises:
          ValueError: for parameters, batches or an estimator that can't work.
        """
        key_meta, key_steps = jax.random.split(key)
        n = leading_size(batch, "training batch")
        m = leading_size(meta_batch, "meta batch") if meta_batch is not None else n
        meta = init_meta(self.problem, self.estimator, key_meta, params, n, m)
        opt_state = self._optimizer.init(params)
        step = jnp.zeros((), jnp.int32)
        state = TrainState(step, params, model_state, opt_state, meta, key_steps)
        return jax.tree.map(jnp.copy, state)  # donated: nothing in it may be the caller's, or twice

    def __call__(
        self, state: TrainState, batch: PyTree, meta_batch: PyTree = None
    ) -> tuple[TrainState, MetaInfo, dict[str, jax.Array]]:
        """One step. `state` is donated: use the one returned from here on."""
        if not self._gated:
            return self._compiled(state, batch, meta_batch, branch=None)
        if self._expected is not state.step:
            self._branches = deque(state.meta.gates.branches.tolist())
        self._expected = None  # if the dispatch fails, the queue is read anew
        branch = int(self._branches.popleft())
        state, info, metrics = self._compiled(state, batch, meta_batch, branch=branch)
        self._branches.append(info.next_branch)
        self._expected = state.step
        return state, info, metrics

    def lower(self, state: TrainState, batch: PyTree, meta_batch: PyTree = None, *, branch=None):
        """The lowered program, for cost analysis; with learned gates of one cut."""
        return self._compiled.lower(state, batch, meta_batch, branch=branch)

    def _step(self, state, batch, meta_batch, branch):
        alpha = learning_rate_at(self._learning_rate, state.step)
        rng = jax.random.fold_in(state.key, state.step)
        coast = None
        if self.estimator.closed == "coast":
            zeros = jax.tree.map(jnp.zeros_like, state.params)
            coast, _ = self._optimizer.update(zeros, state.opt_state, state.params)
        point = Point(state.params, state.model_state, rng, batch, meta_batch, alpha, coast)
        new = meta_update(self.problem, self.estimator, state.meta, point, branch=branch)
        updates, opt_state = self._optimizer.update(new.gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = self._metrics(new.outputs, batch) if self._metrics else {}
        state = TrainState(state.step + 1, params, new.model_state, opt_state, new.state, state.key)
        return state, new.info, metrics


def train_step(
    forward: Forward,
    objective: Objective,
    estimator: Estimator,
    optimizer: optax.GradientTransformation,
    *,
    learning_rate: LearningRate,
    params: PyTree,
    model_state: PyTree,
    batch: PyTree,
    meta_loss: MetaLoss | None = None,
    groups: LayerGroups | None = None,
    meta_forward: Forward | None = None,
    metrics: Metrics | None = None,
) -> TrainStep:
    """The compiled training step: meta update and actual update in one program.

    Args:
      forward, objective, estimator, learning_rate, meta_loss, groups, meta_forward: see
        `reweighter`; `learning_rate` should be the optimiser's own. With learned gates, `lag` must
        be at least 1; 2 keeps the host from waiting.
      optimizer: any optax optimiser for the actual step.
      params, model_state, batch: examples (or shape structs), to find the layer groups.
      metrics: `(outputs, batch) -> {name: array}`, computed in the step on the training batch.

    Returns:
      A `TrainStep`; `.init(key, params, model_state, batch, meta_batch)` makes the state. Many runs
      of equal shapes may share it, and its compilation.
    """
    weigh = reweighter(
        forward,
        objective,
        estimator,
        learning_rate=learning_rate,
        meta_loss=meta_loss,
        groups=groups,
        meta_forward=meta_forward,
    )
    problem = weigh.problem(params, model_state, jax.random.key(0), batch)
    return TrainStep(problem, estimator, optimizer, learning_rate, metrics)
