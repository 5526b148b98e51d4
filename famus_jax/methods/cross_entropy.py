"""Plain training, the method without a meta-model. Symbols: see `famus_jax.core.method`."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax

from famus_jax.core.method import ExampleLoss, Method
from famus_jax.losses import softmax_cross_entropy

PyTree = Any


def cross_entropy(
    example_loss: ExampleLoss = softmax_cross_entropy, *, name: str = "cross_entropy"
) -> Method:
    """Plain training: T = mean ℓ_i, no θ. With another `example_loss` its mean, under its `name`."""

    def loss(theta, outputs, batch):
        del theta
        losses = example_loss(outputs, batch)
        return losses.mean(), jnp.full_like(losses, 1 / losses.shape[0])

    return Method(name, lambda key, n: (), loss, optax.identity(), example_loss)
