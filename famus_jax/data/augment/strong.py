"""Stronger augmentations: color jitter, cutout, random resized crop, RandAugment.

As in `augment`: frozen values, called with one key or a key per image, float images in [0, 1].
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from famus_jax.data.augment import color
from famus_jax.data.augment.device import check_images, image_keys, uniforms


def _uniforms(keys: jax.Array, count: int) -> list[jax.Array]:
    drawn = uniforms(keys, count)
    return [drawn[:, i] for i in range(count)]


@dataclasses.dataclass(frozen=True)
class ColorJitter:
    """Random brightness, contrast, saturation and hue, in this order.

    Each factor is uniform in [max(0, 1 - a), 1 + a]; the hue turns by up to `hue` of the circle
    either way. (torchvision draws the order of the four as well.)
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.0

    def __post_init__(self):
        for name in ("brightness", "contrast", "saturation"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)!r} must be >= 0")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue = {self.hue!r} must be in [0, 0.5], half of the circle")

    def __call__(self, rng: jax.Array, images: jax.Array) -> jax.Array:
        """Jitter: see the class."""
        check_images(images)
        u = _uniforms(image_keys(rng, len(images)), 4)

        def factor(number: jax.Array, amount: float) -> jax.Array:
            low = max(0.0, 1.0 - amount)
            return low + number * (1.0 + amount - low)

        if self.brightness:
            images = color.brightness(images, factor(u[0], self.brightness))
        if self.contrast:
            images = color.contrast(images, factor(u[1], self.contrast))
        if self.saturation:
            images = color.saturation(images, factor(u[2], self.saturation))
        if self.hue:
            images = color.hue(images, (2.0 * u[3] - 1.0) * self.hue)
        return images


@dataclasses.dataclass(frozen=True)
class Cutout:
    """A square of `size` pixels at a random place becomes `fill` (DeVries and Taylor 2017).

    The center is anywhere in the image, so that a part of the square may lie outside. `fill` is
    in the units of the images, [0, 1]: give the mean of the normalization to have zeros after it.
    """

    size: int = 16
    fill: float | tuple[float, ...] = 0.0

    def __post_init__(self):
        if int(self.size) != self.size or self.size < 1:
            raise ValueError(f"size = {self.size!r} must be a whole number of pixels >= 1")

    def __call__(self, rng: jax.Array, images: jax.Array) -> jax.Array:
        """Cut: see the class."""
        check_images(images)
        n, height, width, channels = images.shape
        u = _uniforms(image_keys(rng, n), 2)
        top = jnp.floor(u[0] * height).astype(jnp.int32)[:, None] - self.size // 2
        left = jnp.floor(u[1] * width).astype(jnp.int32)[:, None] - self.size // 2
        y, x = jnp.arange(height)[None], jnp.arange(width)[None]
        rows = (y >= top) & (y < top + self.size)
        columns = (x >= left) & (x < left + self.size)
        inside = (rows[:, :, None] & columns[:, None, :])[..., None]
        fill = jnp.broadcast_to(jnp.asarray(self.fill, images.dtype), (channels,))
        return jnp.where(inside, fill[None, None, None, :], images)


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
    """Cut a random part out and scale it back to the full size, with antialiasing.

    Attributes:
      scale: (least, most) share of the area.
      ratio: (least, most) width over height; drawn uniformly in its logarithm.

    A part that would not fit is cut to the image (torchvision draws again up to ten times; images
    of many sizes are cropped like that on the host: `host_augment.RandomResizedCrop`).
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self):
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale = {self.scale!r} must be 0 < least <= most <= 1")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio = {self.ratio!r} must be 0 < least <= most")

    def __call__(self, rng: jax.Array, images: jax.Array) -> jax.Array:
        """Crop: see the class."""
        check_images(images)
        n, height, width, channels = images.shape
        u = _uniforms(image_keys(rng, n), 4)
        area = (self.scale[0] + u[0] * (self.scale[1] - self.scale[0])) * (height * width)
        low, high = jnp.log(self.ratio[0]), jnp.log(self.ratio[1])
        ratio = jnp.exp(low + u[1] * (high - low))
        h = jnp.clip(jnp.sqrt(area / ratio), 1.0, height)
        w = jnp.clip(jnp.sqrt(area * ratio), 1.0, width)
        zoom = jnp.stack([height / h, width / w], axis=1)
        corner = jnp.stack([u[2] * (height - h), u[3] * (width - w)], axis=1)

        def one(image: jax.Array, zoom: jax.Array, corner: jax.Array) -> jax.Array:
            shape = (height, width, channels)
            return jax.image.scale_and_translate(
                image, shape, (0, 1), zoom, -corner * zoom, method="linear", antialias=True
            )

        return jnp.clip(jax.vmap(one)(images, zoom, corner), 0.0, 1.0)
