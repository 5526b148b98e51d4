"""Frozen features of images: what a network trained on ImageNet sees in them, quickly on a CPU.

The network is EfficientNet-Lite0 and never trained here. Images of any size are scaled to one size
first: 32x32 pixels are too few for it, and large photographs cost more than they tell.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.models.folded_efficientnet import Unit, fold, pooled_features
from famus_jax.models.pretrained_efficientnet import load_efficientnet_lite0, scaled
from famus_jax.progress import Progress

WIDTH = 1280
SIZE = 160  # of 32x32 images, larger ones tell little more and cost with the square
_LEAST = 32
_LEAST_SIDE = 32  # smaller images tell it little


def image_features(
    images: np.ndarray,
    *,
    size: int | None = None,
    batch: int = 16,
    progress: Progress | None = None,
) -> np.ndarray:
    """Features of images from a network that was trained on ImageNet.

    The same images, sizes and batch on the same machine give the same features, bit for bit; an image's
    features depend on the others by rounding at most. A whole image is scaled to a square: one
    that isn't square is squeezed, not cut.

    Args:
      images: uint8 [N, H, W, 3], RGB, or [N, H, W, 1], gray.
      size: width and height in pixels that the network sees, at least 32; `SIZE` unless given.
      batch: how many images at a time. Small ones stay in a CPU's caches.
      progress: counts images; its total should be N.

    Returns:
      float32 [N, 1280], each in [0, 6].

    Raises:
      ValueError: images of another dtype or shape, or a size or batch out of range.
      ModuleNotFoundError: the package with the weights isn't installed.
    """
    size = SIZE if size is None else size
    _check(images, size, batch)
    units = fold(load_efficientnet_lite0())
    features = np.empty((len(images), WIDTH), np.float32)
    batch = max(1, min(batch, len(images)))
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        # The last part is filled up, so that one program does for all.
        filled = np.pad(part, ((0, batch - len(part)), (0, 0), (0, 0), (0, 0)))
        features[start : start + len(part)] = _features(units, filled, size)[: len(part)]
        if progress is not None:
            progress.update(len(part))
    return features


def is_for(images: np.ndarray) -> bool:
    """Whether images [N, H, W, C] are such as the network was trained on: in color, and no thumbnails.

    >>> is_for(np.zeros((2, 32, 48, 3), np.uint8)), is_for(np.zeros((2, 8, 8, 1), np.uint8))
    (True, False)
    """
    return images.shape[3] == 3 and min(images.shape[1:3]) >= _LEAST_SIDE


def _check(images: np.ndarray, size: int, batch: int) -> None:
    if images.dtype != np.uint8:
        raise ValueError(f"images are bytes (uint8), got {images.dtype}; scale them to 0..255.")
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:3]:
        raise ValueError(
            f"images are [N, H, W, 3] or [N, H, W, 1], got an array of shape {images.shape}; a gray "
            "set needs a last axis of 1: `images[..., None]`."
        )
    if size < _LEAST:
        raise ValueError(f"size is a number of pixels from {_LEAST} up, got {size}.")
    if batch < 1:
        raise ValueError(f"batch is a number of images from 1 up, got {batch}.")


def _scaled_to(images: jax.Array, size: int) -> jax.Array:
    """uint8 [n, H, W, C] -> float32 [n, size, size, 3] in [0, 255]; bicubic, smoothed where smaller."""
    n, _, _, channels = images.shape
    wide = jax.image.resize(images.astype(jnp.float32), (n, size, size, channels), "cubic")
    # Bicubic interpolation overshoots at edges.
    return jnp.broadcast_to(jnp.clip(wide, 0, 255), (n, size, size, 3))


@jax.jit(static_argnames=("size",))
def _features(units: dict[str, Unit], images: jax.Array, size: int) -> jax.Array:
    return pooled_features(units, scaled(_scaled_to(images, size)))
