"""Use (a): weights for the user's own loss, in the user's own loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.bounds import Bounds, real
from famus_jax.core.batches import compared_with, leading_size
from famus_jax.core.checks import check_is_estimator, check_params, is_known
from famus_jax.core.estimator import Estimator
from famus_jax.core.estimators import default_estimator
from famus_jax.core.frozen import trained
from famus_jax.core.problem import Inputs, Problem
from famus_jax.core.programs import has_programs
from famus_jax.core.state import MetaState, init_state, step_keys
from famus_jax.core.unrolled import first_batch
from famus_jax.core.update import meta_update
from famus_jax.differentiate.collectives import local_rows
from famus_jax.layers.find import checked
from famus_jax.memory import check_index
from famus_jax.uses.dispatch import warn_if_switching_on_cpu

PyTree = Any
StepSize = float | jax.Array | Callable[[jax.Array], Any]


def at_step(step_size: StepSize, step: jax.Array) -> jax.Array | float:
    """α at a step: a number, or a schedule's value.

    Raises:
      ValueError: for a number that is none above 0, or an array that is no scalar.
    """
    if callable(step_size):
        return step_size(step)
    if isinstance(step_size, jax.Array | np.ndarray):
        if step_size.shape:
            raise ValueError(f"step_size must be one number; got an array {list(step_size.shape)}")
        return jnp.asarray(step_size)
    return real(step_size, Bounds(0, 1e6, above=True), "step_size, the learning rate,")


def chosen_estimator(problem: Problem, estimator: Estimator | None) -> Estimator:
    """The estimator, or the method's default. Raises `ValueError` for what is none."""
    if not isinstance(problem, Problem):
        raise ValueError(
            "the first argument must be a problem, famus_jax.problem(forward, method); got "
            f"{problem!r}"
        )
    if estimator is None:
        return default_estimator(problem.method)
    check_is_estimator(estimator)
    return estimator


def first_state(
    problem: Problem,
    estimator: Estimator,
    key: jax.Array,
    params: PyTree,
    model_state: PyTree,
    batch: PyTree,
    meta_batch: PyTree = None,
) -> MetaState:
    """The meta-model's state before the first batch. Of the (whole) batches only shapes count.

    Raises:
      ValueError: for parameters, batches or an estimator that can't work.
    """
    problem, params, _ = trained(problem, params)
    batch, _ = first_batch(estimator, batch)
    check_params(params)
    n = leading_size(batch, "training batch")
    m = n if meta_batch is None else leading_size(meta_batch, "meta batch")
    problem = problem.on(params, model_state, key, batch, by=estimator.active.layers_by)
    _check_labels(problem, params, model_state, key, batch, meta_batch)
    state = init_state(problem, estimator, key, params, n, m)
    if problem.method.memory is not None:
        check_index(problem.method, batch, state.memory)
    return state


def _check_labels(
    problem: Problem,
    params: PyTree,
    model_state: PyTree,
    key: jax.Array,
    batch: PyTree,
    meta_batch: PyTree,
) -> None:
    """Lets the losses look at the first batches' values, which are not known in a compiled step: a
    label that is none of the classes is named here."""
    if problem.method.in_forward or problem.axis is not None:
        return
    passes = [(problem.forward, problem.method.example_loss, batch)]
    if meta_batch is not None:
        forward = problem.meta_forward or problem.forward
        passes.append((forward, problem.meta_loss, meta_batch))
    for forward, loss, of in passes:
        if all(map(is_known, jax.tree.leaves(of))):
            with compared_with(of, batch):
                outputs, _ = jax.eval_shape(checked(forward), params, model_state, key, of)
            loss(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), outputs), of)


@dataclasses.dataclass(frozen=True)
class Reweighter:
    """Learned example weights, as a pair of pure functions over a `MetaState`; see `reweighter`."""

    problem: Problem
    estimator: Estimator
    step_size: StepSize

    def init(
        self, key: jax.Array, params: PyTree, model_state: PyTree, batch: PyTree, meta_batch: PyTree
    ) -> MetaState:
        """The state before the first batch. Of the batches, the whole ones, only shapes count.

        Raises:
          ValueError: for parameters, batches or an estimator that can't work.
        """
        leading_size(meta_batch, "meta batch")
        if has_programs(self.estimator):
            warn_if_switching_on_cpu()
        return first_state(
            self.problem, self.estimator, key, params, model_state, batch, meta_batch
        )

    def update(
        self,
        state: MetaState,
        params: PyTree,
        model_state: PyTree,
        batch: PyTree,
        meta_batch: PyTree,
        *,
        rng: jax.Array | None = None,
        step_size: jax.Array | float | None = None,
        optimizer_update: Callable[[PyTree], PyTree] | None = None,
        optimizer: tuple[Callable[..., Any], PyTree] | None = None,
    ) -> tuple[jax.Array, MetaState]:
        """Corrects the meta-model, then reweights the batch with it.

        Args:
          state: from `init` or the last call.
          params: w.
          model_state: BatchNorm statistics and the like; `()` for none. It is read, not updated.
          batch: the training batch, leading size n.
          meta_batch: the trusted batch, leading size m.
          rng: the key of the forward passes; give the one your own loss uses, if the network has
            dropout.
          step_size: α now, where the reweighter's own can't say it.
          optimizer_update: what your optimizer would do,
            `lambda g: optimizer.update(g, opt_state, params)[0]`, for `through_optimizer=True`.
          optimizer: `(optimizer.update, opt_state)`, for `look_ahead(k)`.

        Returns:
          `(weights, state)`: float [n], such that Σ_i weights_i ℓ_i is the loss to descend; the new
          state, whose `info` holds diagnostics (`StepInfo`). With an `axis`, `weights` are those of
          this device's examples, so that gradients are to be summed over devices, and the state is
          alike on all.

        Raises:
          ValueError: for a method that corrects labels or outputs instead of reweighting, among
            others.
        """
        method = self.problem.method
        if not method.reweights:
            raise ValueError(
                f"{method.name} does not reweight examples, so there are no weights for a loss of "
                "your own: use famus_jax.reweight or famus_jax.train_step, which take its gradient"
            )
        rng = step_keys(state.key, state.step).forward if rng is None else rng
        alpha = at_step(self.step_size if step_size is None else step_size, state.step)
        inputs = Inputs(
            params, model_state, rng, batch, meta_batch, alpha, optimizer_update, optimizer
        )
        new = meta_update(self.problem, self.estimator, state, inputs)
        return local_rows(new.info.weights, self.problem.axis), new.state


def reweighter(
    problem: Problem, estimator: Estimator | None = None, *, step_size: StepSize
) -> Reweighter:
    """Learned example weights for your own weighted loss.

    Args:
      problem: from `problem`.
      estimator: how the meta gradient is estimated: `all_layers(examples=8)`, ...; None for
        `default_estimator(method)`.
      step_size: α of the virtual step: your learning rate, a number or a schedule of the step.

    Returns:
      A `Reweighter`: `.init(key, params, model_state, batch, meta_batch)` makes the state, and
      `.update(state, params, model_state, batch, meta_batch)` returns `(weights, state)`. Call it
      inside your own `jax.jit`.

    Raises:
      ValueError: for what is no problem or no estimator.

    Example:
      >>> import jax.numpy as jnp
      >>> import famus_jax as famus
      >>> problem = famus.problem(famus.stateless_forward(lambda w, x: x @ w, input="x"), famus.l2r())
      >>> weights_for = famus.reweighter(problem, step_size=0.1)
      >>> w = jnp.zeros((2, 2))
      >>> trusted = {"x": jnp.eye(2), "label": jnp.array([0, 1])}
      >>> batch = {"x": jnp.eye(2), "label": jnp.array([0, 0])}  # the second label is wrong
      >>> state = weights_for.init(jax.random.key(0), w, (), batch, trusted)
      >>> weights, state = weights_for.update(state, w, (), batch, trusted)
      >>> weights.tolist()
      [1.0, 0.0]
    """
    return Reweighter(problem, chosen_estimator(problem, estimator), step_size)
