"""Augmentations by name, for configs: a name, a name with arguments, or a list of them.

"crop_flip"
{"kind": "cutout", "size": 16}
["crop_flip", {"kind": "randaugment", "magnitude": 5}, "cutout"]     # one after the other
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.data.augment.color_jitter import ColorJitter
from famus_jax.data.augment.crop_flip import Flip, PadCrop, crop_flip, shift
from famus_jax.data.augment.cutout import Cutout
from famus_jax.data.augment.device import Augmentation, chain
from famus_jax.data.augment.randaugment import RandAugment
from famus_jax.data.augment.random_resized_crop import RandomResizedCrop

KINDS: dict[str, Callable[..., Augmentation]] = {
    "shift": shift,
    "pad_crop": PadCrop,
    "flip": Flip,
    "crop_flip": crop_flip,
    "random_resized_crop": RandomResizedCrop,
    "color_jitter": ColorJitter,
    "randaugment": RandAugment,
    "cutout": Cutout,
}
NAMES = ("none", *KINDS)


def named_augment(spec: Any, where: str = "augment") -> Augmentation | None:
    """The augmentation that a config describes.

    Args:
      spec: one of `NAMES`; or a dict of a "kind" and its arguments (those of the function or class in
        `KINDS`); or a list or tuple of such, applied in this order. "none" stands alone.
      where: the name of the config's field, for messages.

    Returns:
      An augmentation, or None for "none" and for an empty list. A list of one is that one.

    Raises:
      ValueError: for an unknown name or argument, or a value that can't work; names the field.

    >>> named_augment(["flip", {"kind": "cutout", "size": 4}])
    Chain(steps=(Flip(probability=0.5), Cutout(size=4, fill=0.0)))
    """
    if spec in ("none", ["none"], ("none",)):
        return None
    if not isinstance(spec, list | tuple):
        return _one(spec, where)
    steps = [_one(part, f"{where}[{number}]") for number, part in enumerate(spec)]
    if len(steps) == 1:
        return steps[0]
    return chain(*steps) if steps else None


def check_augment(augment: Augmentation | None, image_shape: tuple[int, ...], where: str) -> None:
    """Raise `ValueError` if the augmentation can't be applied to images of this shape.

    Nothing is computed.

    Args:
      augment: what `named_augment` gives.
      image_shape: (H, W, C), or (D,) of features, which can't be augmented.
      where: the name of the config's field, for messages.
    """
    if augment is None:
        return
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    try:
        jax.eval_shape(augment, jax.random.key(0), images)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error


def _one(spec: Any, where: str) -> Augmentation:
    if isinstance(spec, str):
        kind, arguments = spec, {}
    elif isinstance(spec, Mapping) and "kind" in spec:
        kind, arguments = spec["kind"], {k: v for k, v in spec.items() if k != "kind"}
    else:
        raise ValueError(
            f'{where} = {spec!r}: give a name, "crop_flip", or a name with arguments, '
            '{"kind": "cutout", "size": 16}, or a list of such'
        )
    if kind == "none":
        raise ValueError(f'{where}: "none" stands alone, without arguments or a list')
    _known(kind, NAMES, where)
    make = KINDS[kind]
    for name in arguments:
        _known(name, inspect.signature(make).parameters, f"{where}, {kind}")
    # Settings are hashed, and JSON and YAML know no tuples.
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    try:
        return make(**plain)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}, {kind}: {error}") from error


def _known(value: Any, known: Iterable[str], where: str) -> None:
    known = list(known)
    if value not in known:
        close = difflib.get_close_matches(str(value), known, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"{where}: there is no {value!r}{hint}; choose one of {', '.join(known)}")
