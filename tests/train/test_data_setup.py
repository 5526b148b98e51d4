"""Splits, noise and streams of an experiment, and the user's own images."""

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from famus_jax.cli import main
from famus_jax.data import Examples
from famus_jax.train.config import DataConfig
from famus_jax.train.data_setup import Sources, load_sources, pixel_statistics, seed_data


def examples(n=200, num_classes=4):
    rng = np.random.default_rng(0)
    return Examples(
        rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8),
        np.arange(n, dtype=np.int32) % num_classes,
        np.array([f"e_{i}" for i in range(n)]),
        num_classes,
        "made up",
    )


CONFIG = DataConfig(noise="pair_flip", noise_rate=0.5, trusted_per_class=3, validation_per_class=5)


def test_trusted_labels_stay_clean_and_parts_are_disjoint():
    """Fails if the meta set is taken from corrupted labels or overlaps the training set."""
    seeded = seed_data(Sources(examples(), examples(), 0), CONFIG, seed=1)
    parts = [set(part.tolist()) for part in seeded.splits]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 200
    assert not seeded.wrong[seeded.splits.trusted].any()
    assert seeded.wrong[seeded.splits.validation].any()
    wrong = seeded.wrong[seeded.splits.train]
    assert seeded.noise_rate == wrong.mean()
    assert 0.3 < seeded.noise_rate < 0.7
    moved = seeded.noisy[seeded.wrong]
    np.testing.assert_array_equal(moved, (seeded.clean[seeded.wrong] + 1) % 4)


def test_noise_does_not_depend_on_the_order_of_examples():
    """Fails if the corruption is drawn by position instead of by (seed, id)."""
    plain, order = examples(), np.random.default_rng(1).permutation(200)
    shuffled = plain._replace(
        images=plain.images[order], labels=plain.labels[order], ids=plain.ids[order]
    )
    a = seed_data(Sources(plain, plain, 0), CONFIG, seed=3)
    b = seed_data(Sources(shuffled, plain, 0), CONFIG, seed=3)
    np.testing.assert_array_equal(a.noisy[order], b.noisy)
    assert a.noise_digest == b.noise_digest
    other = seed_data(Sources(plain, plain, 0), CONFIG, seed=4)
    assert (a.noisy != other.noisy).any()


def test_pixel_statistics_are_numpys():
    images = examples().images
    mean, std = pixel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255.0).mean((0, 1, 2)))
    np.testing.assert_allclose(std, (images / 255.0).std((0, 1, 2)))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Digits as PNGs in class folders, 20 % of them in the wrong one; and trusted ones."""
    root, digits = tmp_path_factory.mktemp("photos"), load_digits(n_class=3)
    rng = np.random.default_rng(0)
    for i, (image, label) in enumerate(zip(digits.images[:260], digits.target, strict=False)):
        name, shown = "noisy", int(label)
        if i < 30:
            name = "trusted"
        elif rng.random() < 0.2:
            shown = (shown + 1) % 3
        folder = root / name / f"digit_{shown}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype(np.uint8)).save(folder / f"{i:03d}.png")
    return root


@pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")  # ml_collections
def test_a_folder_of_images_in_one_command(folders, tmp_path, capsys):
    status = main(
        [
            "famus",
            "train",
            "--config=configs/own_data.py",
            f"--workdir={tmp_path}",
            f"--config.data.source={folders}/noisy",
            f"--config.data.trusted_source={folders}/trusted",
            "--config.data.image_size=8",
            "--config.schedule.steps=4",
            "--config.schedule.batch_size=8",
            "--config.schedule.meta_batch_size=6",
            "--config.schedule.finetune_steps=2",
            "--config.schedule.eval_every=2",
            "--config.schedule.checkpoint_every=4",
            "--config.model.name=mlp",
        ]
    )
    assert status == 0, capsys.readouterr().err
    rows = json.loads((tmp_path / "summary.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["ce", "ce_early_stop", "finetune", "l2r"]
    weights = np.load(tmp_path / "runs" / "l2r-famus_top1_active_only" / "seed_0" / "weights.npz")
    assert sum(name.startswith("trusted/") for name in weights["ids"]) == 30


def test_trusted_data_of_other_classes_are_refused(folders, tmp_path):
    for name in ("digit_7", "digit_8"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name / "a.png")
    config = DataConfig(
        source=f"{folders}/noisy", trusted_source=str(tmp_path), noise="none", image_size=8
    )
    with pytest.raises(ValueError, match="must have the classes"):
        load_sources(config)
