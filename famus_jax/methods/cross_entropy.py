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
    """Plain training: T = mean ℓ_i, no θ.

    Args:
      example_loss: `(outputs, batch) -> ℓ [n]`; T is the mean of it.
      name: for messages and reports.

    Returns:
      A `Method`.

    Example:
      >>> batch = {"label": jnp.array([0, 1])}
      >>> loss, weights = cross_entropy().loss((), jnp.zeros((2, 4)), batch)
      >>> round(float(loss), 4), weights.tolist()  # log 4
      (1.3863, [0.5, 0.5])
    """

    def loss(theta, outputs, batch):
        del theta
        losses = example_loss(outputs, batch)
        return losses.mean(), jnp.full_like(losses, 1 / losses.shape[0])

    return Method(name, lambda key, n: (), loss, optax.identity(), example_loss)
