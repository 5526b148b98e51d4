"""Use (c): the whole training step, compiled, buffers donated.

With a fixed set of active layers: one executable, nothing read back by the host. An estimator that
chooses from step to step has one per program (see `programs`), and the host must know which is due
before it dispatches: the state says so, some steps ahead.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.batches import check_given
from famus_jax.core.estimator import Estimator
from famus_jax.core.frozen import trained
from famus_jax.core.problem import Inputs, Problem
from famus_jax.core.programs import Program, has_programs, upcoming
from famus_jax.core.state import StepInfo
from famus_jax.core.trainable import split_of
from famus_jax.core.unrolled import with_window
from famus_jax.core.update import meta_update
from famus_jax.differentiate.collectives import gather
from famus_jax.uses import dispatch
from famus_jax.uses.average import check_decay, first_average, updated_average
from famus_jax.uses.dispatch import HostDispatch
from famus_jax.uses.optimizers import (
    check_pair,
    gradient_for,
    loss_for_optimizer,
    virtual_optimizer,
    virtual_update,
)
from famus_jax.uses.record import Record, recorded
from famus_jax.uses.reweighter import StepSize, at_step, chosen_estimator, first_state
from famus_jax.uses.train_state import TrainState, unless_nonfinite

PyTree = Any
Metrics = Callable[[PyTree, PyTree], dict[str, jax.Array]]
Compile = Callable[[Callable[..., Any]], Any]


def _jit(step: Callable[..., Any]) -> Any:
    return jax.jit(step, donate_argnums=0)


class TrainStep:
    """`state, info = step(state, batch, meta_batch)`, compiled; see `train_step`.

    Attributes:
      problem, estimator: see there.
    """

    def __init__(
        self,
        problem: Problem,
        optimizer: optax.GradientTransformation,
        estimator: Estimator,
        step_size: StepSize | None,
        metrics: Metrics | None = None,
        compile_with: Compile | None = None,
        skip_nonfinite: bool = False,
        record: Record | None = None,
        ema: float = 0.0,
    ):
        self._skip_nonfinite, self._record, self._ema = skip_nonfinite, record, ema
        self.problem, self.estimator = problem, estimator
        self._optimizer = optax.with_extra_args_support(optimizer)
        self._step_size, self._metrics = step_size, metrics
        self._compile = compile_with or _jit
        self._programs: dict[Program | None, Any] = {}
        self._dispatch = None
        if self.has_programs:
            self._dispatch = HostDispatch(estimator)

    @property
    def has_programs(self) -> bool:
        """Whether the host chooses among compiled programs."""
        return self.problem.method.has_theta and has_programs(self.estimator)

    def init(
        self,
        key: jax.Array,
        params: PyTree,
        model_state: PyTree,
        batch: PyTree,
        meta_batch: PyTree = None,
    ) -> TrainState:
        """The state before the first step. Of the (whole) batches only shapes count.

        It is a copy of everything that goes into it, so that it can be donated: for a moment there are
        two of the parameters.

        Raises:
          ValueError: for parameters, batches or an estimator that can't work.
        """
        key_meta, key_steps = jax.random.split(key)
        moving = split_of(self.problem.trainable, params).trained(params)
        meta = first_state(
            self.problem, self.estimator, key_meta, params, model_state, batch, meta_batch
        )
        state = TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            model_state=model_state,
            opt_state=self._optimizer.init(moving),
            meta=meta,
            key=key_steps,
            recorded=() if self._record is None else self._record.init(),
            average=first_average((moving, model_state), self._ema),
        )
        check_pair(state.opt_state, moving)
        self._alpha(state)  # raises if there is none
        return jax.tree.map(jnp.copy, state)  # nothing in it may be the caller's, or twice

    def __call__(
        self, state: TrainState, batch: PyTree, meta_batch: PyTree = None
    ) -> tuple[TrainState, StepInfo]:
        """One step. `state` is donated: use the one returned from here on.

        Raises:
          ValueError: for a batch that can't be one, before anything is donated; or when traced.
        """
        check_given(batch, "training batch")
        if meta_batch is not None:
            check_given(meta_batch, "meta batch")
        if self._dispatch is None:
            state, info, _ = self._program(None)(state, batch, meta_batch)
            return state, info
        program = self._dispatch.due(state.meta)
        state, info, coming = self._program(program)(state, batch, meta_batch)
        self._dispatch.dispatched(state.meta, coming)
        if dispatch.debugging():
            dispatch.check_program(program, info)
        return state, info

    update = __call__

    def averaged(self, state: TrainState) -> tuple[PyTree, PyTree]:
        """`(params, model_state)` to evaluate: of the moving average, where one is kept. A frozen
        parameter, of which no average is kept, is there as it is."""
        if not self._ema:
            return state.params, state.model_state
        split, (params, model_state) = split_of(self.problem.trainable, state.params), state.average
        return split.whole(params, split.frozen(state.params)), model_state

    def twin(self) -> TrainStep:
        """The same compiled step for a second run beside this one.

        It has its own account of what is due; one account for two runs would be read anew each step.
        """
        other = copy.copy(self)
        if self._dispatch is not None:
            other._dispatch = HostDispatch(self.estimator)
        return other

    def lower(
        self,
        state: TrainState,
        batch: PyTree,
        meta_batch: PyTree = None,
        *,
        program: Program | None = None,
    ) -> Any:
        """The lowered program, for cost analysis."""
        return self._program(program).lower(state, batch, meta_batch)

    @property
    def compiled(self) -> set[Program | None]:
        """The programs that have been compiled so far (a call that adds one takes long)."""
        return set(self._programs)

    def _program(self, program: Program | None) -> Any:
        if program not in self._programs:
            step = functools.partial(self._with_upcoming, program=program)
            self._programs[program] = self._compile(step)
        return self._programs[program]

    def _with_upcoming(
        self, state: TrainState, batch: PyTree, meta_batch: PyTree, program: Program | None
    ) -> tuple[TrainState, StepInfo, PyTree]:
        """`pure`, and the programs of the next steps: apart, since the state will be donated."""
        state, info = self.pure(state, batch, meta_batch, program)
        return state, info, () if program is None else upcoming(self.estimator, state.meta)

    def pure(
        self,
        state: TrainState,
        batch: PyTree,
        meta_batch: PyTree = None,
        program: Program | None = None,
    ) -> tuple[TrainState, StepInfo]:
        """The step as a pure function, not compiled. Without a program, it holds all of them."""
        problem, params, split = trained(self.problem, state.params)
        frozen, state = split.frozen(state.params), state._replace(params=params)
        rng = jax.random.fold_in(state.key, state.step)
        inputs = Inputs(
            params=params,
            model_state=state.model_state,
            rng=rng,
            batch=batch,
            meta_batch=meta_batch,
            step_size=self._alpha(state),
            optimizer_update=virtual_update(self._optimizer, state.opt_state, params),
            optimizer=(virtual_optimizer(self._optimizer), state.opt_state),
        )
        inputs = with_window(self.estimator, inputs)
        new = meta_update(problem, self.estimator, state.meta, inputs, program=program)
        updates, opt_state = self._optimizer.update(
            gradient_for(state.opt_state, new.gradient),
            state.opt_state,
            params,
            **loss_for_optimizer(problem, inputs, new, state.opt_state),
        )
        info, sums = new.info, state.recorded
        if self._metrics or self._record:
            whole = gather(inputs.batch, self.problem.axis)
            sums = recorded(self._record, sums, new.outputs, whole)
            if self._metrics:
                info = info._replace(metrics=self._metrics(new.outputs, whole))
        params, step = optax.apply_updates(params, updates), state.step + 1
        after = TrainState(
            step=step,
            params=params,
            model_state=new.model_state,
            opt_state=opt_state,
            meta=new.state,
            key=state.key,
            recorded=sums,
            average=updated_average(state.average, (params, new.model_state), step, self._ema),
        )
        after = unless_nonfinite(after, state) if self._skip_nonfinite else after
        return after._replace(params=split.whole(after.params, frozen)), info

    def _alpha(self, state: TrainState) -> jax.Array | float:
        """α: what was given, or the learning rate that the optimizer's state holds."""
        if self._step_size is not None:
            return at_step(self._step_size, state.step)
        found = optax.tree.get_all_with_path(state.opt_state, "learning_rate")
        if len(found) != 1:
            raise ValueError(
                "train_step does not know the step size α of the virtual step: pass step_size=..., "
                "your learning rate or its schedule. (It is read from the optimizer if that is made by "
                "optax.inject_hyperparams and holds one learning_rate; this one's state holds "
                f"{len(found)}.)"
            )
        return found[0][1]


def train_step(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    estimator: Estimator | None = None,
    *,
    step_size: StepSize | None = None,
    metrics: Metrics | None = None,
    compile_with: Compile | None = None,
    skip_nonfinite: bool = False,
    record: Record | None = None,
    ema: float = 0.0,
) -> TrainStep:
    """The compiled training step: meta update and actual update in one program.

    Args:
      problem: from `problem`.
      optimizer: any optax optimizer for the actual step; one that reads the loss is given the
        reweighted one (`value`, `grad` and, on one device, `value_fn`). For `optax.lookahead` the
        parameters are an `optax.LookaheadParams`, whose `fast` ones the forward reads.
      estimator: see `reweighter`. With learned gates, `lag` must be at least 1; 2 keeps the host from
        waiting.
      step_size: α of the virtual step, a number or a schedule: the optimizer's own learning rate. It
        may be left out for an optimizer that tells it (`optax.inject_hyperparams`).
      metrics: `(outputs, batch) -> {name: array}`, computed in the step on the training batch; see
        `StepInfo.metrics`.
      compile_with: `step -> compiled step`, for many devices: one of `famus_jax.parallel`. By default
        `jax.jit` with the state donated, which also takes sharded arrays.
      skip_nonfinite: a step after which the parameters or the optimizer's state would not be finite
        any more is left out whole, and counted in `state.meta.skipped`. Without it the parameters take
        what comes; θ and the model state never take what is not finite.
      record: sums to keep of every example in `state.recorded`, a `Record`: evidence on labels, say
        (`famus_jax.evidence.sums`). What is trained does not depend on it.
      ema: the decay of a moving average of `(params, model_state)` in `state.average`, to be evaluated
        in their place (`famus_jax.uses.average`); 0 for none. Nor does training depend on it.

    Returns:
      A `TrainStep`: `.init(key, params, model_state, batch, meta_batch)` makes the state, and the step
      itself (or `.update`) returns `(state, info)`. Many runs of equal shapes may share it, and its
      compilation.

    Raises:
      ValueError: for what is no problem or no estimator, and for a decay outside [0, 1).

    Example:
      >>> import famus_jax as famus
      >>> problem = famus.problem(famus.stateless_forward(lambda w, x: x @ w, input="x"), famus.l2r())
      >>> train = train_step(problem, optax.sgd(0.1), step_size=0.1)
      >>> trusted = {"x": jnp.eye(2), "label": jnp.array([0, 1])}
      >>> batch = {"x": jnp.eye(2), "label": jnp.array([0, 0])}  # the second label is wrong
      >>> state = train.init(jax.random.key(0), jnp.zeros((2, 2)), (), batch, trusted)
      >>> state, info = train(state, batch, trusted)
      >>> int(state.step), info.weights.tolist()
      (1, [1.0, 0.0])
    """
    check_decay(ema)
    estimator = chosen_estimator(problem, estimator)
    return TrainStep(
        problem, optimizer, estimator, step_size, metrics, compile_with, skip_nonfinite, record, ema
    )
