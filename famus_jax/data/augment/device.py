"""Augmentations of whole batches, on the device: their contract, and how they are combined.

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
