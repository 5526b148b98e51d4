"""A meta loss without labels: do the last hidden layer and the output see the same neighbors?

Symbols: h_i = features of example i, p_i = softmax of its logits, cos = the cosine of two vectors,
[x] = x as a number (no derivative), τ = the temperature, n = batch size:

    q_ij = softmax_j(max(cos(h_i, h_j), 0) / τ)          the graph of the features
    g_ij = cos(p_i, p_j) / Σ_k cos(p_i, p_k)             the graph of the probabilities
    L = −(1/n) Σ_i Σ_j g_ij log [q_ij]

L is the cross-entropy between the graphs: the features' entropy where they are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.core.method import MetaLoss
from famus_jax.losses.cross_entropy import logits_of

PyTree = Any


def clid(temperature: float = 0.2) -> MetaLoss:
    """Cross-layer information divergence, for `meta_loss=` of any method: it reads no labels.

    The network must give its features: `{"logits", "features"}`, as from
    `linen_forward(model, features=True)`. Meta batches of a few hundred make a graph worth the name.
    *Differs from the released code*, which takes the row sums of g as numbers too, so that the rows of
    its g don't stay distributions where it is differentiated; and adds 1e-7 inside the logarithm.

    Args:
      temperature: τ, positive; 0.2 in the released settings.

    Returns:
      `(outputs, meta_batch) -> L`, a scalar.

    Raises:
      ValueError: for a temperature that is not positive; from the loss, for outputs without features.

    Source: Hu, Zhang, Zhang, Rundensteiner, CLID-MU: Cross-Layer Information Divergence Based Meta
    Update Strategy for Learning with Noisy Labels, KDD 2025, https://arxiv.org/abs/2507.11807; where
    only the code says it, as the code.

    Example:
      >>> outputs = {"logits": jnp.zeros((4, 3)), "features": jnp.ones((4, 2))}
      >>> round(float(clid()(outputs, {})), 4)  # all alike in both: log 4
      1.3863
    """
    if not temperature > 0:
        raise ValueError(f"clid: temperature must be positive; got {temperature}")

    def meta_loss(outputs: PyTree, batch: PyTree) -> jax.Array:
        del batch
        logits = logits_of(outputs)
        features = jax.lax.stop_gradient(features_of(outputs, "clid"))
        close = jnp.maximum(_cosines(features), 0) / temperature
        log_q = jax.nn.log_softmax(close.astype(jnp.promote_types(close.dtype, jnp.float32)))
        p = jax.nn.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
        alike = _cosines(p)
        g = alike / alike.sum(1, keepdims=True)
        return -(g * log_q).sum(1).mean()

    return meta_loss


def features_of(outputs: PyTree, whose: str) -> jax.Array:
    """The features [n, D] in a network's outputs; further axes are joined.

    Args:
      outputs: a mapping with `"features"`.
      whose: what reads them, for the message.

    Raises:
      ValueError: for outputs without features.

    Example:
      >>> features_of({"logits": jnp.zeros((2, 3)), "features": jnp.zeros((2, 4, 5))}, "clid").shape
      (2, 20)
    """
    found: Any = outputs.get("features") if isinstance(outputs, Mapping) else None
    if not hasattr(found, "ndim") or found.ndim < 2:
        held = type(outputs).__name__
        if isinstance(outputs, Mapping):
            held = f"a dict of {sorted(outputs)}"
        raise ValueError(
            f"{whose} reads the network's features, [n, D], and its outputs are {held}: use "
            'linen_forward(model, features=True), or return {"logits": ..., "features": ...}'
        )
    return found.reshape(found.shape[0], -1)


def _cosines(x: jax.Array) -> jax.Array:
    """[n, n]; a row of zeros has cosine 0 with all."""
    squares = (x**2).sum(1, keepdims=True)
    unit = x * jax.lax.rsqrt(jnp.where(squares > 0, squares, 1))
    return unit @ unit.T
