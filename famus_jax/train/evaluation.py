"""Accuracy that counts every example once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.core.linearize import Forward

PyTree = Any


class Evaluator:
    """Accuracy of a network on padded batches, compiled once for all runs of an experiment."""

    def __init__(self, forward: Forward):
        """`forward` in evaluation mode: running statistics, no dropout."""

        def correct(params: PyTree, model_state: PyTree, batch: PyTree) -> jax.Array:
            logits, _ = forward(params, model_state, None, batch)  # type: ignore[arg-type]
            hit = (logits.argmax(-1) == batch["label"]).astype(jnp.float32)
            return jnp.stack([(hit * batch["mask"]).sum(), batch["mask"].sum()])

        self._correct = jax.jit(correct)

    def accuracy(self, params: PyTree, model_state: PyTree, batches: Iterable[PyTree]) -> float:
        """The share of examples whose label is the network's first choice."""
        sums = [self._correct(params, model_state, batch) for batch in batches]
        hits, count = jax.device_get(sum(sums[1:], start=sums[0]))
        return float(hits) / float(count)


def training_accuracy(outputs: PyTree, batch: PyTree) -> dict[str, jax.Array]:
    """Accuracy against the batch's own labels: a metric of the training step."""
    return {"train_accuracy": (outputs.argmax(-1) == batch["label"]).mean(dtype=jnp.float32)}
