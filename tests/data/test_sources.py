"""Sources: the digits prepare without TensorFlow, twice at once, and missing sets are explained."""

import os
import subprocess
import sys

import numpy as np
import pytest

from famus_jax.data import hashing
from famus_jax.data.sources import load_source


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


def test_import_pulls_in_no_data_library():
    code = (
        "import sys, famus_jax.data;"
        "print([m for m in ('tensorflow', 'tensorflow_datasets', 'sklearn', 'PIL', 'grain')"
        " if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


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
