"""Per-example losses ℓ_i and meta losses. Any function of the same shape does as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

PyTree = Any
ExampleLoss = Callable[[PyTree, PyTree], jax.Array]
MetaLoss = Callable[[PyTree, PyTree], jax.Array]


def softmax_cross_entropy(outputs: PyTree, batch: PyTree) -> jax.Array:
    """Cross-entropy of integer labels, float [n].

    Args:
      outputs: logits [n, C], or a dict that holds them under `"logits"`.
      batch: a mapping with `"label"`, int [n] in 0..C-1.
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
    """The logits [n, C] of outputs that are logits, or a dict that holds them under `"logits"`."""
    return outputs["logits"] if isinstance(outputs, dict) else outputs


def mean_of(example_loss: ExampleLoss) -> MetaLoss:
    """The meta loss L_val as the plain mean of a per-example loss, a scalar."""
    return lambda outputs, batch: example_loss(outputs, batch).mean()
