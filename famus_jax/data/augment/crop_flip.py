"""The augmentations of the CIFAR papers: pad and crop, flip, shift."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from famus_jax.data.augment.checks import is_number, is_whole
from famus_jax.data.augment.device import Chain, chain, check_images, image_keys, uniforms


def _window(images: jax.Array, offsets: jax.Array, height: int, width: int) -> jax.Array:
    # images [n, H', W', C], offsets int32[n, 2] -> [n, height, width, C]
    def one(image: jax.Array, offset: jax.Array) -> jax.Array:
        size = (height, width, image.shape[-1])
        return jax.lax.dynamic_slice(image, (offset[0], offset[1], jnp.int32(0)), size)

    return jax.vmap(one)(images, offsets)


@dataclasses.dataclass(frozen=True)
class PadCrop:
    """Pad by `padding` pixels on every side, then cut the old size at a random place.

    Attributes:
      padding: pixels; at most H - 1 and W - 1 for `mode="reflect"`.
      mode: "reflect" (MW-Net: the border pixel is not repeated) or "zero".
    """

    padding: int = 4
    mode: Literal["reflect", "zero"] = "reflect"

    def __post_init__(self):
        if not is_whole(self.padding, 0):
            raise ValueError(f"padding = {self.padding!r} must be a whole number of pixels >= 0")
        if self.mode not in ("reflect", "zero"):
            raise ValueError(f"mode = {self.mode!r}; choose 'reflect' or 'zero'")

    def __call__(self, rng: jax.Array, images: jax.Array) -> jax.Array:
        """Crop: see the class."""
        check_images(images)
        n, height, width, _ = images.shape
        p = self.padding
        if self.mode == "reflect" and p >= min(height, width):
            raise ValueError(
                f"padding = {p} can't be reflected in images of {height}x{width}; "
                "use a smaller padding or mode='zero'"
            )
        keys = image_keys(rng, n)
        mode = "reflect" if self.mode == "reflect" else "constant"
        padded = jnp.pad(images, ((0, 0), (p, p), (p, p), (0, 0)), mode=mode)
        # floor(u (2p + 1)) costs one call of the generator, randint three
        offsets = jnp.floor(uniforms(keys, 2) * (2 * p + 1)).astype(jnp.int32)
        return _window(padded, jnp.minimum(offsets, 2 * p), height, width)


@dataclasses.dataclass(frozen=True)
class Flip:
    """Mirror left and right with chance `probability` (each image for itself)."""

    probability: float = 0.5

    def __post_init__(self):
        if not is_number(self.probability) or not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"probability = {self.probability!r} is outside [0, 1]")

    def __call__(self, rng: jax.Array, images: jax.Array) -> jax.Array:
        """Flip: see the class."""
        check_images(images)
        keys = image_keys(rng, len(images))
        chosen = uniforms(keys, 1) < self.probability
        return jnp.where(chosen[:, :, None, None], images[:, :, ::-1, :], images)


def shift(pixels: int = 1) -> PadCrop:
    """Move each image by up to `pixels` in each direction; what comes in is zero."""
    return PadCrop(padding=pixels, mode="zero")


def crop_flip(padding: int = 4, mode: Literal["reflect", "zero"] = "reflect") -> Chain:
    """The CIFAR augmentation of the papers: `PadCrop`, then `Flip`."""
    return chain(PadCrop(padding, mode), Flip())
