"""Use (a): weights for the user's own loss, in the user's own loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import jax

from famus_jax.core.checks import check_kinds, leading_size
from famus_jax.core.data_parallel import own_rows, unbound
from famus_jax.core.defaults import default_estimator
from famus_jax.core.estimators import Estimator
from famus_jax.core.groups import LayerGroups
from famus_jax.core.linearize import Forward
from famus_jax.core.losses import MetaLoss
from famus_jax.core.meta_state import MetaInfo, MetaState, init_meta, step_keys
from famus_jax.core.meta_update import meta_update
from famus_jax.core.objective import Objective
from famus_jax.core.problem import Point, Problem
from famus_jax.core.tracing import layer_groups
from famus_jax.core.variants import has_variants
from famus_jax.core.warn import warn_if_switching_on_cpu

PyTree = Any
LearningRate = float | jax.Array | Callable[[jax.Array], Any]


def learning_rate_at(learning_rate: LearningRate, step: jax.Array) -> jax.Array | float:
    """α at a step: a number, or a schedule's value."""
    return learning_rate(step) if callable(learning_rate) else learning_rate


@dataclasses.dataclass(frozen=True)
class Reweighter:
    """Learned example weights, as a pair of pure functions over a `MetaState`; see `reweighter`."""

    forward: Forward
    objective: Objective
    estimator: Estimator
    learning_rate: LearningRate
    meta_loss: MetaLoss | None = None
    groups: LayerGroups | None = None
    meta_forward: Forward | None = None
    micro_batches: int = 1
    axis: str | None = None

    def __post_init__(self):
        check_kinds(self.objective, self.estimator)

    def problem(
        self, params: PyTree, model_state: PyTree, rng: jax.Array, batch: PyTree
    ) -> Problem:
        """The functions and the layer groups; groups not given are found by tracing."""
        groups = self.groups
        if groups is None:
            forward, by = self._four_arguments(), self.estimator.group_by
            groups = layer_groups(
                forward, params, model_state, rng, batch, by=by, axis=unbound(self.axis)
            )
        return Problem(
            self.forward,
            self.objective,
            self.meta_loss or self.objective.l_val,
            groups,
            self.meta_forward,
            self.micro_batches,
            self.axis,
        )

    def _four_arguments(self) -> Forward:
        """The forward at a first θ, if it takes one, to find the layers."""
        if not self.objective.in_forward:
            return self.forward
        forward, init = cast(Any, self.forward), self.objective.init
        return lambda *args: forward(*args, init(jax.random.key(0), leading_size(args[3], "batch")))

    def init(
        self, key: jax.Array, params: PyTree, model_state: PyTree, batch: PyTree, meta_batch: PyTree
    ) -> MetaState:
        """The state before the first batch. Of the batches, the whole ones, only shapes count.

        Raises:
          ValueError: for parameters, batches or an estimator that can't work.
        """
        n = leading_size(batch, "training batch")
        m = leading_size(meta_batch, "meta batch")
        problem = self.problem(params, model_state, key, batch)
        state = init_meta(problem, self.estimator, key, params, n, m)
        if has_variants(self.estimator):
            warn_if_switching_on_cpu()
        return state

    def __call__(
        self,
        meta_state: MetaState,
        params: PyTree,
        model_state: PyTree,
        batch: PyTree,
        meta_batch: PyTree,
        *,
        rng: jax.Array | None = None,
        learning_rate: jax.Array | float | None = None,
        descend: Callable[[PyTree], PyTree] | None = None,
    ) -> tuple[jax.Array, MetaState, MetaInfo]:
        """Corrects the meta-model, then weighs the batch with it.

        Args:
          meta_state: from `init` or the last call.
          params: w.
          model_state: BatchNorm statistics and the like; `()` for none. It is read, not updated.
          batch: the training batch, leading size n.
          meta_batch: the trusted batch, leading size m.
          rng: the key of the forward passes; give the one your own loss uses, if the network has
            dropout.
          learning_rate: α now, where `learning_rate` at construction can't say it.
          descend: what your optimiser would do, `lambda g: optimizer.update(g, opt_state, params)[0]`,
            for `virtual_step="optimizer"` and `closed="coast"`.

        Returns:
          `(weights, meta_state, info)`: float [n], such that Σ_i weights_i ℓ_i is the loss to
          descend; the new state; diagnostics (`MetaInfo`). With an `axis`, `weights` are those of
          this device's examples, so that gradients are to be summed over devices, and the rest is
          of all devices, `info.weights` included.

        Raises:
          ValueError: for a method that corrects labels or outputs instead of weighing, among others.
        """
        if not self.objective.weighs:
            raise ValueError(
                f"{self.objective.name} does not weigh examples, so there are no weights for a loss "
                "of your own: use meta_reweight or train_step, which take its gradient"
            )
        rng = step_keys(meta_state).forward if rng is None else rng
        alpha = learning_rate
        if alpha is None:
            alpha = learning_rate_at(self.learning_rate, meta_state.step)
        problem = self.problem(params, model_state, rng, batch)
        point = Point(params, model_state, rng, batch, meta_batch, alpha, descend)
        update = meta_update(problem, self.estimator, meta_state, point)
        return own_rows(update.info.weights, self.axis), update.state, update.info


def reweighter(
    forward: Forward,
    objective: Objective,
    estimator: Estimator | None = None,
    *,
    learning_rate: LearningRate,
    meta_loss: MetaLoss | None = None,
    groups: LayerGroups | None = None,
    meta_forward: Forward | None = None,
    micro_batches: int = 1,
    axis: str | None = None,
) -> Reweighter:
    """Learned example weights for your own weighted loss.

    Args:
      forward: `(params, model_state, rng, batch) -> (outputs, model_state)`.
      objective: a weighting method: `mwnet()`, `l2r()`, ...
      estimator: how the meta gradient is estimated: `exact(part=0.125)`, ...; None for
        `default_estimator(objective)`.
      learning_rate: α of the virtual step: yours, as a number or a schedule of the step.
      meta_loss: `(outputs, meta_batch) -> ()`; by default the objective's own.
      groups: layer groups; by default found by tracing.
      meta_forward: another forward for the meta batch, if wanted.
      micro_batches: run the training batch's passes on so many parts, one after the other.
      axis: if you call it inside `jax.shard_map` or `jax.pmap`: the name of the axis along which the
        batches are divided. Under `jax.jit` on sharded arrays leave it out.

    Returns:
      A `Reweighter` r; `r.init(...)` makes the state and `r(...)` returns
      `(weights, state, info)`. Call it inside your own `jax.jit`.
    """
    if estimator is None and isinstance(objective, Objective):
        estimator = default_estimator(objective)
    return Reweighter(
        forward,
        objective,
        cast(Estimator, estimator),
        learning_rate,
        meta_loss,
        groups,
        meta_forward,
        micro_batches,
        axis,
    )
