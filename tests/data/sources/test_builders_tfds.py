"""tfds's own conformance tests for our builders; they need TensorFlow, so most runs skip them."""

import tempfile
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("dill")

import tensorflow_datasets as tfds

from famus_jax.data.sources.builders import famus_clothing1m, famus_digits, famus_mini_webvision
from tests.data.sources import dummies

_DUMMIES = Path(tempfile.mkdtemp(prefix="famus_dummies_"))
dummies.webvision(_DUMMIES / "w")
dummies.clothing1m(_DUMMIES / "c")
(_DUMMIES / "d").mkdir()

pytestmark = pytest.mark.slow


class MiniWebvisionTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = famus_mini_webvision.FamusMiniWebvision
    EXAMPLE_DIR = _DUMMIES / "w"
    SPLITS = {"train": 3, "validation": 1}  # noqa: RUF012


class Clothing1mTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = famus_clothing1m.FamusClothing1m
    EXAMPLE_DIR = _DUMMIES / "c"
    SPLITS = {"train": 2, "clean_train": 1, "validation": 1, "test": 1}  # noqa: RUF012


class DigitsTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = famus_digits.FamusDigits
    EXAMPLE_DIR = _DUMMIES / "d"
    SPLITS = {"train": 1352, "test": 445}  # noqa: RUF012
    OVERLAPPING_SPLITS = ("train", "test")
