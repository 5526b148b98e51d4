"""From stored pixels to network input: uint8 to [0, 1], then (x - mean) / std."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Normalise = tuple[float | Sequence[float], float | Sequence[float]]


class Normaliser(NamedTuple):
    """Mean and standard deviation, float32[1, ..., 1, channels] each."""

    mean: jax.Array
    std: jax.Array


def make_normaliser(normalise: Normalise | None, shape: tuple[int, ...]) -> Normaliser | None:
    """Put (mean, std) on the device, shaped to meet arrays of ``shape`` = [..., channels].

    Raises:
      ValueError: not a pair, another number of channels, or a standard deviation <= 0.
    """
    if normalise is None:
        return None
    try:
        mean, std = normalise
    except (TypeError, ValueError):
        raise ValueError(f"normalise = {normalise!r}; expected (mean, std) or None") from None
    channels = shape[-1]

    def spread(value: float | Sequence[float], name: str) -> jax.Array:
        array = np.asarray(value, np.float32)
        if array.shape not in ((), (1,), (channels,)):
            raise ValueError(
                f"normalise: {name} has shape {array.shape}; give one number or one for each of "
                f"the {channels} channels"
            )
        full = np.broadcast_to(array, (channels,)).reshape((1,) * (len(shape) - 1) + (channels,))
        return jax.device_put(full)

    if not (np.asarray(std) > 0).all():
        raise ValueError(f"normalise: std = {std!r} must be positive")
    return Normaliser(spread(mean, "mean"), spread(std, "std"))


def to_float(images: jax.Array) -> jax.Array:
    """uint8 pixels become float32 in [0, 1]; floats become float32 and keep their values."""
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255.0
    return images.astype(jnp.float32)


def normalised(images: jax.Array, normaliser: Normaliser | None) -> jax.Array:
    """(images - mean) / std; None changes nothing."""
    if normaliser is None:
        return images
    return (images - normaliser.mean) / normaliser.std
