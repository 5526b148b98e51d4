"""A network on random data, and the programs that are compared on it: a plain step and ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from famus_jax.core.estimator import Estimator
from famus_jax.core.method import Method
from famus_jax.core.problem import Problem, problem
from famus_jax.core.programs import Program
from famus_jax.differentiate.linearize import Forward
from famus_jax.forward import linen_forward, linen_init
from famus_jax.forward.wrappers import compute_in, rematerialize
from famus_jax.layers.find import find_layers
from famus_jax.layers.partition import Layers
from famus_jax.methods import l2r, mwnet
from famus_jax.models import build_model
from famus_jax.uses.train_step import TrainStep, train_step

PyTree = Any
Lowered = tuple[Any, PyTree, tuple[PyTree, ...]]
Place = Callable[[PyTree, tuple[PyTree, ...]], tuple[PyTree, tuple[PyTree, ...]]]
"""Puts a state and batches where a program is compiled for; shapes without values will do."""
LEARNING_RATE = 0.1
METHODS: dict[str, Callable[[], Method]] = {"mwnet": mwnet, "l2r": l2r}


class Workload(NamedTuple):
    """A network and its batches.

    Attributes:
      model: a flax Linen module.
      forward: its forward pass, as our steps run it.
      params, model_state: its variables.
      batch, meta_batch: random images and labels, sizes n and m.
      layers: the layers, one per module.
      dtype: what the network computes in (the plain step too).
      micro_batches: in how many parts our steps pass over the training batch.
    """

    model: nn.Module
    forward: Forward
    params: PyTree
    model_state: PyTree
    batch: PyTree
    meta_batch: PyTree
    layers: Layers
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
        """What is learned: by a method of `METHODS`, with layers by `"module"` or `"tensor"`."""
        layers = self.layers
        if by != "module":
            arguments = (self.params, self.model_state, jax.random.key(0), self.batch)
            layers = find_layers(self.forward, *arguments, by=by)
        learned, count = METHODS[method](), self.micro_batches
        return problem(self.forward, learned, layers=layers, micro_batches=count)

    def train_step(
        self,
        estimator: Estimator,
        method: str = "mwnet",
        by: str = "module",
        compile_with: Callable[..., Any] | None = None,
    ) -> tuple[TrainStep, PyTree, tuple[PyTree, PyTree]]:
        """The library's training step, its first state, and its batches."""
        step = train_step(
            self.problem(method, by),
            optimizer(),
            estimator,
            step_size=LEARNING_RATE,
            compile_with=compile_with,
        )
        batches = (self.batch, self.meta_batch)
        state = step.init(jax.random.key(0), self.params, self.model_state, *batches)
        return step, state, batches


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
      remat: rematerialize everything but convolutions and products in our backward passes.
      micro_batches: run our passes over the training batch in so many parts.

    Raises:
      ValueError: for an unknown model or dtype, or sizes that can't be.
    """
    if n < 1 or m < 1:
        raise ValueError(f"batch sizes must be at least 1; got batch={n}, meta_batch={m}")
    if image_size < 1:
        raise ValueError(f"image_size must be at least 1 pixel; got {image_size}")
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype must be 'float32' or 'bfloat16'; got {dtype!r}")
    if micro_batches < 1 or n % micro_batches:
        raise ValueError(f"micro_batches={micro_batches} must divide the batch size {n}")
    if isinstance(model, str):
        model = build_model(model, num_classes)

    def batch(seed: int, size: int) -> PyTree:
        key_x, key_y = jax.random.split(jax.random.key(seed))
        image = jax.random.normal(key_x, (size, image_size, image_size, channels))
        return {"image": image, "label": jax.random.randint(key_y, (size,), 0, num_classes)}

    train = batch(1, n)
    params, model_state = linen_init(model, jax.random.key(0), train["image"][:1])
    forward = linen_forward(model)
    layers = find_layers(forward, params, model_state, jax.random.key(0), train)
    if dtype != "float32":
        forward = compute_in(forward, jnp.dtype(dtype))
    if remat:
        forward = rematerialize(forward)
    return Workload(
        model=model,
        forward=forward,
        params=params,
        model_state=model_state,
        batch=train,
        meta_batch=batch(2, m),
        layers=layers,
        dtype=dtype,
        micro_batches=micro_batches,
    )


def optimizer() -> optax.GradientTransformation:
    """The same for every row: weight decay and momentum SGD."""
    return optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(LEARNING_RATE, momentum=0.9))


def plain_phases(work: Workload) -> dict[str, Callable[..., PyTree]]:
    """Plain training, written without this library: the honest denominator of every ratio.

    Mean cross-entropy, BatchNorm update, optimizer; not rematerialized, not in micro-batches.

    Returns:
      `{"forward", "backward", "step"}`, each `((params, model_state, opt_state), batch) -> results` and
      with all phases before it; the last gives `(new state, loss)`.
    """
    tx = optimizer()

    def apply(params, model_state, rng, batch):
        del rng
        variables = {"params": params, **model_state}
        return work.model.apply(variables, batch["image"], train=True, mutable=list(model_state))

    network = apply if work.dtype == "float32" else compute_in(apply, jnp.dtype(work.dtype))

    def loss(params, model_state, batch):
        logits, new_state = network(params, model_state, jax.random.key(0), batch)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        return losses.mean(), new_state

    def forward(state, batch):
        params, model_state, _ = state
        return loss(params, model_state, batch)

    def backward(state, batch):
        return jax.value_and_grad(loss, has_aux=True)(*state[:2], batch)

    def step(state, batch):
        (value, model_state), gradient = backward(state, batch)
        updates, opt_state = tx.update(gradient, state[2], state[0])
        return (optax.apply_updates(state[0], updates), model_state, opt_state), value

    return {"forward": forward, "backward": backward, "step": step}


def here(state: PyTree, batches: tuple[PyTree, ...]) -> tuple[PyTree, tuple[PyTree, ...]]:
    """Where they are: a `Place`."""
    return state, batches


def lower_plain(
    work: Workload, place: Place = here, compile_with: Callable[..., Any] | None = None
) -> Lowered:
    """The plain step, lowered; its first state; its further arguments."""
    params, model_state = jax.tree.map(jnp.copy, (work.params, work.model_state))
    state, batches = (params, model_state, optimizer().init(params)), (work.batch,)
    if compile_with is None:
        step = jax.jit(plain_phases(work)["step"], donate_argnums=0)
    else:  # it expects three results, as our steps have them
        plain = plain_phases(work)["step"]
        step = compile_with(lambda state, batch: (*plain(state, batch), ()))
    placed, rest = place(state, batches)
    return step.lower(placed, *rest), state, batches


def lower_ours(
    work: Workload,
    estimator: Estimator,
    program: Program | None = None,
    *,
    method: str = "mwnet",
    by: str = "module",
    place: Place = here,
    compile_with: Callable[..., Any] | None = None,
) -> Lowered:
    """One program of the library's own training step; returns as `lower_plain`.

    `program` says which; None: the only one, or all of them in a `lax.switch`.
    """
    step, state, batches = work.train_step(estimator, method, by, compile_with)
    placed, rest = place(state, batches)
    return step.lower(placed, *rest, program=program), state, batches
