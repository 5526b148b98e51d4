"""Augmentations by name: what each name stands for, and every refusal names the field."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.data import Chain, ColorJitter, Cutout, Flip, PadCrop, RandAugment, RandomResizedCrop
from famus_jax.data.augment.named import KINDS, check_augment, named_augment

IMAGES = jnp.asarray(np.random.default_rng(0).uniform(0.2, 0.9, (6, 12, 10, 3)), jnp.float32)


@functools.partial(jax.jit, static_argnames="augment")
def run(augment, seed):
    return augment(jax.random.key(seed), IMAGES)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("none", None),
        ([], None),
        (["none"], None),
        ("shift", PadCrop(1, "zero")),
        ("crop_flip", Chain((PadCrop(4, "reflect"), Flip(0.5)))),
        ("pad_crop", PadCrop()),
        (["flip"], Flip()),
        ("randaugment", RandAugment(2, 9.0)),
        ({"kind": "color_jitter", "hue": 0.1}, ColorJitter(hue=0.1)),
        ({"kind": "cutout", "size": 3, "fill": [0.1, 0.2, 0.3]}, Cutout(3, (0.1, 0.2, 0.3))),
        ({"kind": "random_resized_crop", "scale": [0.5, 1]}, RandomResizedCrop((0.5, 1))),
        (("flip", {"kind": "cutout", "size": 4}), Chain((Flip(), Cutout(4)))),
    ],
    ids=str,
)
def test_names(spec, expected):
    """Equal settings, also as lists, are one value: fails if a list would compile a second program."""
    augment = named_augment(spec)
    assert augment == expected
    hash(augment)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_changes_images_and_draws_anew(kind):
    augment = named_augment(kind)
    first, again, other = (np.asarray(run(augment, seed)) for seed in (0, 0, 1))
    assert first.shape == IMAGES.shape
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, np.asarray(IMAGES))
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("colour_jitter", r"data\.augment: there is no 'colour_jitter' \(did you mean 'color_jit"),
        (["flip", "cutot"], r"data\.augment\[1\]: there is no 'cutot' \(did you mean 'cutout'\?\)"),
        ({"kind": "none"}, r'data\.augment: "none" stands alone'),
        ([["flip", "shift"]], r"data\.augment\[0\] = \['flip', 'shift'\]: give a name"),
        (["flip", "none"], r'data\.augment\[1\]: "none" stands alone'),
        (7, r'data\.augment = 7: give a name, "crop_flip", or'),
        ([["flip"], "shift"], r"data\.augment\[0\] = \['flip'\]: give a name"),
        ({"size": 16}, r"data\.augment = \{'size': 16\}: give a name"),
        ({"kind": ["flip"]}, r"data\.augment: there is no \['flip'\]"),
        ({"kind": "cutout", "sise": 3}, r"data\.augment, cutout: there is no 'sise' \(did you m"),
        ({"kind": "cutout", "size": 0}, r"data\.augment, cutout: size = 0 must be"),
        ({"kind": "cutout", "size": 4.0}, r"size = 4\.0 must be a whole number of pixels >= 1"),
        ({"kind": "cutout", "size": True}, r"size = True must be"),
        ({"kind": "cutout", "fill": 128}, r"fill = 128 must be in \[0, 1\]"),
        ({"kind": "cutout", "fill": "black"}, r"fill = 'black' must be"),
        ({"kind": "randaugment", "rounds": "2"}, r"rounds = '2' must be"),
        ({"kind": "randaugment", "magnitude": 31}, r"magnitude = 31 is outside \[0, 30\]"),
        ({"kind": "color_jitter", "contrast": float("nan")}, r"contrast = nan must be >= 0"),
        ({"kind": "color_jitter", "hue": 0.7}, r"hue = 0\.7 must be in"),
        ({"kind": "random_resized_crop", "scale": 0.5}, r"scale = 0\.5 must be 0 < least"),
        ({"kind": "random_resized_crop", "scale": [0.5, 2]}, r"scale = \(0\.5, 2\) must be"),
        ({"kind": "random_resized_crop", "ratio": [2, 1]}, r"ratio = \(2, 1\) must be"),
        ({"kind": "crop_flip", "padding": -1}, r"padding = -1 must be"),
        ({"kind": "crop_flip", "mode": "wrap"}, r"mode = 'wrap'; choose"),
        ({"kind": "flip", "probability": 1.5}, r"probability = 1\.5 is outside \[0, 1\]"),
    ],
    ids=str,
)
def test_refusals(spec, words):
    with pytest.raises(ValueError, match=words):
        named_augment(spec, "data.augment")


@pytest.mark.parametrize(
    ("spec", "shape", "words"),
    [
        ("flip", (64,), r"data\.augment: images have shape \(2, 64\)"),
        ("crop_flip", (4, 9, 3), r"data\.augment: padding = 4 can't be reflected in images of 4x9"),
        ({"kind": "color_jitter", "hue": 0.1}, (8, 8, 1), r"1 channels; a hue needs 3"),
        ("color_jitter", (8, 8, 2), r"2 channels; colors need 3 \(or 1, gray\)"),
        (
            {"kind": "cutout", "fill": [0.0, 0.5]},
            (8, 8, 3),
            r"fill = \(0\.0, 0\.5\) for images of 3",
        ),
    ],
    ids=str,
)
def test_images_that_cannot_be_augmented(spec, shape, words):
    with pytest.raises(ValueError, match=words):
        check_augment(named_augment(spec), shape, "data.augment")


def test_gray_images_and_none_pass():
    check_augment(None, (64,), "data.augment")
    for kind in KINDS:
        check_augment(named_augment(kind), (8, 8, 1), "data.augment")
