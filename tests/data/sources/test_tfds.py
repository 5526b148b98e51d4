"""Sources: the digits prepare without TensorFlow, twice at once, and missing sets are explained."""

import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from famus_jax.data import hashing
from famus_jax.data.sources import tfds as tfds_module
from famus_jax.data.sources.load import load_source
from famus_jax.data.sources.tfds import _prepared_dir
from famus_jax.data.types import first_classes


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


def test_digits_are_sklearns(data_dir):
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    train = load_source("famus_digits", "train", data_dir)
    test = load_source("famus_digits", "test", data_dir)
    assert (train.num_classes, len(train.labels), len(test.labels)) == (10, 1352, 445)
    assert not set(train.ids) & set(test.ids)
    for part in (train, test):
        rows = np.array([int(i.removeprefix("digits_")) for i in part.ids])
        np.testing.assert_array_equal(part.labels, labels[rows])
        np.testing.assert_array_equal(
            np.rint(part.images[..., 0] * (16 / 255)), pixels[rows].reshape(-1, 8, 8)
        )
        assert part.images.dtype == np.uint8
        assert part.labels.dtype == np.int32
    np.testing.assert_array_equal(np.bincount(test.labels), np.bincount(labels) // 4)


def test_split_is_pinned(data_dir):
    test = load_source("famus_digits", "test", data_dir)
    assert (
        hashing.table_digest(test.ids.tolist(), test.labels) == "b645654850a0a0d47fb8882042212c84"
    )


def test_two_processes_prepare_at_once(tmp_path):
    code = (
        "import sys; from famus_jax.data import load_source;"
        "x = load_source('famus_digits', 'test', sys.argv[1]);"
        "print(len(x.labels), 'tensorflow' in sys.modules)"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert out.split("\n")[-2] == "445 False", err
    # nothing half-made stays behind
    assert [p.name for p in (tmp_path / "famus_digits").iterdir()] == ["1.0.0"]


def test_environment_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "here"))
    load_source("famus_digits", "test")
    assert os.path.isdir(tmp_path / "here" / "famus_digits" / "1.0.0")


def test_missing_set_says_where_and_how(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_source("cifar10", "train", tmp_path)
    text = str(caught.value)
    assert str(tmp_path / "cifar10") in text
    assert "pip install 'famus_jax[prepare]'" in text
    assert "download_and_prepare()" in text


def test_unknown_split_lists_the_splits(data_dir):
    with pytest.raises(ValueError, match=r"no split 'val'; choose one of \['test', 'train'\]"):
        load_source("famus_digits", "val", data_dir)


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match="TFDS_DATA_DIR"):
        load_source("famus_digits", "train", tmp_path / "file")


@pytest.fixture(scope="module")
def unnamed(tmp_path_factory):
    """A prepared set without ids and class names, as tfds's MNIST is."""
    import tensorflow_datasets as tfds

    class DummyUnnamed(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("2.0.0")

        def _info(self):
            image = tfds.features.Image(shape=(4, 4, 1), encoding_format="png")
            label = tfds.features.ClassLabel(num_classes=3)
            other = tfds.features.ClassLabel(num_classes=3)
            features = {"image": image, "label": label, "human": other}
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for row in range(5):
                image = io.BytesIO()
                Image.fromarray(np.full((4, 4), row, np.uint8)).save(image, format="PNG")
                image.seek(0)
                yield row, {"image": image, "label": row % 3, "human": 2}

    root = tmp_path_factory.mktemp("unnamed")
    DummyUnnamed(data_dir=str(root), file_format="array_record").download_and_prepare()
    return root


def test_sets_without_ids_use_the_record_number(unnamed):
    found = load_source("dummy_unnamed", "train", unnamed)
    assert found.ids.tolist() == [f"train_{row:07d}" for row in range(5)]
    assert found.name == "dummy_unnamed:2.0.0/train"
    assert found.images.max(axis=(1, 2, 3)).tolist() == [0, 1, 2, 3, 4]
    assert found.labels.tolist() == [0, 1, 2, 0, 1]
    human = load_source("dummy_unnamed:2.0.0", "train", unnamed, label_key="human")
    assert human.labels.tolist() == [2] * 5
    with pytest.raises(ValueError, match="no feature 'worse_label'"):
        load_source("dummy_unnamed", "train", unnamed, label_key="worse_label")
    with pytest.raises(FileNotFoundError, match="not prepared"):
        load_source("dummy_unnamed:1.0.0", "train", unnamed)


def test_newest_version_wins(unnamed, tmp_path):
    for version in ("2.0.0", "10.0.0", "9.1.0", "10.0.0.incomplete1"):
        shutil.copytree(unnamed / "dummy_unnamed" / "2.0.0", tmp_path / "dummy_unnamed" / version)
    assert _prepared_dir("dummy_unnamed", tmp_path).name == "10.0.0"
    assert _prepared_dir("dummy_unnamed:9.1.0", tmp_path).name == "9.1.0"


def test_other_file_formats_say_how_to_convert(unnamed, tmp_path):
    shutil.copytree(unnamed, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*.array_record*"):
        path.rename(str(path).replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match="tfds convert_format"):
        load_source("dummy_unnamed", "train", tmp_path / "copy")


def test_first_classes(data_dir):
    found = first_classes(load_source("famus_digits", "test", data_dir), 3)
    assert set(found.labels.tolist()) == {0, 1, 2}
    assert (found.num_classes, found.class_names) == (3, ("0", "1", "2"))
    assert len(found.ids) == len(found.images) == len(found.labels)
    with pytest.raises(ValueError, match=r"num_classes = 11 must be in \[1, 10\]"):
        first_classes(load_source("famus_digits", "test", data_dir), 11)


@pytest.mark.parametrize("key", ["pythonClassName", "python_class_name", "type"])
@pytest.mark.parametrize("as_text", [False, True])
def test_a_prepared_folder_imports_nothing(unnamed, tmp_path, monkeypatch, key, as_text):
    """Fails if tfds is left to import the module that a set names as a feature, however it is spelled
    or nested: the module would run."""
    shutil.copytree(unnamed, tmp_path / "copy")
    path = next((tmp_path / "copy").rglob("features.json"))
    features = json.loads(path.read_text())
    foreign = {key: "foreign_module.Feature", "content": {}}
    inner = {"json": json.dumps(foreign)} if as_text else foreign
    features["featuresDict"]["features"]["label"] = inner
    path.write_text(json.dumps(features))
    (tmp_path / "foreign_module.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"features\.json names the feature 'foreign_module"):
        load_source("dummy_unnamed", "train", tmp_path / "copy")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": -1}, r"train/label: label -1 at row 0 names no class"),
        ({"label": 3}, r"label 3 at row 0 is outside the 3 classes"),
        ({"image": np.full((4, 4, 1), 300, np.uint16)}, r"image 0 of 'train' is uint16\[4, 4, 1\]"),
    ],
    ids=["no label", "too high", "16 bits"],
)
def test_records_mean_something(unnamed, monkeypatch, change, words):
    """Fails if -1, which tfds writes for no label, becomes the last class, or 300 becomes 44."""
    read = tfds_module._records
    changed = lambda *args: ({**record, **change} for record in read(*args))  # noqa: E731
    monkeypatch.setattr(tfds_module, "_records", changed)
    with pytest.raises(ValueError, match=words):
        load_source("dummy_unnamed", "train", unnamed)


def test_a_version_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is only version 1\.0\.0"):
        load_source("famus_digits:9.9.9", "train", tmp_path)
