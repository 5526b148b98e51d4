"""Cross-entropy, and what penalizes being sure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import ExampleLoss

PyTree = Any


def softmax_cross_entropy(outputs: PyTree, batch: PyTree) -> jax.Array:
    """Cross-entropy of integer labels.

    Args:
      outputs: logits [n, C], or a dict that holds them under `"logits"`.
      batch: a mapping with `"label"`, int [n] in 0..C-1.

    Returns:
      float [n].

    Raises:
      ValueError: for a batch without labels.

    Example:
      >>> logits, batch = jnp.log(jnp.array([[4.0, 1.0]])), {"label": jnp.array([0])}
      >>> round(float(softmax_cross_entropy(logits, batch)[0]), 4)  # −log 0.8
      0.2231
    """
    logits = logits_of(outputs)
    if not isinstance(batch, Mapping) or "label" not in batch:
        held = sorted(batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(
            f'softmax_cross_entropy reads batch["label"]; this batch holds {held}: name it so, or '
            "pass an example_loss of your own to the method, e.g. mwnet(my_loss)"
        )
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])


def logits_of(outputs: PyTree) -> jax.Array:
    """The logits [n, C] of outputs that are logits, or a dict that holds them under `"logits"`.

    Args:
      outputs: what the network returned.

    Example:
      >>> logits_of({"logits": jnp.zeros((2, 3)), "features": jnp.zeros((2, 8))}).shape
      (2, 3)
    """
    return outputs["logits"] if isinstance(outputs, dict) else outputs


def confidence_penalized(weight: float) -> ExampleLoss:
    """Cross-entropy minus `weight` times the prediction's entropy (DivideMix's warm-up).

    With structured noise a network soon is sure of its mistakes, and all losses look alike.

    Args:
      weight: 0 for cross-entropy itself.

    Source: Li et al., DivideMix, ICLR 2020, https://arxiv.org/abs/2002.07394.

    Example:
      >>> batch = {"label": jnp.array([0])}
      >>> float(confidence_penalized(1.0)(jnp.zeros((1, 2)), batch)[0])  # log 2 − log 2
      0.0
    """

    def example_loss(outputs: PyTree, batch: PyTree) -> jax.Array:
        losses = softmax_cross_entropy(outputs, batch)
        if not weight:
            return losses
        log_p = jax.nn.log_softmax(logits_of(outputs))
        return losses + weight * (jnp.exp(log_p) * log_p).sum(-1)

    return example_loss
