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

from famus_jax.core.estimator import Estimator
from famus_jax.core.problem import Inputs, Problem
from famus_jax.core.programs import has_programs
from famus_jax.core.state import MetaState, StepInfo, init_state, step_keys
from famus_jax.core.trainable import split_of
from famus_jax.core.update import meta_update
from famus_jax.layers.partition import Layers
from famus_jax.uses.dispatch import warn_if_switching_on_cpu
from famus_jax.uses.reweighter import StepSize, at_step, chosen_estimator

PyTree = Any


class ReweightState(NamedTuple):
    """The state of `reweight`: nothing in it has a batch's size.

    Attributes:
      meta: θ, its optimizer, what the active layers learn, step and key.
      model_state: the model state after the last training batch; `optax.tree.get(opt_state,
        "model_state")` reads it from a whole chain's state.
    """

    meta: MetaState
    model_state: PyTree

    @property
    def info(self) -> StepInfo:
        """Diagnostics of the last update; `optax.tree.get(opt_state, "info")` from a chain's."""
        return self.meta.info


def reweight(
    problem: Problem,
    estimator: Estimator | None = None,
    *,
    step_size: StepSize,
    key: jax.Array,
    model_state: PyTree = (),
    num_examples: int | None = None,
    num_meta_examples: int | None = None,
    layers: Layers | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Replaces incoming updates by the gradient of the reweighted loss.

    Put it first: `optax.chain(reweight(...), optax.add_decayed_weights(5e-4), optax.sgd(...))`. The
    updates that come in are not looked at: pass None, or a `jax.grad` that `jit` then eliminates.
    `update` needs `params`, `batch=` and `meta_batch=`; with `model_state=` it starts from that model
    state instead of its own; `rng=` gives the key of the forward passes, `optimizer_update=` what the
    rest of your chain would do with a gradient (for `through_optimizer=True`; see `Reweighter`), and
    `optimizer=` the rest of your chain itself and its state (for `look_ahead(k)`).
    Other extra arguments are ignored. Batches may differ in size from call to call, a last smaller
    one included, unless θ holds a number per example from batch to batch.

    `optax.masked`, `multi_transform` and `MultiSteps` belong *behind* it in the chain: around it they
    would hide parameters from the forward pass, or all micro-batches but the last.

    With `problem(..., trainable=)` the gradient of a frozen parameter is 0. What follows would still
    keep moments for it, and move it by weight decay: `optax.masked(optimizer, problem.mask)` does
    neither.

    `optax.apply_if_finite` belongs there too: after a batch that gives NaN it leaves the parameters
    alone, and this transformation θ and the model state; `optax.tree.get(opt_state, "skipped")`
    counts such batches.

    Inside `flax.nnx.Optimizer` it works as in any chain; docs/networks.md shows how the running
    statistics get back into the module.

    With an `axis`, its state and what it returns are alike on every device; the optimizer behind it
    then does the same on each.

    Args:
      problem: from `problem`.
      estimator: see `reweighter`.
      step_size: see `reweighter`.
      key: a PRNG key for θ and for draws; a plain `jax.random.PRNGKey` if your checkpoints know
        plain arrays only.
      model_state: the model state to start from.
      num_examples: the batch size, for methods that carry a number per example, and for active
        layers that compare costs (`learned_gates("budget")`).
      num_meta_examples: the meta batch size; by default the batch size.
      layers: the layers of the network (`find_layers(..., loss=)`), for active layers that are
        drawn; those of the problem, by default.

    Returns:
      An `optax.GradientTransformationExtraArgs` whose state is a `ReweightState`.

    Raises:
      ValueError: from `init` or when `update` is traced, naming what is missing or wrong.

    Example:
      >>> import famus_jax as famus
      >>> problem = famus.problem(famus.stateless_forward(lambda w, x: x @ w, input="x"), famus.l2r())
      >>> tx = optax.chain(reweight(problem, step_size=0.1, key=jax.random.key(0)), optax.sgd(0.1))
      >>> w = jnp.zeros((2, 2))
      >>> trusted = {"x": jnp.eye(2), "label": jnp.array([0, 1])}
      >>> batch = {"x": jnp.eye(2), "label": jnp.array([0, 0])}  # the second label is wrong
      >>> state = tx.init(w)
      >>> updates, state = tx.update(None, state, w, batch=batch, meta_batch=trusted)
      >>> updates.tolist()  # only the first example counts
      [[0.05000000074505806, -0.05000000074505806], [-0.0, -0.0]]
    """
    estimator = chosen_estimator(problem, estimator)
    problem = problem._replace(layers=layers or problem.layers)

    def init(params: PyTree) -> ReweightState:
        _refuse_masked(params)
        if has_programs(estimator):
            warn_if_switching_on_cpu()
        meta = init_state(problem, estimator, key, params, num_examples, num_meta_examples)
        return ReweightState(meta, jax.tree.map(jnp.copy, model_state))

    def update(
        updates: PyTree,
        state: ReweightState,
        params: PyTree | None = None,
        *,
        batch: PyTree = None,
        meta_batch: PyTree = None,
        model_state: PyTree = None,
        rng: jax.Array | None = None,
        optimizer_update: Callable[[PyTree], PyTree] | None = None,
        optimizer: tuple[Callable[..., Any], PyTree] | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, ReweightState]:
        del updates, extra_args
        given = {"params": params, "batch": batch, "meta_batch": meta_batch}
        missing = [name for name, value in given.items() if value is None]
        if missing:
            raise ValueError(
                f"reweight needs {' and '.join(missing)}: call "
                "optimizer.update(None, opt_state, params, batch=batch, meta_batch=meta_batch)"
            )
        _refuse_masked(params)
        model_state = state.model_state if model_state is None else model_state
        rng = step_keys(state.meta.key, state.meta.step).forward if rng is None else rng
        alpha = at_step(step_size, state.meta.step)
        inputs = Inputs(
            params, model_state, rng, batch, meta_batch, alpha, optimizer_update, optimizer
        )
        new = meta_update(problem, estimator, state.meta, inputs)
        gradient = split_of(problem.trainable, params).whole_gradient(new.gradient, params)
        return gradient, ReweightState(new.state, new.model_state)

    return optax.GradientTransformationExtraArgs(init, update)  # type: ignore[arg-type]


def _refuse_masked(params: PyTree) -> None:
    """Raises `ValueError` if a wrapper around the transformation hides parameters."""
    nodes = jax.tree.leaves(params, is_leaf=lambda x: isinstance(x, optax.MaskedNode))
    if any(isinstance(x, optax.MaskedNode) for x in nodes):
        raise ValueError(
            "reweight must see all parameters, to run the forward pass, but optax.masked or "
            "multi_transform around it hides some: put it behind, "
            "optax.chain(reweight(...), optax.masked(...))"
        )
