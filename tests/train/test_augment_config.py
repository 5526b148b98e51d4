"""`data.augment` of a config: it reaches the batches, and what can't work is refused by its name."""

import contextlib

import ml_collections
import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from famus_jax.data.augment.named import KINDS
from famus_jax.train import streams
from famus_jax.train.config import default_config, parse_config
from famus_jax.train.data_config import DataConfig
from famus_jax.train.data_setup import load_sources, seed_data
from famus_jax.train.experiment import run_experiment

FOUR = {"kind": "cutout", "size": 4}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def settings(data_dir, augment, **data):
    return {
        "data": {"data_dir": data_dir, "max_test": 50, "augment": augment, **data},
        "model": {"name": "mlp", "overrides": {"hidden": (8,)}},
        "schedule": {"steps": 2, "batch_size": 8, "eval_every": 2, "checkpoint_every": 2},
        "runs": [{"method": "ce"}],
        "seeds": [0],
    }


@pytest.fixture(scope="module")
def seeded(data_dir):
    config = DataConfig(data_dir=data_dir)
    return seed_data(load_sources(config), config, 0)


def batch(seeded, augment, views=1):
    config = parse_config(settings("", augment)).data
    with contextlib.ExitStack() as stack:
        where = seeded.splits.train
        stream = streams.make_stream(stack, seeded, where, seeded.noisy, config, 16, 3, views=views)
        return {name: np.asarray(value) for name, value in stream.batch(5).items()}


@pytest.mark.parametrize(
    "augment",
    [*KINDS, FOUR, ["crop_flip", {"kind": "randaugment", "magnitude": 5}, FOUR]],
    ids=str,
)
def test_a_config_changes_the_images_of_a_batch(seeded, augment):
    """The images only: order and labels are the same. Fails if a name leads nowhere."""
    plain, changed = batch(seeded, "none"), batch(seeded, augment)
    np.testing.assert_array_equal(plain["index"], changed["index"])
    np.testing.assert_array_equal(plain["label"], changed["label"])
    assert plain["image"].shape == changed["image"].shape
    assert not np.allclose(plain["image"], changed["image"])


def test_arguments_reach_the_augmentation(seeded):
    """Before normalization a blank square is 0, so a whole blank image has one value per channel."""
    all_blank = batch(seeded, {"kind": "cutout", "size": 99})["image"]
    assert np.ptp(all_blank) == 0
    assert np.ptp(batch(seeded, FOUR)["image"]) > 0


def test_views_are_augmented_apart(seeded):
    found = batch(seeded, ["flip", FOUR], views=2)
    assert not np.allclose(found["image"], found["image_1"])


@pytest.mark.parametrize("augment", ["randaugment", ("shift", FOUR)], ids=str)
def test_a_run(data_dir, tmp_path, augment):
    result = run_experiment(settings(data_dir, augment), tmp_path, show=lambda _: None)
    assert len(result["rows"]) == 1
    again = run_experiment(settings(data_dir, augment), tmp_path, show=lambda _: None)
    assert again["rows"] == result["rows"]  # the work directory knows its own config
    with pytest.raises(ValueError, match="another experiment .it differs in data"):
        run_experiment(settings(data_dir, "none"), tmp_path, show=lambda _: None)


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        ("pad_crop_flip", r"data\.augment: there is no 'pad_crop_flip'.*crop_flip"),
        (["shift", {"kind": "cutout", "size": 0}], r"data\.augment\[1\], cutout: size = 0"),
        (5, r"data\.augment = 5: give a name"),
    ],
)
def test_refused_by_name(augment, words):
    with pytest.raises(ValueError, match=words):
        parse_config(settings("", augment))


def test_refused_before_a_file_is_made(data_dir, tmp_path):
    """The digits are gray."""
    config = settings(data_dir, {"kind": "color_jitter", "hue": 0.1})
    with pytest.raises(ValueError, match=r"data\.augment: images have 1 channels; a hue needs 3"):
        run_experiment(config, tmp_path / "new", show=lambda _: None)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("value", ["cutout", ("flip", FOUR), FOUR, ["flip"]], ids=str)
def test_a_config_file_may_give_any_of_the_forms(value):
    """Fails if the field's type is that of its default."""
    config = default_config()
    config.update({"data": {"augment": value}, "runs": ({"method": "ce"},)})
    plain = config.to_dict()
    assert isinstance(plain["data"]["augment"], str | tuple | list | dict)
    parse_config(plain)
    again = ml_collections.ConfigDict(config)
    assert again.to_dict() == plain


@pytest.mark.parametrize(
    ("text", "value"),
    [("cutout", "cutout"), ('("flip", {"kind": "cutout", "size": 4})', ("flip", FOUR))],
)
def test_the_command_line_too(text, value):
    values, argv = flags.FlagValues(), ["famus", f"--config.data.augment={text}"]
    config = config_flags.DEFINE_config_dict(
        "config", default_config(), flag_values=values, sys_argv=argv
    )
    values(argv)
    assert config.value.data.augment == value
