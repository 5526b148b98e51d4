"""Splits, noise and streams of an experiment, and the user's own images."""

import csv
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from famus_jax.cli import main
from famus_jax.data import Examples
from famus_jax.data.types import take
from famus_jax.train import mended
from famus_jax.train.data_config import DataConfig
from famus_jax.train.data_setup import Sources, load_sources, seed_data


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


def test_normalization_is_of_the_training_part():
    """Fails if the test or the trusted images count, or 255 is not divided by."""
    seeded = seed_data(Sources(examples(), examples(), 0), CONFIG, seed=1)
    images = examples().images[seeded.splits.train] / 255.0
    assert seeded.normalize is not None
    np.testing.assert_allclose(seeded.normalize[0], images.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(seeded.normalize[1], images.std((0, 1, 2)), rtol=1e-5)


def counts(seeded, part):
    return np.bincount(seeded.clean[part], minlength=4).tolist()


@pytest.mark.parametrize(
    ("profile", "expected"),
    # 50 per class, 5 for validation. mwnet: (45 - 3) 8^(-i/3); cui: 45 8^(-i/3), 3 of class 0 lost.
    [("mwnet", [42, 21, 10, 5]), ("cui", [42, 22, 11, 5])],
)
def test_long_tail(profile, expected):
    """Counts by hand. Fails if the trusted set is thinned, or the tail is cut from noisy labels."""
    config = dataclasses.replace(CONFIG, imbalance_factor=8.0, imbalance_profile=profile)
    plain = examples()
    seeded = seed_data(Sources(plain, plain, 0), config, seed=1)
    train, validation, trusted = seeded.splits
    assert counts(seeded, train) == expected
    assert counts(seeded, trusted) == [3, 3, 3, 3]
    assert counts(seeded, validation) == [5, 5, 5, 5]
    assert len(set(train) | set(validation) | set(trusted)) == sum(expected) + 32
    assert 0.3 < seeded.wrong[train].mean() < 0.7
    assert not seeded.wrong[trusted].any()


def test_exact_noise_counts_the_long_tail_alone():
    """floor(r N) of the examples that are left. Fails if labels are corrupted before thinning."""
    config = dataclasses.replace(
        CONFIG,
        noise="dividemix/symmetric",
        noise_rate=1.0,
        imbalance_factor=8.0,
        trusted_per_class=1,
    )
    plain = examples()
    one, other = (
        seed_data(Sources(part, plain, 0), config, seed=1)
        for part in (plain, plain._replace(ids=np.char.add("x", plain.ids)))
    )
    assert one.noise_digest != other.noise_digest
    unused = np.setdiff1d(np.arange(200), np.concatenate(one.splits))
    assert len(unused) > 50
    assert not one.wrong[unused].any()
    assert one.wrong[one.splits.train].mean() > 0.5


def test_long_tail_of_unequal_classes():
    """They are cut to the smallest first: 48 of each, less 5 and 3."""
    plain = examples()
    part = take(plain, np.setdiff1d(np.arange(200), [0, 4]))
    config = dataclasses.replace(CONFIG, imbalance_factor=8.0)
    seeded = seed_data(Sources(part, plain, 0), config, seed=1)
    assert counts(seeded, seeded.splits.train) == [40, 20, 10, 5]


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
def test_a_folder_of_images_in_one_command(folders, tmp_path, capsys, monkeypatch):
    def audit(items, **_):  # takes a minute; it has tests of its own
        issue = np.zeros(len(items.labels), bool)
        likely = np.zeros(len(items.labels))
        return SimpleNamespace(
            issues=SimpleNamespace(
                is_label_issue=issue, suggested_label=items.labels, p_suggested=likely
            )
        )

    monkeypatch.setattr(mended, "audit", audit)
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
    assert [row["method"] for row in rows] == ["ce", "ce_early_stop", "finetune", "mended", "mwnet"]
    run = tmp_path / "runs" / "mwnet-all_layers_examples8"
    weights = np.load(run / "seed_0" / "weights.npz")
    assert sum(name.startswith("trusted/") for name in weights["ids"]) == 30
    listed = list(csv.DictReader((run / "label_issues.csv").read_text().splitlines()))
    assert {row["id"] for row in listed} == {str(i) for i in weights["ids"]}
    seen = {str(i) for i, w in zip(weights["ids"], weights["aum"], strict=True) if np.isfinite(w)}
    assert {row["id"] for row in listed if int(row["rank"])} == seen  # not trusted or held-out ones
    assert all(f"/{row['label']}/" in f"/{row['id']}" for row in listed)  # the folder is the label
    assert {row["p_wrong"] for row in listed if row["id"].startswith("trusted/")} == {"0"}


def test_splits_by_other_names(tmp_path):
    """Fails if a split's name is ignored: here the roles of the two are swapped."""
    plain = load_sources(DataConfig(data_dir=str(tmp_path)))
    swapped = load_sources(
        DataConfig(data_dir=str(tmp_path), train_split="test", test_split="train")
    )
    np.testing.assert_array_equal(plain.train.ids, swapped.test.ids)
    np.testing.assert_array_equal(plain.test.ids, swapped.train.ids)


def test_trusted_data_of_other_classes_are_refused(folders, tmp_path):
    for name in ("digit_7", "digit_8"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name / "a.png")
    config = DataConfig(
        source=f"{folders}/noisy", trusted_source=str(tmp_path), noise="none", image_size=8
    )
    with pytest.raises(ValueError, match="must have the classes"):
        load_sources(config)
