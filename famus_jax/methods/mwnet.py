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
    """Meta-Weight-Net: a small net gives every example its weight, from its loss alone.

    V_i = sigmoid(MLP(ℓ_i)) and T = Σ V_i ℓ_i, with V over its sum or over n. The weighting net
    1–`hidden`–1 (ReLU inside) sees the loss as a number: no derivative flows into the network through
    it.

    Args:
      example_loss: `(outputs, batch) -> ℓ [n]`.
      hidden: hidden units.
      normalize: `"sum"` divides V by Σ V over the batch (0 when every V is 0), `"n"` by n.
      meta_optimizer: by default SGD, 1e-3, momentum 0.9 (paper, supplement).
      meta_loss: `(outputs, meta_batch) -> ()`; by default the mean of `example_loss`. (With a loss
        that is made for the training set, such as `ldam`, give one for the meta set.)

    Raises:
      ValueError: for another `normalize`.

    Returns:
      A `Method`.

    Source: Shu et al., Meta-Weight-Net: Learning an Explicit Mapping For Sample Weighting, NeurIPS
    2019, https://arxiv.org/abs/1902.07379.

    Example:
      >>> method = mwnet(hidden=10)
      >>> theta = method.init(jax.random.key(0), 2)
      >>> batch = {"label": jnp.array([0, 1])}
      >>> loss, weights = method.loss(theta, jnp.zeros((2, 4)), batch)
      >>> round(float(loss), 4), weights.tolist()  # equal losses, equal weights
      (1.3863, [0.5, 0.5])
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
    """The weighting net of `mwnet` by itself, to plot what it has learned.

    Args:
      theta: θ, from the method's `init` or a state.
      losses: ℓ, float [n].

    Returns:
      V in (0, 1), float [n], not normalized.

    Example:
      >>> theta = mwnet().init(jax.random.key(0), 1)
      >>> mwnet_weight(theta, jnp.linspace(0, 5, 3)).shape
      (3,)
    """
    x = losses[:, None].astype(theta["kernel_1"].dtype)
    hidden = jax.nn.relu(x @ theta["kernel_1"] + theta["bias_1"][None, :])
    return jax.nn.sigmoid(hidden @ theta["kernel_2"] + theta["bias_2"][None, :])[:, 0]
