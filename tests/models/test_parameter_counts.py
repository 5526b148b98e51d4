"""Parameter counts against the published ones, by `eval_shape`: nothing is allocated."""

import jax
import jax.numpy as jnp
import pytest

from famus_jax.models import build_model

# Counted in, or published with, the PyTorch originals, for RGB images. The PreAct-ResNet-18 count
# fails if the stem loses its norm, if a norm follows the last block, or if a shortcut has a norm.
PUBLISHED = [
    ("wrn_28_10", 10, 32, 36_479_194),
    ("wrn_40_2", 10, 32, 2_243_546),
    ("preact_resnet_18", 10, 32, 11_171_274),
    ("preact_resnet_18", 100, 32, 11_217_444),
    ("resnet_32", 10, 32, 464_154),
    ("resnet_34", 1000, 64, 21_797_672),
    ("resnet_50", 1000, 64, 25_557_032),
    ("inception_resnet_v2", 1000, 96, 55_843_464),
    ("efficientnet_lite0", 1000, 32, 4_652_008),  # published as 4.7 million
]


def count(name: str, num_classes: int, size: int, **overrides) -> int:
    model = build_model(name, num_classes, **overrides)
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(("name", "num_classes", "size", "expected"), PUBLISHED)
def test_published_count(name, num_classes, size, expected):
    assert count(name, num_classes, size) == expected


def test_small_networks_by_hand():
    # Dense 4*4*3 -> 5 -> 7 with biases; convolutions 3 -> 4 -> 6 without, two norms, dense -> 7.
    assert count("mlp", 7, 4, hidden=(5,)) == (48 * 5 + 5) + (5 * 7 + 7)
    assert count("cnn", 7, 4, widths=(4, 6)) == 27 * 4 + 8 + 36 * 6 + 12 + (6 * 7 + 7)


def test_without_norm_every_convolution_has_a_bias():
    # A norm has a scale and a bias, so dropping it and gaining a bias costs one scale per channel.
    assert count("cnn", 7, 4, widths=(4, 6)) - count("cnn", 7, 4, widths=(4, 6), norm="none") == 10
