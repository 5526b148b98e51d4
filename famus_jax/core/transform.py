"""Use (b): the meta update as an optax transformation, in the user's own chain.

It stands first in the chain and *replaces* the incoming updates by the reweighted gradient; what
follows (weight decay, momentum, a schedule) is the user's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.checks import leading_size
from famus_jax.core.data_parallel import count, shape_of
from famus_jax.core.estimators import Estimator
from famus_jax.core.groups import LayerGroups
from famus_jax.core.linearize import Forward
from famus_jax.core.losses import MetaLoss
from famus_jax.core.meta_state import MetaInfo, MetaState, init_meta, step_keys
from famus_jax.core.meta_update import meta_update
from famus_jax.core.objective import Objective
from famus_jax.core.problem import Point, Problem
from famus_jax.core.reweighter import LearningRate, learning_rate_at, reweighter
from famus_jax.core.variants import has_variants
from famus_jax.core.warn import warn_if_switching_on_cpu

PyTree = Any


class MetaReweightState(NamedTuple):
    """The state of `meta_reweight`.

    Attributes:
      meta: θ, its optimiser, the samplers, step and key.
      model_state: the model state after the last training batch; `optax.tree.get(opt_state,
        "model_state")` reads it from a whole chain's state.
      info: diagnostics of the last update, `MetaInfo`; `optax.tree.get(opt_state, "info")`.
    """

    meta: MetaState
    model_state: PyTree
    info: MetaInfo


def meta_reweight(
    forward: Forward,
    objective: Objective,
    estimator: Estimator | None = None,
    *,
    learning_rate: LearningRate,
    key: jax.Array,
    batch: PyTree,
    meta_batch: PyTree,
    model_state: PyTree = (),
    meta_loss: MetaLoss | None = None,
    groups: LayerGroups | None = None,
    meta_forward: Forward | None = None,
    micro_batches: int | None = None,
    axis: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Replaces incoming updates by the gradient of the reweighted loss.

    Put it first: `optax.chain(meta_reweight(...), optax.add_decayed_weights(5e-4), optax.sgd(...))`.
    The updates that come in are not looked at: pass None, or a `jax.grad` that `jit` then eliminates.
    `update` needs `params`, `batch=` and `meta_batch=`; with `model_state=` it starts from that model
    state instead of its own; `rng=` gives the key of the forward passes, `descend=` what the rest of
    your chain would do with a gradient (for `virtual_step="optimizer"` and `closed="coast"`; see
    `reweighter`). Other extra arguments are ignored.

    Inside `optax.MultiSteps` it would see the last micro-batch only: put `MultiSteps` behind it in
    the chain instead. For `optax.inject_hyperparams`, name the functions and the key in `static_args`:
    `("forward", "key")`, and `"meta_loss"`, `"meta_forward"`, `"micro_batches"`, `"axis"` if given.

    With an `axis`, its state and what it returns are alike on every device; the optimiser behind it
    then does the same on each.

    Args:
      forward, objective, estimator, learning_rate, meta_loss, groups, meta_forward, micro_batches,
        axis: see `reweighter`.
      key: a PRNG key for θ, the samplers and the gates.
      batch, meta_batch: examples of both batches, arrays or `jax.ShapeDtypeStruct`s; only their
        shapes count. They fix every shape of the state. With an `axis`, the whole batches.
      model_state: the model state to start from.

    Returns:
      An `optax.GradientTransformationExtraArgs` whose state is a `MetaReweightState`.

    Raises:
      ValueError: from `init` or when `update` is traced, naming what is missing or wrong.
    """
    shapes = jax.tree.map(_shape, (batch, meta_batch))
    sizes = leading_size(batch, "training batch"), leading_size(meta_batch, "meta batch")
    weigh = reweighter(
        forward,
        objective,
        estimator,
        learning_rate=learning_rate,
        meta_loss=meta_loss,
        groups=groups,
        meta_forward=meta_forward,
        micro_batches=micro_batches or 1,
        axis=axis,
    )

    estimator = weigh.estimator

    def problem_for(params: PyTree, model_state: PyTree) -> Problem:
        return weigh.problem(params, model_state, key, shapes[0])

    def init(params: PyTree) -> MetaReweightState:
        problem = problem_for(params, model_state)
        meta = init_meta(problem, estimator, key, params, *sizes)
        if has_variants(estimator):
            warn_if_switching_on_cpu()

        def first_info(batch: PyTree, meta_batch: PyTree) -> MetaInfo:
            point = Point(
                params,
                model_state,
                key,
                batch,
                meta_batch,
                jnp.float32(1),
                lambda gradient: gradient,
            )
            return meta_update(problem, estimator, meta, point).info

        info = shape_of(first_info, axis, *shapes)
        info = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), info)
        return MetaReweightState(meta, model_state, info)

    def update(
        updates: PyTree,
        state: MetaReweightState,
        params: PyTree | None = None,
        *,
        batch: PyTree = None,
        meta_batch: PyTree = None,
        model_state: PyTree = None,
        rng: jax.Array | None = None,
        descend: Callable[[PyTree], PyTree] | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, MetaReweightState]:
        del updates, extra_args
        given = {"params": params, "batch": batch, "meta_batch": meta_batch}
        missing = [name for name, value in given.items() if value is None]
        if missing:
            raise ValueError(
                f"meta_reweight needs {' and '.join(missing)}: call "
                "optimizer.update(None, opt_state, params, batch=batch, meta_batch=meta_batch)"
            )
        given_sizes = leading_size(batch, "training batch"), leading_size(meta_batch, "meta batch")
        given_sizes = tuple(size * count(axis) for size in given_sizes)
        if given_sizes != sizes:
            raise ValueError(
                f"this meta_reweight was made for batch and meta batch of sizes {sizes}; got "
                f"{given_sizes}: its state holds a weight per example, so drop or fill up a last, "
                "smaller batch"
            )
        model_state = state.model_state if model_state is None else model_state
        rng = step_keys(state.meta).forward if rng is None else rng
        alpha = learning_rate_at(learning_rate, state.meta.step)
        point = Point(params, model_state, rng, batch, meta_batch, alpha, descend)
        new = meta_update(problem_for(params, model_state), estimator, state.meta, point)
        return new.gradient, MetaReweightState(new.state, new.model_state, new.info)

    return optax.GradientTransformationExtraArgs(init, update)  # type: ignore[arg-type]


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x))
