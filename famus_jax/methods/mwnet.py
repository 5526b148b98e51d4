"""Meta-Weight-Net: a small net from loss to weight. Symbols: see `famus_jax.core.method`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import ExampleLoss, MetaLoss, Method
from famus_jax.losses import Normalization, normalizer, softmax_cross_entropy

PyTree = Any


def mwnet(
    example_loss: ExampleLoss = softmax_cross_entropy,
    *,
    hidden: int = 100,
    normalize: Normalization = "sum",
    meta_optimizer: optax.GradientTransformation | None = None,
    meta_loss: MetaLoss | None = None,
) -> Method:
    """Meta-Weight-Net: V_i = sigmoid(MLP(ℓ_i)), T = Σ V_i ℓ_i, with V over its sum or over n.

    The weighting net 1–`hidden`–1 (ReLU inside) sees the loss as a number: no derivative flows into
    the network through it.

    Args:
      example_loss: `(outputs, batch) -> ℓ [n]`.
      hidden: hidden units.
      normalize: `"sum"` divides V by Σ V over the batch (0 when every V is 0), `"n"` by n.
      meta_optimizer: by default SGD, 1e-3, momentum 0.9 (paper, supplement).
      meta_loss: `(outputs, meta_batch) -> ()`; by default the mean of `example_loss`. (With a loss
        that is made for the training set, such as `ldam`, give one for the meta set.)

    Raises:
      ValueError: for another `normalize`.

    Source: Shu et al., Meta-Weight-Net, NeurIPS 2019.
    """
    scale = normalizer(normalize)

    def init(key, n):
        del n
        keys = jax.random.split(key, 4)
        bound = 1 / hidden**0.5

        def uniform(key, shape, bound):
            return jax.random.uniform(key, shape, jnp.float32, -bound, bound)

        return {
            "kernel_1": uniform(keys[0], (1, hidden), 1.0),
            "bias_1": uniform(keys[1], (hidden,), 1.0),
            "kernel_2": uniform(keys[2], (hidden, 1), bound),
            "bias_2": uniform(keys[3], (1,), bound),
        }

    def loss(theta, outputs, batch):
        losses = example_loss(outputs, batch)
        weights = scale(mwnet_weight(theta, jax.lax.stop_gradient(losses)))
        return jnp.vdot(weights, losses), weights

    meta_optimizer = meta_optimizer or optax.sgd(1e-3, momentum=0.9)
    return Method(
        name="mwnet",
        init=init,
        loss=loss,
        meta_optimizer=meta_optimizer,
        example_loss=example_loss,
        meta_loss=meta_loss,
    )


def mwnet_weight(theta: PyTree, losses: jax.Array) -> jax.Array:
    """The weighting net of `mwnet` by itself: losses [n] -> V in (0, 1), [n], not normalized."""
    x = losses[:, None].astype(theta["kernel_1"].dtype)
    hidden = jax.nn.relu(x @ theta["kernel_1"] + theta["bias_1"][None, :])
    return jax.nn.sigmoid(hidden @ theta["kernel_2"] + theta["bias_2"][None, :])[:, 0]
