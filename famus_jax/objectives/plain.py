"""Plain training, the objective without a meta-model. Symbols: see `famus_jax.core.objective`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.losses import ExampleLoss, logits_of, softmax_cross_entropy
from famus_jax.core.objective import Objective

PyTree = Any


def cross_entropy(
    example_loss: ExampleLoss = softmax_cross_entropy, *, name: str = "cross_entropy"
) -> Objective:
    """Plain training: T = mean ℓ_i, no θ. With another `example_loss` its mean, under its `name`."""

    def loss(theta, outputs, batch):
        del theta
        losses = example_loss(outputs, batch)
        return losses.mean(), jnp.full_like(losses, 1 / losses.shape[0])

    return Objective(name, lambda key, n: (), loss, optax.identity(), example_loss)


def confidence_penalised(weight: float) -> ExampleLoss:
    """Cross-entropy minus `weight` times the prediction's entropy (DivideMix's warm-up).

    With structured noise a network soon is sure of its mistakes, and all losses look alike.
    """

    def example_loss(outputs: PyTree, batch: PyTree) -> jax.Array:
        losses = softmax_cross_entropy(outputs, batch)
        if not weight:
            return losses
        log_p = jax.nn.log_softmax(logits_of(outputs))
        return losses + weight * (jnp.exp(log_p) * log_p).sum(-1)

    return example_loss
