"""Which network looks at which data, for how long."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.audit.training import Plan
from famus_jax.data.augment.crop_flip import crop_flip, shift
from famus_jax.data.augment.device import Augmentation
from famus_jax.data.batches.pixels import channel_statistics
from famus_jax.models.build import build_model

_STEPS = 6000  # of all epochs together, at most; small sets take fewer
# More features than this come from a pretrained network, or from texts: a linear classifier that
# learns slowly fits the rule and not the exceptions.
_WIDE = 256
_LEAST_EPOCHS, _MOST_EPOCHS = 8, 30


class Choice(NamedTuple):
    """A network, what it is given, and how long it trains.

    Attributes:
      name, overrides: as `models.build_model` takes them.
      module: that network.
      inputs: see `training.train_folds`.
      plan: see `training.Plan`.
      why: a sentence for the report.
    """

    name: str
    overrides: dict[str, Any]
    module: nn.Module
    inputs: Scaled
    plan: Plan
    why: str


@dataclasses.dataclass(frozen=True)
class Scaled:
    """Inputs of a network: centered and scaled, and, of images, augmented in training.

    Attributes:
      mean, std: per channel of images in [0, 1], or per feature; of a length that fits the last axis.
      augment: of images, or None.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augmentation | None = None

    def __call__(self, rows: jax.Array, key: jax.Array, train: bool) -> jax.Array:
        """rows uint8 [n, H, W, C] or float [n, D] -> float32 of the same shape."""
        x = rows.astype(jnp.float32)
        if rows.dtype == jnp.uint8:
            x = x / 255
        if train and self.augment is not None:
            x = self.augment(key, x)
        shape = (1,) * (x.ndim - 1) + (-1,)
        return (x - jnp.asarray(self.mean).reshape(shape)) / jnp.asarray(self.std).reshape(shape)


def choose(inputs: np.ndarray, num_classes: int, seconds: float | None = None) -> Choice:
    """A network and a schedule from the size and kind of the data.

    Features get a multilayer perceptron, images a small convolutional network.

    Args:
      inputs: uint8 [N, H, W, C] or float [N, D].
      num_classes: C.
      seconds: at most so many for training; None: no limit.

    >>> choose(np.zeros((100, 8, 8, 1), np.uint8), 10).name
    'cnn'
    """
    steps = max(1, len(inputs) * 3 // 4 // 64)
    epochs = int(np.clip(_STEPS // steps, _LEAST_EPOCHS, _MOST_EPOCHS))
    if inputs.ndim == 2:
        mean = inputs.mean(0)
        # One scale for all: a feature that hardly varies is not made as loud as the others. And the
        # same length whatever the dimension, since that sets how fast a network learns.
        length = float(np.sqrt(((inputs - mean) ** 2).sum(1).mean()))
        wide = inputs.shape[1] > _WIDE
        std = np.full_like(mean, max(length / (10.0 if wide else 4.0), 1e-6))
        overrides: dict[str, Any] = {"hidden": ()} if wide else {"hidden": (256,), "dropout": 0.5}
        module = build_model("mlp", num_classes, **overrides)
        scaled = Scaled(tuple(mean.tolist()), tuple(std.tolist()))
        plan = Plan(epochs, learning_rate=3e-4 if wide else 1e-3, seconds=seconds)
        why = "a linear classifier" if wide else "a perceptron with one hidden layer"
        return Choice("mlp", overrides, module, scaled, plan, f"{why} on the features")
    mean, std = channel_statistics(inputs)
    gray = inputs.shape[-1] == 1
    augment = shift(1) if gray or min(inputs.shape[1:3]) < 16 else crop_flip(padding=2)
    scaled = Scaled(tuple(np.ravel(mean).tolist()), tuple(np.ravel(std).tolist()), augment)
    overrides = {}
    module = build_model("cnn", num_classes, **overrides)
    plan = Plan(epochs, vmapped=False, seconds=seconds)
    return Choice("cnn", overrides, module, scaled, plan, "a small convolutional network")
