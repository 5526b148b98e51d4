"""A random part of each image, scaled back to the full size."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from famus_jax.data.augment.checks import check_part
from famus_jax.data.augment.device import check_images, image_keys, uniforms


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
    """Cut a random part out and scale it back to the full size, with antialiasing.

    Attributes:
      scale: (least, most) share of the area.
      ratio: (least, most) width over height; drawn uniformly in its logarithm.

    A part that would not fit is cut to the image (torchvision draws again up to ten times; images
    of many sizes are cropped like that on the host: `host.RandomResizedCrop`).
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self):
        check_part(self.scale, self.ratio)

    def __call__(self, rng: jax.Array, images: jax.Array) -> jax.Array:
        """Crop: see the class."""
        check_images(images)
        n, height, width, channels = images.shape
        u = uniforms(image_keys(rng, n), 4).T
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
