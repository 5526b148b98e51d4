"""Random brightness, contrast, saturation and hue."""

from __future__ import annotations

import dataclasses

import jax

from famus_jax.data.augment import color
from famus_jax.data.augment.checks import is_number
from famus_jax.data.augment.device import check_images, image_keys, uniforms


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
            if not is_number(getattr(self, name)) or getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)!r} must be >= 0")
        if not is_number(self.hue) or not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue = {self.hue!r} must be in [0, 0.5], half of the circle")

    def __call__(self, rng: jax.Array, images: jax.Array) -> jax.Array:
        """Jitter: see the class."""
        check_images(images)
        u = uniforms(image_keys(rng, len(images)), 4).T

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
