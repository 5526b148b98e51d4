"""Cutout: a square of each image is blanked out (DeVries and Taylor 2017, arXiv 1708.04552)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from famus_jax.data.augment.checks import is_number, is_whole
from famus_jax.data.augment.device import check_images, image_keys, uniforms


@dataclasses.dataclass(frozen=True)
class Cutout:
    """A square of `size` pixels at a random place becomes `fill` (DeVries and Taylor 2017).

    The center is anywhere in the image, so that a part of the square may lie outside. `fill` is
    in the units of the images, [0, 1]: give the mean of the normalization to have zeros after it.
    """

    size: int = 16
    fill: float | tuple[float, ...] = 0.0

    def __post_init__(self):
        if not is_whole(self.size, 1):
            raise ValueError(f"size = {self.size!r} must be a whole number of pixels >= 1")
        values = self.fill if isinstance(self.fill, tuple) else (self.fill,)
        if not all(is_number(v) and 0 <= v <= 1 for v in values):
            raise ValueError(f"fill = {self.fill!r} must be in [0, 1], as the images are")

    def __call__(self, rng: jax.Array, images: jax.Array) -> jax.Array:
        """Cut: see the class."""
        check_images(images)
        n, height, width, channels = images.shape
        u = uniforms(image_keys(rng, n), 2).T
        top = jnp.floor(u[0] * height).astype(jnp.int32)[:, None] - self.size // 2
        left = jnp.floor(u[1] * width).astype(jnp.int32)[:, None] - self.size // 2
        y, x = jnp.arange(height)[None], jnp.arange(width)[None]
        rows = (y >= top) & (y < top + self.size)
        columns = (x >= left) & (x < left + self.size)
        inside = (rows[:, :, None] & columns[:, None, :])[..., None]
        if isinstance(self.fill, tuple) and len(self.fill) not in (1, channels):
            raise ValueError(f"fill = {self.fill!r} for images of {channels} channels")
        fill = jnp.broadcast_to(jnp.asarray(self.fill, images.dtype), (channels,))
        return jnp.where(inside, fill[None, None, None, :], images)
