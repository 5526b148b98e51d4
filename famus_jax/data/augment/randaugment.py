"""RandAugment (Cubuk et al. 2020, arXiv 1909.13719) on the device, fourteen operations.

Each round draws one operation per image. All images of a batch go through the same program: one
affine warp (the identity unless a geometric operation was drawn) and each color operation, of
which the drawn one is kept. Strengths follow torchvision: with m = magnitude / 30,

    shear 0.3 m, translate 150/331 m of the side, rotate 30 m degrees, color factors 1 ± 0.9 m,
    posterize 8 - round(4 m) bits, solarize at 1 - m;

signs are drawn; warps take the nearest pixel and bring in black.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from famus_jax.data.augment import color
from famus_jax.data.augment.checks import is_number, is_whole
from famus_jax.data.augment.device import check_images, image_keys

OPERATIONS = (
    *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("brightness", "saturation", "contrast", "sharpness"),
    *("posterize", "solarize", "autocontrast", "equalize"),
)


def warp(images: jax.Array, matrices: jax.Array) -> jax.Array:
    """Affine warp about the image center, nearest pixel, black outside.

    Args:
      images: [n, H, W, C].
      matrices: float32[n, 2, 3]; output position (x, y, 1), from the center, to input position.
    """
    n, height, width, _ = images.shape
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    y, x = jnp.meshgrid(jnp.arange(height) - middle_y, jnp.arange(width) - middle_x, indexing="ij")
    points = jnp.stack([x.ravel(), y.ravel(), jnp.ones(height * width)]).astype(jnp.float32)
    found = jnp.einsum("nij,jp->nip", matrices, points, precision="highest")
    column = jnp.floor(found[:, 0] + middle_x + 0.5).astype(jnp.int32)
    row = jnp.floor(found[:, 1] + middle_y + 0.5).astype(jnp.int32)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    flat = images.reshape(n, height * width, -1)
    place = jnp.where(inside, row * width + column, 0)
    moved = jnp.take_along_axis(flat, place[..., None], axis=1)
    return jnp.where(inside[..., None], moved, 0.0).reshape(images.shape)


def warp_matrices(operation: jax.Array, strength: jax.Array, height: int, width: int) -> jax.Array:
    """The matrices of the drawn operations (identity for those of color), float32[n, 2, 3].

    Args:
      operation: int32[n], positions in `OPERATIONS`.
      strength: float32[n] in [-1, 1], magnitude / 30 with its sign.
    """
    chosen = lambda name: (operation == OPERATIONS.index(name)).astype(jnp.float32)  # noqa: E731
    angle = chosen("rotate") * jnp.deg2rad(30.0) * strength
    shear_x = chosen("shear_x") * 0.3 * strength
    shear_y = chosen("shear_y") * 0.3 * strength
    move_x = chosen("translate_x") * (150.0 / 331.0) * width * strength
    move_y = chosen("translate_y") * (150.0 / 331.0) * height * strength
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rows = [[cos, -sin + shear_x, -jnp.trunc(move_x)], [sin + shear_y, cos, -jnp.trunc(move_y)]]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=1)


def apply_operation(images: jax.Array, operation: jax.Array, strength: jax.Array) -> jax.Array:
    """One round: operation `operation[i]` with `strength[i]` in [-1, 1] on image i."""
    _, height, width, _ = images.shape
    amount = jnp.abs(strength)
    factor = 1.0 + 0.9 * strength
    results = {
        "brightness": color.brightness(images, factor),
        "saturation": color.saturation(images, factor),
        "contrast": color.contrast(images, factor),
        "sharpness": color.sharpness(images, factor),
        "posterize": color.posterize(images, 8 - jnp.round(4 * amount).astype(jnp.int32)),
        "solarize": color.solarize(images, 1.0 - amount),
        "autocontrast": color.autocontrast(images),
        "equalize": color.equalize(images),
    }
    out = warp(images, warp_matrices(operation, strength, height, width))
    for name, result in results.items():
        chosen = (operation == OPERATIONS.index(name))[:, None, None, None]
        out = jnp.where(chosen, result, out)
    return out


@dataclasses.dataclass(frozen=True)
class RandAugment:
    """`rounds` random operations on each image.

    Attributes:
      rounds: operations in turn, >= 1.
      magnitude: strength in [0, 30].
    """

    rounds: int = 2
    magnitude: float = 9.0

    def __post_init__(self):
        if not is_whole(self.rounds, 1):
            raise ValueError(f"rounds = {self.rounds!r} must be a whole number >= 1")
        if not is_number(self.magnitude) or not 0 <= self.magnitude <= 30:
            raise ValueError(f"magnitude = {self.magnitude!r} is outside [0, 30]")

    def __call__(self, rng: jax.Array, images: jax.Array) -> jax.Array:
        """Augment: see the class."""
        check_images(images)
        keys = image_keys(rng, len(images))

        def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            which, sign = jax.random.split(key)
            operation = jax.random.randint(which, (), 0, len(OPERATIONS), jnp.int32)
            return operation, jax.random.rademacher(sign, (), jnp.float32)

        for number in range(self.rounds):
            own = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
            operation, sign = jax.vmap(draw)(own)
            images = apply_operation(images, operation, sign * (self.magnitude / 30.0))
        return images
