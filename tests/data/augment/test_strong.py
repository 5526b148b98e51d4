"""Stronger augmentations: color operations against Pillow and colorsys, geometry by hand."""

import colorsys
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from famus_jax.data.augment import color
from famus_jax.data.augment import host as host_augment
from famus_jax.data.augment.color_jitter import ColorJitter
from famus_jax.data.augment.crop_flip import Flip, PadCrop
from famus_jax.data.augment.cutout import Cutout
from famus_jax.data.augment.device import image_keys, two_views
from famus_jax.data.augment.randaugment import OPERATIONS, RandAugment, apply_operation, warp
from famus_jax.data.augment.random_resized_crop import RandomResizedCrop
from famus_jax.data.batches.in_memory import in_memory_stream

PIXELS = np.random.default_rng(0).integers(30, 200, (3, 32, 24, 3)).astype(np.uint8)
IMAGES = jnp.asarray(PIXELS / 255.0, jnp.float32)
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def _no_rank_promotion():
    with jax.numpy_rank_promotion("raise"):
        yield


@functools.partial(jax.jit, static_argnums=0)
def run(augment, rng, images):
    return augment(rng, images)


one_round = jax.jit(apply_operation)


def full(value, dtype=jnp.float32):
    return jnp.full(3, value, dtype)


@pytest.mark.parametrize(
    ("ours", "pillow", "tolerance"),
    [
        (lambda x: color.brightness(x, full(1.4)), lambda p: enhance("Brightness", p, 1.4), 1),
        (lambda x: color.contrast(x, full(0.3)), lambda p: enhance("Contrast", p, 0.3), 2),
        (lambda x: color.saturation(x, full(1.7)), lambda p: enhance("Color", p, 1.7), 2),
        (lambda x: color.sharpness(x, full(1.9)), lambda p: enhance("Sharpness", p, 1.9), 2),
        (
            lambda x: color.posterize(x, full(3, jnp.int32)),
            lambda p: ImageOps.posterize(p, 3),
            0,
        ),
        (lambda x: color.solarize(x, full(128 / 255)), lambda p: ImageOps.solarize(p, 128), 0),
        (color.autocontrast, ImageOps.autocontrast, 1),
        (color.equalize, ImageOps.equalize, 0),
        (color.gray, ImageOps.grayscale, 1),
    ],
)
def test_color_operations_are_pillows(ours, pillow, tolerance):
    out = np.asarray(jax.jit(ours)(IMAGES)) * 255
    for got, pixels in zip(out, PIXELS, strict=True):
        expected = np.asarray(pillow(Image.fromarray(pixels)), np.float64).reshape(got.shape)
        assert abs(got - expected).max() <= tolerance + 1e-3


def enhance(name, picture, factor):
    return getattr(ImageEnhance, name)(picture).enhance(factor)


@pytest.mark.parametrize("turn", [0.0, 0.1, -0.3, 0.5])
def test_hue_is_colorsys(turn):
    images = IMAGES[:, :8, :8].at[0, 0, 0].set(0.5)  # a gray pixel has no hue
    out = np.asarray(jax.jit(color.hue)(images, full(turn)))
    for got, pixel in zip(out.reshape(-1, 3), np.asarray(images).reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*pixel.tolist())
        np.testing.assert_allclose(got, colorsys.hsv_to_rgb((h + turn) % 1, s, v), atol=1e-5)


def test_constant_channels_survive():
    flat = jnp.full((3, 8, 8, 3), 0.4)
    for operation in (color.autocontrast, color.equalize):
        np.testing.assert_allclose(operation(flat), 0.4, atol=1e-6)


def test_jitter_stays_in_its_range():
    # Brightness alone: the ratio to the image is the factor, one per image, within [0.5, 1.5].
    many = jnp.full((200, 4, 4, 3), 0.5)
    out = np.asarray(run(ColorJitter(0.5, 0.0, 0.0), KEY, many)) / 0.5
    factors = out[:, 0, 0, 0]
    np.testing.assert_allclose(out, np.broadcast_to(factors[:, None, None, None], out.shape))
    assert 0.5 <= factors.min() < 0.6
    assert 1.4 < factors.max() <= 1.5
    same = ColorJitter(0.0, 0.0, 0.0, 0.0)(KEY, IMAGES)
    np.testing.assert_array_equal(same, IMAGES)


def test_cutout_is_one_square_per_image():
    out = np.asarray(run(Cutout(4, fill=(0.1, 0.2, 0.3)), KEY, jnp.ones((50, 9, 7, 3))))
    places = set()
    for image in out:
        rows, columns = np.nonzero(image[..., 0] < 1)
        assert np.ptp(rows) < 4
        assert np.ptp(columns) < 4
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        np.testing.assert_allclose(image[rows[0], columns[0]], [0.1, 0.2, 0.3])
        places.add((rows[0], columns[0]))
    assert len(places) > 20


def test_resized_crop_of_a_ramp_is_a_part_of_it():
    # On a linear ramp every crop is linear with the slope h/H; fails if x and y are swapped or
    # the corner is not scaled.
    height, width = 24, 36
    y = jnp.broadcast_to(jnp.linspace(0, 1, height)[:, None], (height, width))
    x = jnp.broadcast_to(jnp.linspace(0, 1, width)[None], (height, width))
    images = jnp.broadcast_to(jnp.stack([y, x], -1)[None], (30, height, width, 2))
    out = np.asarray(run(RandomResizedCrop(scale=(0.2, 0.8)), KEY, images))
    inner = out[:, 4:-4, 4:-4]
    slope_y = np.diff(inner[..., 0], axis=1) * (height - 1)
    slope_x = np.diff(inner[..., 1], axis=2) * (width - 1)
    np.testing.assert_allclose(slope_y, slope_y[:, :1, :1] * np.ones_like(slope_y), atol=2e-3)
    h, w = slope_y[:, 0, 0], slope_x[:, 0, 0]  # shares of height and width
    assert (h * w > 0.15).all()
    assert (h * w < 0.81).all()
    ratio = (w * width) / (h * height)
    whole = (h > 0.99) | (w > 0.99)
    assert ((ratio > 0.74) & (ratio < 1.34))[~whole].all()
    assert np.ptp(h) > 0.2
    # A quarter of the area: the corners are uniform over the free half of each side.
    quarter = run(
        RandomResizedCrop(scale=(0.25, 0.25), ratio=(1.5, 1.5)), KEY, images[:1].repeat(200, 0)
    )
    start = np.asarray(quarter)[:, 4, 4] - 4.5 / np.array([2 * height, 2 * width])
    assert (start.min(0) < 0.03).all()
    assert (start.max(0) > 0.45).all()
    np.testing.assert_allclose(start.mean(0), 0.25, atol=0.05)
    everything = run(RandomResizedCrop(scale=(1.0, 1.0), ratio=(1.5, 1.5)), KEY, images)
    np.testing.assert_allclose(everything, images, atol=1e-5)


def test_warp_by_hand():
    image = jnp.arange(12.0).reshape(1, 3, 4, 1)
    right = jnp.asarray([[[1.0, 0, -1], [0, 1, 0]]])  # output x reads input x - 1
    expected = [[0, 0, 1, 2], [0, 4, 5, 6], [0, 8, 9, 10]]
    np.testing.assert_array_equal(warp(image, right)[0, ..., 0], expected)
    square = jnp.arange(9.0).reshape(1, 3, 3, 1)
    # positive angles turn left, as in Pillow
    quarter = jnp.asarray([[[0.0, -1, 0], [1, 0, 0]]])
    turned = np.asarray(warp(square, quarter))[0, ..., 0]
    np.testing.assert_array_equal(turned, np.rot90(np.arange(9).reshape(3, 3)))


def test_directions_are_pillows():
    # Rotation turns left for a positive angle, translation goes right and down.
    square = np.random.default_rng(1).integers(0, 256, (25, 25, 3)).astype(np.uint8)
    images = jnp.asarray(square[None].repeat(3, 0) / 255.0, jnp.float32)
    picture = Image.fromarray(square)
    for strength in (1.0, -0.4):
        turned = np.asarray(
            one_round(images, full(OPERATIONS.index("rotate"), jnp.int32), full(strength))
        )
        expected = np.asarray(picture.rotate(30 * strength, Image.Resampling.NEAREST))
        same = (np.rint(turned[0] * 255) == expected).all(-1)
        assert same.mean() > 0.97  # ties of "nearest" may fall either way
    moved = np.asarray(
        one_round(images, full(OPERATIONS.index("translate_y"), jnp.int32), full(0.4))
    )
    pixels = int(0.4 * 25 * 150 / 331)
    np.testing.assert_allclose(moved[0][pixels:], images[0][:-pixels], atol=1e-6)
    assert (moved[0][:pixels] == 0).all()


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_at_zero_and_full_strength(name):
    # At strength 0 all but three do nothing; fails if an operation is off by one in the table.
    operation = full(OPERATIONS.index(name), jnp.int32)
    still = np.asarray(one_round(IMAGES, operation, full(0.0)))
    if name not in ("autocontrast", "equalize"):
        np.testing.assert_allclose(still, IMAGES, atol=1e-6)
    moved = np.asarray(one_round(IMAGES, operation, full(1.0)))
    assert moved.shape == IMAGES.shape
    assert name == "identity" or abs(moved - np.asarray(IMAGES)).max() > 0.02
    if name.startswith(("shear", "translate", "rotate")):
        assert (moved == 0).any()


def test_randaugment_draws_per_image_and_step():
    images = jnp.broadcast_to(IMAGES[:1, :8, :8], (32, 8, 8, 3))
    augment = RandAugment(1, 12)
    keys = image_keys(KEY, 32)
    out = np.asarray(run(augment, keys, images))
    assert len({o.tobytes() for o in out}) > 10
    # each image has its own randomness: another order is another order of the results
    order = np.random.default_rng(0).permutation(32)
    np.testing.assert_array_equal(run(augment, keys[order], images), out[order])
    assert RandAugment(1, 12) == augment
    assert out.min() >= 0
    assert out.max() <= 1


def test_two_views_are_two_draws():
    stream = in_memory_stream(
        PIXELS, np.arange(3), 3, seed=0, augment=two_views(PadCrop(3)), normalize=(0.5, 0.5)
    )
    batch = stream.batch(0)
    assert set(batch) == {"image", "image_1", "label", "index"}
    assert batch["image_1"].shape == batch["image"].shape == (3, 32, 24, 3)
    assert not np.array_equal(batch["image"], batch["image_1"])
    plain, flipped = two_views(Flip(0.0), Flip(1.0))(KEY, IMAGES)
    np.testing.assert_array_equal(plain[:, :, ::-1], flipped)


def test_host_crops():
    image = np.broadcast_to(np.arange(0, 200, 5, dtype=np.uint8)[None, :, None], (30, 40, 3))
    middle = host_augment.ResizeCrop(30, 20, random=False)(image, np.zeros(16))
    np.testing.assert_array_equal(middle, image[5:25, 10:30])
    corner = host_augment.ResizeCrop(30, 20)(image, np.zeros(16))
    np.testing.assert_array_equal(corner, image[:20, :20])
    crop = host_augment.RandomResizedCrop(16)
    rng = np.random.default_rng(0)
    shares, ratios = [], []
    for _ in range(300):
        left, top, right, bottom = crop.box(30, 40, rng.uniform(size=16))
        assert 0 <= left < right <= 40
        assert 0 <= top < bottom <= 30
        shares.append((right - left) * (bottom - top) / 1200)
        ratios.append((right - left) / (bottom - top))
    assert 0.05 < min(shares) < 0.15
    assert max(shares) > 0.8
    assert 0.6 < min(ratios) < max(ratios) < 1.6
    assert crop(image, rng.uniform(size=16)).shape == (16, 16, 3)
    # nothing fits (needs a ratio of 3): the middle part with the nearest ratio
    narrow = host_augment.RandomResizedCrop(16, scale=(1.0, 1.0), ratio=(3.0, 3.0))
    assert narrow.box(30, 40, rng.uniform(size=16)) == (0, 8, 40, 21)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ColorJitter(-0.1), "brightness = -0.1"),
        (lambda: ColorJitter(hue=0.6), "half of the circle"),
        (lambda: Cutout(0), "size = 0"),
        (lambda: RandomResizedCrop((0.0, 1.0)), "scale"),
        (lambda: RandomResizedCrop(ratio=(2.0, 1.0)), "ratio"),
        (lambda: RandAugment(0), "rounds = 0"),
        (lambda: RandAugment(2, 31), r"outside \[0, 30\]"),
        (lambda: host_augment.ResizeCrop(10, 20), "crop = 20"),
        (lambda: host_augment.RandomResizedCrop(0), "size = 0"),
        (lambda: color.gray(jnp.ones((1, 2, 2, 2))), "2 channels"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
