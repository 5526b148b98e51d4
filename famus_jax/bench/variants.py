"""The programs that are compared: a plain step, written without this library, and ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from famus_jax.core.estimators import Estimator
from famus_jax.core.forwards import compute_in, rematerialise
from famus_jax.core.groups import LayerGroups
from famus_jax.core.linearize import Forward
from famus_jax.core.losses import mean_of, softmax_cross_entropy
from famus_jax.core.objective import Objective
from famus_jax.core.problem import Problem
from famus_jax.core.tracing import layer_groups
from famus_jax.core.train_step import TrainStep
from famus_jax.core.variants import Variant
from famus_jax.forward import linen_forward, linen_init
from famus_jax.models import build_model
from famus_jax.objectives import l2r, mwnet

PyTree = Any
Lowered = tuple[Any, PyTree, tuple[PyTree, ...]]
LEARNING_RATE = 0.1
DTYPES = ("float32", "bfloat16")
METHODS: dict[str, Callable[[], Objective]] = {"mwnet": mwnet, "l2r": l2r}


class Workload(NamedTuple):
    """A network and its batches.

    Attributes:
      model: a flax Linen module.
      forward: its forward pass, as our steps run it.
      params, model_state: its variables.
      batch, meta_batch: random images and labels, sizes n and m.
      groups: the layer groups, one per module.
      dtype: what the network computes in (the plain step too).
      micro_batches: our steps' passes over the training batch go so many examples' parts at a time.
    """

    model: nn.Module
    forward: Forward
    params: PyTree
    model_state: PyTree
    batch: PyTree
    meta_batch: PyTree
    groups: LayerGroups
    dtype: str = "float32"
    micro_batches: int = 1

    @property
    def n(self) -> int:
        """Training batch size."""
        return self.batch["label"].shape[0]

    @property
    def m(self) -> int:
        """Meta batch size."""
        return self.meta_batch["label"].shape[0]

    def problem(self, method: str = "mwnet", by: str = "module") -> Problem:
        """What is learned: by a method of `METHODS`, with groups by `"module"` or `"tensor"`."""
        groups = self.groups
        if by != "module":
            arguments = (self.params, self.model_state, jax.random.key(0), self.batch)
            groups = layer_groups(self.forward, *arguments, by=by)
        loss = mean_of(softmax_cross_entropy)
        objective = METHODS[method]()
        return Problem(self.forward, objective, loss, groups, micro_batches=self.micro_batches)


def make_workload(
    model: str | nn.Module,
    n: int,
    m: int,
    *,
    image_size: int = 32,
    channels: int = 3,
    num_classes: int = 10,
    dtype: str = "float32",
    remat: bool = False,
    micro_batches: int = 1,
) -> Workload:
    """A network on random data.

    Args:
      model: a name of `famus_jax.models`, or a Linen module.
      n, m: training and meta batch size.
      image_size: height and width in pixels.
      channels, num_classes: of the images.
      dtype: what the network computes in, `"float32"` or `"bfloat16"`; parameters stay float32.
      remat: rematerialise everything but convolutions and products in our backward passes.
      micro_batches: run our passes over the training batch in so many parts.

    Raises:
      ValueError: for an unknown model or dtype, or sizes that can't be.
    """
    if n < 1 or m < 1:
        raise ValueError(f"batch sizes must be at least 1; got batch={n}, meta_batch={m}")
    if image_size < 1:
        raise ValueError(f"image_size must be at least 1 pixel; got {image_size}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}; got {dtype!r}")
    if micro_batches < 1 or n % micro_batches:
        raise ValueError(f"micro_batches={micro_batches} must divide the batch size {n}")
    if isinstance(model, str):
        model = build_model(model, num_classes)

    def batch(seed: int, size: int) -> PyTree:
        key_x, key_y = jax.random.split(jax.random.key(seed))
        image = jax.random.normal(key_x, (size, image_size, image_size, channels))
        return {"image": image, "label": jax.random.randint(key_y, (size,), 0, num_classes)}

    train, meta = batch(1, n), batch(2, m)
    params, model_state = linen_init(model, jax.random.key(0), train["image"][:1])
    forward = linen_forward(model)
    groups = layer_groups(forward, params, model_state, jax.random.key(0), train)
    if dtype != "float32":
        forward = compute_in(forward, jnp.dtype(dtype))
    if remat:
        forward = rematerialise(forward)
    return Workload(model, forward, params, model_state, train, meta, groups, dtype, micro_batches)


def optimizer() -> optax.GradientTransformation:
    """The same for every row: weight decay and momentum SGD."""
    return optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(LEARNING_RATE, momentum=0.9))


def lower_plain(work: Workload) -> Lowered:
    """The honest denominator: value_and_grad of mean cross-entropy, BatchNorm update, optimiser.

    In the workload's dtype, but neither rematerialised nor in micro-batches.

    Returns:
      The lowered program, its first state, and its further arguments.
    """
    tx = optimizer()

    def forward(params, model_state, rng, batch):
        del rng
        variables = {"params": params, **model_state}
        return work.model.apply(variables, batch["image"], train=True, mutable=list(model_state))

    if work.dtype != "float32":
        forward = compute_in(forward, jnp.dtype(work.dtype))

    def step(state, batch):
        params, model_state, opt_state = state

        def loss(params):
            logits, new_state = forward(params, model_state, jax.random.key(0), batch)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
            return losses.mean(), new_state

        (value, model_state), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt_state = tx.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), model_state, opt_state), value

    params, model_state = jax.tree.map(jnp.copy, (work.params, work.model_state))
    state = (params, model_state, tx.init(params))
    return jax.jit(step, donate_argnums=0).lower(state, work.batch), state, (work.batch,)


def lower_ours(
    work: Workload,
    estimator: Estimator,
    variant: Variant | None = None,
    *,
    method: str = "mwnet",
    by: str = "module",
) -> Lowered:
    """The library's own training step; returns as `lower_plain`.

    Args:
      work: the network.
      estimator: how the meta gradient is estimated.
      variant: which compiled variant; None for the only one.
      method, by: see `Workload.problem`.
    """
    step = TrainStep(work.problem(method, by), estimator, optimizer(), LEARNING_RATE)
    batches = (work.batch, work.meta_batch)
    state = step.init(jax.random.key(0), work.params, work.model_state, *batches)
    return step.lower(state, *batches, variant=variant), state, batches
