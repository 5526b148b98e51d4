"""Augmentations: against loops in numpy, stable by value, the same for any cut of the batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.data.augment.crop_flip import Flip, PadCrop, crop_flip, shift
from famus_jax.data.augment.device import chain, image_keys

IMAGES = np.random.default_rng(0).uniform(size=(64, 6, 5, 2)).astype(np.float32)


@functools.partial(jax.jit, static_argnums=0)
def run(augment, rng, images):
    return augment(rng, images)


def windows(image, padding, mode):
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode)
    h, w, _ = image.shape
    return {
        (y, x): padded[y : y + h, x : x + w]
        for y in range(2 * padding + 1)
        for x in range(2 * padding + 1)
    }


@pytest.mark.parametrize(("mode", "numpy_mode"), [("reflect", "reflect"), ("zero", "constant")])
def test_pad_crop_is_a_window_of_the_padded_image(mode, numpy_mode):
    # Fails if reflect repeats the border ("symmetric"), or one offset serves the whole batch.
    out = np.asarray(run(PadCrop(2, mode), jax.random.key(0), jnp.asarray(IMAGES)))
    found = []
    for before, after in zip(IMAGES, out, strict=True):
        hits = [k for k, w in windows(before, 2, numpy_mode).items() if (w == after).all()]
        assert len(hits) == 1
        found.append(hits[0])
    offsets = np.array(found)
    assert set(offsets[:, 0]) == set(offsets[:, 1]) == set(range(5))
    assert len(set(found)) > 15


def test_flip_mirrors_width_of_about_half():
    out = np.asarray(Flip()(jax.random.key(1), jnp.asarray(IMAGES)))
    flipped = [(a == b[:, ::-1]).all() for a, b in zip(out, IMAGES, strict=True)]
    same = [(a == b).all() for a, b in zip(out, IMAGES, strict=True)]
    assert all(f != s for f, s in zip(flipped, same, strict=True))
    assert 16 < sum(flipped) < 48
    np.testing.assert_array_equal(Flip(0.0)(jax.random.key(1), jnp.asarray(IMAGES)), IMAGES)
    np.testing.assert_array_equal(
        Flip(1.0)(jax.random.key(1), jnp.asarray(IMAGES)), IMAGES[:, :, ::-1]
    )


def test_shift_by_one_brings_in_zeros():
    out = np.asarray(run(shift(1), jax.random.key(2), jnp.ones((32, 4, 4, 1))))
    assert set(out.sum((1, 2, 3)).tolist()) <= {16.0, 12.0, 9.0}


def test_cutting_the_batch_changes_nothing():
    # Fails if an augmentation draws for the batch as a whole.
    augment = crop_flip(2)
    keys = image_keys(jax.random.key(5), 64)
    whole = run(augment, keys, jnp.asarray(IMAGES))
    np.testing.assert_array_equal(run(augment, jax.random.key(5), jnp.asarray(IMAGES)), whole)
    part = run(augment, keys[16:32], jnp.asarray(IMAGES[16:32]))
    np.testing.assert_array_equal(part, whole[16:32])


def test_equal_settings_are_equal_values():
    # Fails if a closure is compared by identity: each stream would compile again.
    assert crop_flip(4) == crop_flip(4)
    assert hash(crop_flip(4)) == hash(chain(PadCrop(4, "reflect"), Flip(0.5)))
    assert crop_flip(4) != crop_flip(3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: PadCrop(-1), "padding = -1"),
        (lambda: PadCrop(1, "edge"), "choose 'reflect' or 'zero'"),
        (lambda: Flip(1.5), r"outside \[0, 1\]"),
        (lambda: PadCrop(5)(jax.random.key(0), jnp.asarray(IMAGES)), "can't be reflected"),
        (lambda: Flip()(jax.random.key(0), jnp.ones((4, 3))), "augment=None"),
        (lambda: image_keys(jax.random.split(jax.random.key(0), 3), 4), "one per image"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
