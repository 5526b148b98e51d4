"""Color operations on float images [..., H, W, C] in [0, 1], the bricks of the augmentations.

Factors and amounts have one value per image, shape [n]. Gray images (C = 1) are allowed where a
color is not needed.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def _each(value: jax.Array) -> jax.Array:
    return jnp.asarray(value)[:, None, None, None]


def gray(images: jax.Array) -> jax.Array:
    """Luma 0.299 R + 0.587 G + 0.114 B, [n, H, W, 1]; one channel passes unchanged."""
    if images.shape[-1] == 1:
        return images
    if images.shape[-1] != 3:
        raise ValueError(f"images have {images.shape[-1]} channels; colors need 3 (or 1, gray)")
    weights = jnp.asarray([0.299, 0.587, 0.114], images.dtype)[None, None, None, :]
    return (images * weights).sum(-1, keepdims=True)


def blend(first: jax.Array, second: jax.Array, factor: jax.Array) -> jax.Array:
    """first + factor (second - first), cut to [0, 1]; a factor above 1 extrapolates."""
    return jnp.clip(first + _each(factor) * (second - first), 0.0, 1.0)


def brightness(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Blend with black: factor 0 is black, 1 the image."""
    return blend(jnp.zeros_like(images), images, factor)


def contrast(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Blend with the mean gray: factor 0 is one gray, 1 the image."""
    mean = gray(images).mean((1, 2, 3), keepdims=True)
    return blend(jnp.broadcast_to(mean, images.shape), images, factor)


def saturation(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Blend with the gray image: factor 0 is gray, 1 the image."""
    return blend(jnp.broadcast_to(gray(images), images.shape), images, factor)


def hue(images: jax.Array, turn: jax.Array) -> jax.Array:
    """Turn the hue of color images by `turn` (1 is once around), as in the HSV hexagon."""
    if images.shape[-1] != 3:
        raise ValueError(f"images have {images.shape[-1]} channels; a hue needs 3")
    red, green, blue = jnp.moveaxis(images, -1, 0)
    value = images.max(-1)
    chroma = value - images.min(-1)
    safe = jnp.where(chroma > 0, chroma, 1.0)
    angle = jnp.where(
        value == red,
        (green - blue) / safe,
        jnp.where(value == green, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe),
    )
    sixths = jnp.mod(jnp.where(chroma > 0, angle, 0.0) + 6.0 * turn[:, None, None], 6.0)

    def channel(offset: float) -> jax.Array:
        k = jnp.mod(offset + sixths, 6.0)
        return value - chroma * jnp.clip(jnp.minimum(k, 4.0 - k), 0.0, 1.0)

    return jnp.stack([channel(5.0), channel(3.0), channel(1.0)], axis=-1)


def sharpness(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Blend with a smoothed image (3x3, center 5/13); the border stays as it is."""
    _, h, w, _ = images.shape
    if h < 3 or w < 3:
        return images
    total = sum(
        images[:, i : h - 2 + i, j : w - 2 + j] * (5.0 if i == j == 1 else 1.0)
        for i in range(3)
        for j in range(3)
    )
    smooth = images.at[:, 1:-1, 1:-1].set(total / 13.0)
    return blend(smooth, images, factor)


def posterize(images: jax.Array, bits: jax.Array) -> jax.Array:
    """Keep the highest `bits` (int32[n], 0 … 8) of each 8-bit value."""
    levels = jnp.round(images * 255.0).astype(jnp.int32)
    drop = (8 - bits)[:, None, None, None]
    return jnp.left_shift(jnp.right_shift(levels, drop), drop).astype(images.dtype) / 255.0


def solarize(images: jax.Array, threshold: jax.Array) -> jax.Array:
    """Invert what is at or above `threshold` (in [0, 1])."""
    return jnp.where(images >= _each(threshold), 1.0 - images, images)


def autocontrast(images: jax.Array) -> jax.Array:
    """Stretch each channel of each image to [0, 1]; a constant channel stays."""
    low = images.min((1, 2), keepdims=True)
    high = images.max((1, 2), keepdims=True)
    wide = high > low
    return jnp.where(wide, (images - low) / jnp.where(wide, high - low, 1.0), images)


def equalize(images: jax.Array) -> jax.Array:
    """Equalize the histogram of each channel of each image, as Pillow's ImageOps.equalize."""
    n, h, w, c = images.shape
    levels = jnp.round(images * 255.0).astype(jnp.int32)
    flat = jnp.moveaxis(levels, -1, 1).reshape(n * c, h * w)

    def one(values: jax.Array) -> jax.Array:
        counts = jnp.zeros(256, jnp.int32).at[values].add(1)
        last = jnp.max(jnp.where(counts > 0, jnp.arange(256), 0))
        step = (h * w - counts[last]) // 255
        before = jnp.cumsum(counts) - counts
        table = jnp.clip((step // 2 + before) // jnp.maximum(step, 1), 0, 255)
        return jnp.where(step > 0, table[values], values)

    out = jax.vmap(one)(flat).reshape(n, c, h, w)
    return jnp.moveaxis(out, 1, -1).astype(images.dtype) / 255.0
