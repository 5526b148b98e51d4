"""From stored pixels to network input: uint8 to [0, 1], augmented, then (x - mean) / std."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Normalize = tuple[float | Sequence[float], float | Sequence[float]]


class Normalizer(NamedTuple):
    """Mean and standard deviation, float32[1, ..., 1, channels] each."""

    mean: jax.Array
    std: jax.Array


def make_normalizer(normalize: Normalize | None, shape: tuple[int, ...]) -> Normalizer | None:
    """Put (mean, std) on the device, shaped to meet arrays of `shape` = [..., channels].

    Raises:
      ValueError: not a pair, another number of channels, or a standard deviation <= 0.
    """
    if normalize is None:
        return None
    try:
        mean, std = normalize
    except (TypeError, ValueError):
        raise ValueError(f"normalize = {normalize!r}; expected (mean, std) or None") from None
    channels = shape[-1]

    def spread(value: float | Sequence[float], name: str) -> jax.Array:
        array = np.asarray(value, np.float32)
        if array.shape not in ((), (1,), (channels,)):
            raise ValueError(
                f"normalize: {name} has shape {array.shape}; give one number or one for each of "
                f"the {channels} channels"
            )
        full = np.broadcast_to(array, (channels,)).reshape((1,) * (len(shape) - 1) + (channels,))
        return jax.device_put(full)

    if not (np.asarray(std) > 0).all():
        raise ValueError(f"normalize: std = {std!r} must be positive")
    return Normalizer(spread(mean, "mean"), spread(std, "std"))


def to_float(images: jax.Array) -> jax.Array:
    """uint8 pixels become float32 in [0, 1]; floats become float32 and keep their values."""
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255.0
    return images.astype(jnp.float32)


def normalized(images: jax.Array, normalizer: Normalizer | None) -> jax.Array:
    """(images - mean) / std; None changes nothing."""
    if normalizer is None:
        return images
    return (images - normalizer.mean) / normalizer.std


def finish_images(images, key_data, first_row, normalizer, *, augment):
    """Stored pixels to network input, traced: floats, augmentation, normalization.

    Returns:
      {"image": float32[n, ...]}; an augmentation that makes several views (`augment.device.Views`) adds
      "image_1", "image_2", ….

    Args:
      images: [n, ...] as stored.
      key_data: uint32[2] of `order.augment_key_data`; unused without augmentation.
      first_row: int32 scalar, the row of the global batch that `images[0]` is; row i gets its
        own key, so that hosts together make the batch that one host would make.
      normalizer: `Normalizer` or None.
      augment: static, or None.
    """
    batch = to_float(images)
    if augment is not None:
        rng = jax.random.wrap_key_data(key_data, impl="threefry2x32")
        rows = first_row + jnp.arange(len(images), dtype=jnp.int32)
        batch = augment(jax.vmap(jax.random.fold_in, (None, 0))(rng, rows), batch)
    views = batch if isinstance(batch, tuple) else (batch,)
    names = ("image", *(f"image_{number}" for number in range(1, len(views))))
    return {name: normalized(view, normalizer) for name, view in zip(names, views, strict=True)}


def channel_statistics(
    images: np.ndarray, indices: np.ndarray | None = None, chunk: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel, for `normalize=`, in little memory.

    Args:
      images: uint8[N, ..., C] (counted in units of 255) or floats (as they are).
      indices: int[M], use these only (the training part, never the test set); None for all.
      chunk: images converted to float64 at a time.

    Returns:
      (mean, std), float32[C] each; a constant channel has std 1, so that it can be divided by.

    Raises:
      ValueError: no images.
    """
    rows = np.arange(len(images)) if indices is None else np.asarray(indices)
    if rows.size == 0:
        raise ValueError("no images to take the mean of: indices (or images) is empty")
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    channels = images.shape[-1]
    total, squares, count = np.zeros(channels), np.zeros(channels), 0
    for start in range(0, len(rows), chunk):
        part = np.asarray(images[rows[start : start + chunk]], np.float64) / scale
        part = part.reshape(-1, channels)
        total += part.sum(axis=0)
        squares += (part**2).sum(axis=0)
        count += len(part)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    std = np.where(std > 1e-6, std, 1.0)
    return mean.astype(np.float32), std.astype(np.float32)
