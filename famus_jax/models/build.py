"""Networks by name, for configs and command lines."""

import dataclasses
import difflib
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn

from famus_jax.models.cifar_resnet import CifarResNet
from famus_jax.models.efficientnet_lite import EfficientNetLite0
from famus_jax.models.inception_resnet_v2 import InceptionResNetV2
from famus_jax.models.preact_resnet import PreActResNet18
from famus_jax.models.resnet import ResNet34, ResNet50
from famus_jax.models.simple import MLP, SmallCNN
from famus_jax.models.wide_resnet import WideResNet

MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "cnn": SmallCNN,
    "wrn_10_2": partial(WideResNet, depth=10, width=2),
    "wrn_28_2": partial(WideResNet, depth=28, width=2),
    "wrn_28_10": partial(WideResNet, depth=28, width=10),
    "wrn_40_2": partial(WideResNet, depth=40, width=2),
    "preact_resnet_18": PreActResNet18,
    "resnet_32": CifarResNet,
    "resnet_34": ResNet34,
    "resnet_50": ResNet50,
    "inception_resnet_v2": InceptionResNetV2,
    "efficientnet_lite0": EfficientNetLite0,
}


def build_model(name: str, num_classes: int, **overrides: Any) -> nn.Module:
    """Builds the network called `name`.

    Args:
      name: a key of `MODELS`.
      num_classes: width of the output, at least 1.
      overrides: any other attribute of the network, for instance `norm="group"`,
        `dtype=jnp.bfloat16`, `dropout=0.3`.

    Returns:
      a flax Linen module; `module.apply(variables, images, train=bool)` gives logits.

    Raises:
      ValueError: an unknown name or an impossible `num_classes`.
      TypeError: an attribute that the network doesn't have.

    >>> model = build_model("wrn_28_10", 10, dropout=0.3)
    >>> (model.depth, model.width, model.dropout)
    (28, 10, 0.3)
    """
    if name not in MODELS:
        known = ", ".join(sorted(MODELS))
        near = difflib.get_close_matches(str(name), MODELS, n=1, cutoff=0.4)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown model {name!r}.{guess} Known: {known}.")
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(
            f"num_classes must be a positive whole number, got {num_classes!r} for {name!r}."
        )
    make = MODELS[name]
    cls: Any = make.func if isinstance(make, partial) else make
    names = {field.name for field in dataclasses.fields(cls)}
    fields = sorted(names - {"parent", "name", "num_classes"})
    if unknown := sorted(set(overrides) - set(fields)):
        raise TypeError(
            f"model {name!r} has no attribute {', '.join(map(repr, unknown))}; it takes "
            f"{', '.join(fields)}."
        )
    return make(num_classes=num_classes, **overrides)
