"""Use (c): the whole training step, compiled, buffers donated.

With a fixed set of active groups: one executable, nothing read back by the host. An estimator that
chooses from step to step has one executable per variant (see `variants`), and the host must know which
one is due before it dispatches: meta steps are counted, random draws are made many ahead, and the gates
of an update were drawn `lag` updates before, so that the host reads a number that is ready while the
last step still runs.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.checks import leading_size
from famus_jax.core.data_parallel import gather
from famus_jax.core.dispatch import Dispatcher
from famus_jax.core.estimators import Estimator
from famus_jax.core.groups import LayerGroups
from famus_jax.core.linearize import Forward
from famus_jax.core.losses import MetaLoss
from famus_jax.core.meta_state import MetaInfo, MetaState, init_meta
from famus_jax.core.meta_update import meta_update
from famus_jax.core.objective import Objective
from famus_jax.core.problem import Point, Problem
from famus_jax.core.reweighter import LearningRate, learning_rate_at, reweighter
from famus_jax.core.variants import Variant, has_variants

PyTree = Any
Metrics = Callable[[PyTree, PyTree], dict[str, jax.Array]]
Compile = Callable[[Callable[..., Any]], Any]


def _jit(step: Callable[..., Any]) -> Any:
    return jax.jit(step, donate_argnums=0)


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

    Attributes:
      problem, estimator: see there.
    """

    def __init__(
        self,
        problem: Problem,
        estimator: Estimator,
        optimizer: optax.GradientTransformation,
        learning_rate: LearningRate,
        metrics: Metrics | None = None,
        compile_with: Compile | None = None,
    ):
        self.problem, self.estimator = problem, estimator
        self._optimizer = optax.with_extra_args_support(optimizer)
        self._learning_rate, self._metrics = learning_rate, metrics
        self._compile = compile_with or _jit
        self._programs: dict[Variant | None, Any] = {}
        self._dispatcher = None
        if problem.objective.learns and has_variants(estimator):
            self._dispatcher = Dispatcher(problem, estimator)

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
        dispatcher = self._dispatcher
        variant = None if dispatcher is None else dispatcher.due(state.step, state.meta)
        state, info, metrics = self._program(variant)(state, batch, meta_batch)
        if dispatcher is not None:
            dispatcher.dispatched(state.step, info)
        return state, info, metrics

    def twin(self) -> TrainStep:
        """The same compiled step for a second run beside this one.

        It has its own account of what is due; one account for two runs would be read anew each step.
        """
        other = copy.copy(self)
        if self._dispatcher is not None:
            other._dispatcher = Dispatcher(self.problem, self.estimator)
        return other

    def lower(self, state: TrainState, batch: PyTree, meta_batch: PyTree = None, *, variant=None):
        """The lowered program of a variant, for cost analysis."""
        return self._program(variant).lower(state, batch, meta_batch)

    @property
    def compiled(self) -> set[Variant | None]:
        """The variants that have been compiled so far (a call that adds one takes long)."""
        return set(self._programs)

    def _program(self, variant: Variant | None) -> Any:
        if variant not in self._programs:
            self._programs[variant] = self._compile(functools.partial(self.pure, variant=variant))
        return self._programs[variant]

    def pure(
        self,
        state: TrainState,
        batch: PyTree,
        meta_batch: PyTree = None,
        variant: Variant | None = None,
    ) -> tuple[TrainState, MetaInfo, dict[str, jax.Array]]:
        """The step as a pure function, not compiled. Without a variant, it holds all of them."""
        alpha = learning_rate_at(self._learning_rate, state.step)
        rng = jax.random.fold_in(state.key, state.step)

        def descend(gradient: PyTree) -> PyTree:
            return self._optimizer.update(gradient, state.opt_state, state.params)[0]

        point = Point(state.params, state.model_state, rng, batch, meta_batch, alpha, descend)
        new = meta_update(self.problem, self.estimator, state.meta, point, variant=variant)
        updates, opt_state = self._optimizer.update(new.gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {}
        if self._metrics:
            metrics = self._metrics(new.outputs, gather(batch, self.problem.axis))
        state = TrainState(state.step + 1, params, new.model_state, opt_state, new.state, state.key)
        return state, new.info, metrics


def train_step(
    forward: Forward,
    objective: Objective,
    estimator: Estimator | None,
    optimizer: optax.GradientTransformation,
    *,
    learning_rate: LearningRate,
    params: PyTree,
    model_state: PyTree,
    batch: PyTree,
    meta_loss: MetaLoss | None = None,
    groups: LayerGroups | None = None,
    meta_forward: Forward | None = None,
    micro_batches: int = 1,
    metrics: Metrics | None = None,
    axis: str | None = None,
    compile_with: Compile | None = None,
) -> TrainStep:
    """The compiled training step: meta update and actual update in one program.

    Args:
      forward, objective, estimator, learning_rate, meta_loss, groups, meta_forward,
        micro_batches: see `reweighter`; `learning_rate` should be the optimiser's own. With learned
        gates, `lag` must be at least 1; 2 keeps the host from waiting.
      optimizer: any optax optimiser for the actual step.
      params, model_state, batch: examples (or shape structs), to find the layer groups.
      metrics: `(outputs, batch) -> {name: array}`, computed in the step on the training batch.
      axis: see `reweighter`; for a `compile_with` that runs the step once per device.
      compile_with: `step -> compiled step`, for many devices: one of `famus_jax.parallel`. By default
        `jax.jit` with the state donated, which also takes sharded arrays.

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
        micro_batches=micro_batches,
        axis=axis,
    )
    problem = weigh.problem(params, model_state, jax.random.key(0), batch)
    return TrainStep(problem, weigh.estimator, optimizer, learning_rate, metrics, compile_with)
