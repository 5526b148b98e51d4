"""Plain training, the objective without a meta-model. Symbols: see `famus_jax.core.objective`."""

from __future__ import annotations

import jax.numpy as jnp
import optax

from famus_jax.core.losses import ExampleLoss, softmax_cross_entropy
from famus_jax.core.objective import Objective


def cross_entropy(
    example_loss: ExampleLoss = softmax_cross_entropy, *, name: str = "cross_entropy"
) -> Objective:
    """Plain training: T = mean ℓ_i, no θ. With another `example_loss` its mean, under its `name`."""

    def loss(theta, outputs, batch):
        del theta
        losses = example_loss(outputs, batch)
        return losses.mean(), jnp.full_like(losses, 1 / losses.shape[0])

    return Objective(name, lambda key, n: (), loss, optax.identity(), example_loss)
