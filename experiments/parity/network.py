"""The tiny network of the parity table, with BatchNorm over all devices or without, and its batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any
SIZES = (3, 6, 5, 4)  # widths: the images' first, the logits' last
EXAMPLES = 40  # for methods that keep something of every one


def tiny_network(
    name: str, axis: str | None, features: bool = False
) -> Callable[..., tuple[PyTree, PyTree]]:
    """`forward`: tanh layers and logits; `"batchnorm"` normalizes by the statistics of all devices.

    With `features` the input of the last layer stands beside the logits.
    """

    def mean(x: jax.Array) -> jax.Array:
        here = x.mean(0, keepdims=True)
        return here if axis is None else jax.lax.pmean(here, axis)

    def forward(params: PyTree, state: PyTree, rng: jax.Array, batch: PyTree):
        del rng
        h = last = batch["image"]
        moved = []
        for i, layer in enumerate(params):
            last = h
            h = h @ layer["w"] + layer["b"][None, :]
            if i == len(params) - 1:
                break
            if name == "batchnorm":
                centre = mean(h)
                variance = mean((h - centre) ** 2)
                moved.append(jnp.concatenate([centre, variance]))
                h = (h - centre) / jnp.sqrt(variance + 1e-3)
            h = jnp.tanh(h)
        new_state = [0.9 * old + 0.1 * new for old, new in zip(state, moved)]
        return ({"logits": h, "features": last} if features else h), new_state

    return forward


def initial(name: str, dtype: Any) -> tuple[PyTree, PyTree]:
    """Parameters and model state of `tiny_network`."""
    draw = np.random.default_rng(0).normal
    params = [
        {"w": jnp.asarray(draw(size=(a, b)) / a**0.5, dtype), "b": jnp.asarray(draw(size=b), dtype)}
        for a, b in zip(SIZES, SIZES[1:])
    ]
    state = [jnp.zeros((2, width), dtype) for width in SIZES[1:-1]] if name == "batchnorm" else []
    return params, state


def examples(seed: int, size: int, dtype: Any) -> dict[str, np.ndarray]:
    """A batch on the host."""
    draw = np.random.default_rng(seed)
    return {
        "image": draw.normal(size=(size, SIZES[0])).astype(dtype),
        "label": draw.integers(0, SIZES[-1], size).astype(np.int32),
        # For mixed batches: soft targets, of which every other one is of the labeled part.
        "target": draw.dirichlet(np.ones(SIZES[-1]), size).astype(dtype),
        "labeled": (np.arange(size) % 2).astype(dtype),
        "lambda_u": np.asarray(3.0, dtype),
        # An example may be in a batch twice, and so on two devices.
        "index": draw.integers(0, EXAMPLES, size).astype(np.int32),
    }
