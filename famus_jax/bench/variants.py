"""The steps that are compared: a plain step, written without this library, and ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from famus_jax.adapters import linen_forward, linen_init
from famus_jax.core.estimators import Estimator, chosen, exact, second_order, top_k
from famus_jax.core.groups import LayerGroups
from famus_jax.core.objectives import mwnet
from famus_jax.core.tracing import layer_groups
from famus_jax.core.train_step import train_step
from famus_jax.models import build_model

PyTree = Any
LEARNING_RATE = 0.1


class Workload(NamedTuple):
    """A network and its batches.

    Attributes:
      model: a flax Linen module.
      params, model_state: its variables.
      batch, meta_batch: random images and labels, sizes n and m.
      groups: the layer groups.
    """

    model: Any
    params: PyTree
    model_state: PyTree
    batch: PyTree
    meta_batch: PyTree
    groups: LayerGroups


def make_workload(
    name: str, n: int, m: int, *, image_size: int = 32, channels: int = 3, num_classes: int = 10
) -> Workload:
    """A network of `famus_jax.models` on random data. Raises `ValueError` for an unknown one."""
    if n < 1 or m < 1:
        raise ValueError(f"batch sizes must be at least 1; got batch={n}, meta_batch={m}")
    model = build_model(name, num_classes)

    def batch(seed: int, size: int) -> PyTree:
        key_x, key_y = jax.random.split(jax.random.key(seed))
        image = jax.random.normal(key_x, (size, image_size, image_size, channels))
        return {"image": image, "label": jax.random.randint(key_y, (size,), 0, num_classes)}

    train, meta = batch(1, n), batch(2, m)
    params, model_state = linen_init(model, jax.random.key(0), train["image"][:1])
    groups = layer_groups(linen_forward(model), params, model_state, jax.random.key(0), train)
    return Workload(model, params, model_state, train, meta, groups)


def last_block(groups: LayerGroups) -> tuple[str, ...]:
    """The head and the residual block (or layer) below it, by name."""
    block = groups.names[-2].split("/")[0]
    return tuple(n for n in groups.names[:-1] if n.split("/")[0] == block) + groups.names[-1:]


def estimators(groups: LayerGroups) -> dict[str, Estimator]:
    """The estimators under comparison, by the names of the benchmark's rows."""
    block = last_block(groups)
    return {
        "second_order": second_order(),
        "vjp_layerwise": exact(route="vjp"),
        "exact": exact(),
        "famus_last_block": chosen(block),
        "famus_head": top_k(1),
        "one_pass_last_block": chosen(block, lookahead="one_pass"),
        "one_pass_head": top_k(1, lookahead="one_pass"),
        "active_only_last_block": chosen(block, lookahead="active_only"),
        "active_only_head": top_k(1, lookahead="active_only"),
    }


def optimizer() -> optax.GradientTransformation:
    """The same for every row: weight decay and momentum SGD."""
    return optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(LEARNING_RATE, momentum=0.9))


def lower_plain(work: Workload) -> tuple[Any, PyTree, tuple[PyTree, ...]]:
    """The honest denominator: value_and_grad of mean cross-entropy, BatchNorm update, optimiser.

    Returns:
      The lowered program, its first state, and its further arguments.
    """
    tx = optimizer()

    def step(state, batch):
        params, model_state, opt_state = state

        def loss(params):
            variables = {"params": params, **model_state}
            logits, new_state = work.model.apply(
                variables, batch["image"], train=True, mutable=list(model_state)
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
            return losses.mean(), new_state

        (value, model_state), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt_state = tx.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), model_state, opt_state), value

    params, model_state = jax.tree.map(jnp.copy, (work.params, work.model_state))
    state = (params, model_state, tx.init(params))
    return jax.jit(step, donate_argnums=0).lower(state, work.batch), state, (work.batch,)


def lower_ours(work: Workload, estimator: Estimator) -> tuple[Any, PyTree, tuple[PyTree, ...]]:
    """The library's own training step with MW-Net; returns as `lower_plain`."""
    step = train_step(
        linen_forward(work.model),
        mwnet(),
        estimator,
        optimizer(),
        learning_rate=LEARNING_RATE,
        params=work.params,
        model_state=work.model_state,
        batch=work.batch,
        groups=work.groups,
    )
    batches = (work.batch, work.meta_batch)
    state = step.init(jax.random.key(0), work.params, work.model_state, *batches)
    return step.lower(state, *batches), state, batches


def lowerings(work: Workload) -> dict[str, Callable[[], tuple[Any, PyTree, tuple[PyTree, ...]]]]:
    """Every row of the benchmark, `plain` first, as functions that lower it."""
    rows: dict[str, Callable] = {"plain": lambda: lower_plain(work)}
    for name, estimator in estimators(work.groups).items():
        rows[name] = lambda estimator=estimator: lower_ours(work, estimator)
    return rows
