"""Frozen features of images: photographs whose classes are known, and how images get there."""

import io

import jax
import numpy as np
import pytest

from famus_jax.models.image_features import WIDTH, image_features
from famus_jax.models.pretrained_efficientnet import load_efficientnet_lite0
from famus_jax.progress import Progress

RNG = np.random.default_rng(0)
PALACE, BELL_COTE, DAISY = 698, 442, 985  # places among ImageNet's classes


def test_what_the_network_sees_in_photographs():
    """A temple and a daisy-like flower. Fails for pixels in [0, 1], or weights out of order."""
    datasets = pytest.importorskip("sklearn.datasets")
    photographs = [datasets.load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    middle = np.stack([image[:, 106:533] for image in photographs])
    features = image_features(middle, size=224, batch=2)
    assert (features.shape, features.dtype) == ((2, WIDTH), np.float32)
    head = jax.device_get(load_efficientnet_lite0()["params"]["head"])
    best = np.argsort(-(features @ head["kernel"] + head["bias"]), axis=1)
    assert set(best[0, :2]) == {PALACE, BELL_COTE}
    assert best[1, 0] == DAISY


@pytest.mark.slow
def test_small_images_in_parts():
    """Fails if the last part is lost or in another order, or if the images of a part mix."""
    images = RNG.integers(0, 256, (5, 8, 10, 3), dtype=np.uint8)
    stream = io.StringIO()
    with Progress(5, "image", stream=stream) as progress:
        parts = image_features(images, size=32, batch=2, progress=progress)
    assert progress.done == 5
    whole = image_features(images, size=32, batch=50)
    np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(parts, image_features(images, size=32, batch=2))
    distances = np.abs(whole[:, None] - whole[None]).max(-1) + 9 * np.eye(5)
    assert distances.min() > 0.1
    assert image_features(images[:0], size=32).shape == (0, WIDTH)


def test_gray_images_are_gray_in_color():
    gray = RNG.integers(0, 256, (2, 8, 10, 1), dtype=np.uint8)
    here = image_features(gray, size=32, batch=2)
    np.testing.assert_array_equal(here, image_features(gray.repeat(3, axis=3), size=32, batch=2))


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), {}, r"images are bytes \(uint8\), got float32"),
        (np.zeros((2, 8, 8), np.uint8), {}, r"shape \(2, 8, 8\); a gray set needs a last axis"),
        (np.zeros((2, 8, 8, 4), np.uint8), {}, r"shape \(2, 8, 8, 4\)"),
        (np.zeros((2, 0, 8, 3), np.uint8), {}, r"shape \(2, 0, 8, 3\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"size": 31}, "from 32 up, got 31"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"batch": 0}, "from 1 up, got 0"),
    ],
)
def test_images_that_cannot_be(images, options, words):
    with pytest.raises(ValueError, match=words):
        image_features(images, **options)
