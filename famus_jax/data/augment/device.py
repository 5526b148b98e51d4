"""Augmentations of whole batches, on the device.

An augmentation is a frozen dataclass that is called as `augment(rng, images) -> images`. Equal
settings are equal and hash alike, so a jitted function that takes one as a static argument compiles
once per setting, not once per object.

`rng` is one key, or a key per image (typed keys [n]): image i is then augmented the same
wherever the batch is cut, which keeps streams equal for any number of hosts.

Images are float32[n, H, W, C] in [0, 1]; every augmentation keeps shape and dtype.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]


def image_keys(rng: jax.Array, count: int) -> jax.Array:
    """One key per image, keys [count], from a single key or from as many keys.

    Raises:
      ValueError: `rng` holds another number of keys.
    """
    if rng.ndim == 0:
        return jax.vmap(jax.random.fold_in, (None, 0))(rng, jnp.arange(count))
    if rng.shape != (count,):
        raise ValueError(f"rng has shape {rng.shape}; give one key or {count} keys, one per image")
    return rng


def uniforms(keys: jax.Array, count: int) -> jax.Array:
    """Numbers in [0, 1) for each image, float32[n, count]."""
    return jax.vmap(lambda key: jax.random.uniform(key, (count,), jnp.float32))(keys)


def check_images(images: jax.Array) -> None:
    """Raise `ValueError` unless `images` is [n, H, W, C]."""
    if images.ndim != 4:
        raise ValueError(
            f"images have shape {images.shape}; augmentations need [n, H, W, C]. "
            "For features that are no images pass augment=None."
        )


def _non_negative(name: str, value: int) -> None:
    if int(value) != value or value < 0:
        raise ValueError(f"{name} = {value!r} must be a whole number of pixels >= 0")


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
        _non_negative("padding", self.padding)
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
        if not 0.0 <= self.probability <= 1.0:
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


@dataclasses.dataclass(frozen=True)
class Chain:
    """Apply augmentations in turn; each has its own randomness."""

    steps: tuple[Augmentation, ...]

    def __call__(self, rng: jax.Array, images: jax.Array) -> jax.Array:
        """Apply all: see the class."""
        keys = image_keys(rng, len(images))
        for number, step in enumerate(self.steps):
            own = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
            images = step(own, images)
        return images


@dataclasses.dataclass(frozen=True)
class Views:
    """Several independent views of each image: a batch with "image", "image_1", ….

    Attributes:
      steps: one augmentation per view; equal ones draw differently.
    """

    steps: tuple[Augmentation, ...]

    def __call__(self, rng: jax.Array, images: jax.Array) -> tuple[jax.Array, ...]:
        """All views, each float32[n, H, W, C]."""
        keys = image_keys(rng, len(images))
        own = (jax.vmap(jax.random.fold_in, (0, None))(keys, v) for v in range(len(self.steps)))
        return tuple(step(key, images) for step, key in zip(self.steps, own, strict=True))


def two_views(augment: Augmentation, second: Augmentation | None = None) -> Views:
    """Two views of each image (DivideMix, FaMUS): twice the same augmentation, or two of them."""
    return Views((augment, augment if second is None else second))


def chain(*steps: Augmentation) -> Chain:
    """`chain(PadCrop(4), Flip())`: the steps in turn, as one augmentation."""
    return Chain(tuple(steps))


def pad_crop_flip(padding: int = 4, mode: Literal["reflect", "zero"] = "reflect") -> Chain:
    """The CIFAR augmentation of the papers: `PadCrop`, then `Flip`."""
    return chain(PadCrop(padding, mode), Flip())
