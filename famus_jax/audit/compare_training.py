"""Trainings that a comparison sets side by side: one network, one number of steps, other labels.

ELR (Liu et al., Early-Learning Regularization Prevents Memorization of Noisy Labels, NeurIPS 2020,
https://arxiv.org/abs/2007.00151): T = mean CE_i + λ log(1 - <p_i, t_i>), with a target t_i per example,
the running mean of its predictions p_i.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from famus_jax.audit.networks import Choice
from famus_jax.audit.training import predict
from famus_jax.core.method import Method
from famus_jax.core.problem import problem
from famus_jax.forward import linen_forward
from famus_jax.uses.train_step import TrainStep, train_step

ELR_STRENGTH, ELR_MOMENTUM = 3.0, 0.7  # λ and β of the paper for CIFAR-10
_META_BATCH = 32
_AUGMENT = int.from_bytes(b"AUGM")

OnSteps = Callable[[int], None]
_TOLD_EVERY = 20  # steps


class Setting(NamedTuple):
    """What all trainings share; compared and hashed by its content.

    Attributes:
      module, inputs: see `training.train_folds`.
      num_classes: C.
      steps: of every training.
      batch: examples of a step.
      learning_rate, weight_decay: as in `training.Plan`.
    """

    module: nn.Module
    inputs: Any
    num_classes: int
    steps: int
    batch: int
    learning_rate: float
    weight_decay: float


def setting_of(choice: Choice, num_classes: int, epochs: int, examples: int) -> Setting:
    """The audit's network and schedule, for `epochs` epochs of so many examples."""
    plan = choice.plan
    batch = min(plan.batch_size, examples)
    steps = max(1, epochs * (examples // batch))
    return Setting(
        choice.module, choice.inputs, num_classes, steps, batch, plan.learning_rate,
        plan.weight_decay,
    )  # fmt: skip


def batches_of(positions: np.ndarray, steps: int, batch: int, seed: int) -> np.ndarray:
    """int32 [steps, n]: the positions over and over, each time in another order.

    >>> batches_of(np.array([4, 7]), 3, 2, 0).shape
    (3, 2)
    """
    generator = np.random.default_rng((seed, len(positions)))
    rounds = -(-steps * batch // len(positions))
    order = np.concatenate([generator.permutation(positions) for _ in range(rounds)])
    return order[: steps * batch].reshape(steps, batch).astype(np.int32)


def train(
    setting: Setting,
    data: np.ndarray,
    labels: np.ndarray,
    order: np.ndarray,
    *,
    seed: int,
    strength: float = 0.0,
    on_steps: OnSteps | None = None,
) -> Any:
    """Variables of a network that was trained with cross-entropy, and ELR's term of that strength.

    Args:
      setting: see `Setting`.
      data: [N, ...], see `training.train_folds`.
      labels: int [N], known of all that `order` names.
      order: int [steps, n], the batches.
      seed: of the first parameters, the augmentation and dropout.
      strength: λ; 0 for cross-entropy alone.
      on_steps: called with the number of steps since the last call.

    Raises:
      FloatingPointError: for a network that has diverged.
    """
    state = _first(setting, data, seed)
    targets = jnp.zeros((len(data), setting.num_classes))
    key, weight = jax.random.key(seed), jnp.float32(strength)
    on_device = jnp.asarray(data), jnp.asarray(labels.astype(np.int32))
    for step in _told(order.shape[0], on_steps):
        state, targets = _step(
            setting, state, targets, *on_device, order[step], jax.random.fold_in(key, step), weight
        )
    return _checked(state[0])


def train_with_meta(
    step: TrainStep,
    setting: Setting,
    data: np.ndarray,
    labels: np.ndarray,
    order: np.ndarray,
    trusted: np.ndarray,
    *,
    seed: int,
    on_steps: OnSteps | None = None,
) -> Any:
    """As `train`, with a method that learns from trusted examples; `step` is of `meta_step`.

    Args:
      trusted: positions, whose labels are right; `labels` holds them too.
    """
    (variables, _) = _first(setting, data, seed)
    params, rest = variables["params"], {k: v for k, v in variables.items() if k != "params"}
    meta_order = batches_of(trusted, len(order), min(_META_BATCH, len(trusted)), seed + 1)

    def batch(at: np.ndarray) -> dict[str, np.ndarray]:
        return {"image": data[at], "label": labels[at].astype(np.int32)}

    twin = step.twin()
    state = twin.init(jax.random.key(seed), params, rest, batch(order[0]), batch(meta_order[0]))
    for number in _told(len(order), on_steps):
        state, _ = twin(state, batch(order[number]), batch(meta_order[number]))
    return _checked({"params": state.params, **state.model_state})


def meta_step(setting: Setting, method: Method) -> TrainStep:
    """The compiled step of a method, with its default estimator."""
    base = linen_forward(setting.module)

    def forward(params: Any, model_state: Any, rng: Any, batch: Any) -> Any:
        x = setting.inputs(batch["image"], jax.random.fold_in(rng, _AUGMENT), True)
        return base(params, model_state, rng, {"image": x})

    return train_step(
        problem(forward, method), _optimizer(setting), step_size=_schedule(setting),
        skip_nonfinite=True,
    )  # fmt: skip


def probabilities_at(
    setting: Setting, variables: Any, data: np.ndarray, at: np.ndarray
) -> np.ndarray:
    """float32 [n, C] of the examples `at`."""
    return predict(setting.module, variables, data, setting.inputs, at)


def _first(setting: Setting, data: np.ndarray, seed: int) -> tuple[Any, Any]:
    key = jax.random.key(seed)
    some = setting.inputs(jnp.asarray(data[:2]), key, False)
    variables = dict(setting.module.init(key, some))
    return variables, _optimizer(setting).init(variables["params"])


def _schedule(setting: Setting) -> optax.Schedule:
    """As in `training`: up for a tenth of the steps, then down as a cosine."""
    steps, high = setting.steps, setting.learning_rate
    return optax.warmup_cosine_decay_schedule(0.1 * high, high, steps // 10, max(steps, 2))


def _optimizer(setting: Setting) -> optax.GradientTransformation:
    return optax.chain(
        optax.scale_by_adam(),
        optax.add_decayed_weights(setting.weight_decay),
        optax.scale_by_learning_rate(_schedule(setting)),
    )


@functools.partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def _step(
    setting: Setting,
    state: tuple[Any, Any],
    targets: jax.Array,
    data: jax.Array,
    labels: jax.Array,
    at: jax.Array,
    key: jax.Array,
    strength: jax.Array,
) -> tuple[tuple[Any, Any], jax.Array]:
    variables, optimizer = state
    rest = {name: v for name, v in variables.items() if name != "params"}
    x, y = setting.inputs(data[at], key, True), labels[at]

    def loss(params: Any) -> tuple[jax.Array, Any]:
        logits, newer = setting.module.apply(
            {"params": params, **rest}, x, train=True, mutable=list(rest),
            rngs={"dropout": jax.random.fold_in(key, 1)},
        )  # fmt: skip
        target, term = early_learning(logits, targets[at])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return (losses + strength * term).mean(), (target, newer)

    gradient, (target, newer) = jax.grad(loss, has_aux=True)(variables["params"])
    updates, optimizer = _optimizer(setting).update(gradient, optimizer, variables["params"])
    params = optax.apply_updates(variables["params"], updates)
    return ({"params": params, **newer}, optimizer), targets.at[at].set(target)


def early_learning(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """ELR's new targets [n, C], and its term log(1 - <p, t>) [n], at those.

    >>> target, term = early_learning(jnp.zeros((1, 2)), jnp.array([[0.5, 0.5]]))
    >>> target.round(3).tolist(), round(float(term[0]), 4)  # log(1 - 1/2)
    ([[0.5, 0.5]], -0.6931)
    """
    p = jnp.clip(jax.nn.softmax(logits), 1e-4, 1 - 1e-4)
    said = jax.lax.stop_gradient(p / p.sum(-1, keepdims=True))
    target = ELR_MOMENTUM * targets + (1 - ELR_MOMENTUM) * said
    return target, jnp.log(1 - jnp.clip((p * target).sum(-1), 0, 1 - 1e-4))


def _told(steps: int, on_steps: OnSteps | None) -> Iterator[int]:
    """Numbers of steps; says how many are done now and then."""
    for step in range(steps):
        yield step
        done = step + 1
        if on_steps is not None and (done % _TOLD_EVERY == 0 or done == steps):
            on_steps(done % _TOLD_EVERY or _TOLD_EVERY)


def _checked(variables: Any) -> Any:
    for leaf in jax.tree.leaves(variables):
        if not bool(jnp.isfinite(leaf).all()):
            raise FloatingPointError(
                "a network of the comparison diverged: an input is far beyond the others"
            )
    return variables
