"""Our builders of sets that are fetched by hand, on dummy files, without TensorFlow."""

import numpy as np
import pytest

from famus_jax.data.sources.load import load_source
from famus_jax.data.sources.random_access import TfdsSource
from famus_jax.data.sources.tfds import load_column
from famus_jax.data.types import content_digest
from tests.data.sources import dummies


def manual(root):
    folder = root / "downloads" / "manual"
    folder.mkdir(parents=True)
    return folder


def level(images):
    return np.rint(images.reshape(len(images), -1).mean(1) / 8).astype(int).tolist()


def test_mini_webvision(tmp_path):
    dummies.webvision(manual(tmp_path))
    train = load_source("famus_mini_webvision", "train", tmp_path, size=8)
    assert train.ids.tolist() == [
        "google/q0001/a.jpg",
        "google/q0002/b c.jpg",
        "google/q0050/d.jpg",
    ]
    assert train.labels.tolist() == [0, 1, 49]
    assert train.num_classes == 50
    assert level(train.images) == [0, 1, 2]
    validation = load_source("famus_mini_webvision", "validation", tmp_path)
    assert (validation.ids.tolist(), level(validation.images)) == (["val/val000001.jpg"], [11])
    with pytest.raises(ValueError, match=r"image 1 of 'train' is .* give size="):
        load_source("famus_mini_webvision", "train", tmp_path)
    source = TfdsSource("famus_mini_webvision", "train", tmp_path)
    assert [source[row].shape for row in range(3)] == [(9, 7, 3), (9, 8, 3), (9, 9, 3)]
    column = load_column("famus_mini_webvision", "train", "label", tmp_path)
    assert column.values.tolist() == [0, 1, 49]
    assert column.ids.tolist() == train.ids.tolist()
    assert column.num_classes == 50


@pytest.mark.parametrize("annotations", ["", "annotations"])
def test_clothing1m(tmp_path, annotations):
    dummies.clothing1m(manual(tmp_path), annotations)
    found = {
        split: load_source("famus_clothing1m", split, tmp_path)
        for split in ("train", "clean_train", "validation", "test")
    }
    # the training labels are the noisy ones
    assert found["train"].labels.tolist() == [13, 12]
    assert [found[s].labels.tolist() for s in ("clean_train", "validation", "test")] == [
        [0],
        [1],
        [2],
    ]
    assert [level(f.images) for f in found.values()] == [[0, 1], [2], [3], [4]]
    assert found["test"].ids.tolist() == ["images/4/00/e.jpg"]
    assert found["train"].class_names[0] == "T-Shirt"
    assert found["train"].num_classes == 14


@pytest.mark.parametrize("name", ["famus_mini_webvision", "famus_clothing1m"])
def test_missing_files_spell_out_the_steps(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r"by hand|on request"):
        load_source(name, "train", tmp_path)
    folder = manual(tmp_path)
    (folder / "something").write_text("else")
    with pytest.raises(FileNotFoundError, match=str(folder)) as caught:
        load_source(name, "train", tmp_path)
    assert "key_list" in str(caught.value) or "filelist" in str(caught.value)


def test_damaged_lists_are_named(tmp_path):
    base = dummies.webvision(manual(tmp_path))
    (base / "info" / "train_filelist_google.txt").write_text("google/q0001/a.jpg 0\nnonsense\n")
    with pytest.raises(ValueError, match=r"train_filelist_google\.txt, line 2"):
        load_source("famus_mini_webvision", "train", tmp_path)
    base = dummies.clothing1m(tmp_path / "downloads" / "manual")
    (base / "noisy_label_kv.txt").write_text("images/0/00/a.jpg 3\n")
    with pytest.raises(ValueError, match=r"no label for 'images/1/00/b\.jpg'"):
        load_source("famus_clothing1m", "train", tmp_path)


def test_column_and_digest(tmp_path):
    train = load_source("famus_digits", "train", tmp_path)
    column = load_column("famus_digits", "train", "label", tmp_path)
    np.testing.assert_array_equal(column.values, train.labels)
    with pytest.raises(ValueError, match="no feature 'is_clean'"):
        load_column("famus_digits", "train", "is_clean", tmp_path)
    order = np.random.default_rng(0).permutation(len(train.ids))
    shuffled = train._replace(
        images=train.images[order], labels=train.labels[order], ids=train.ids[order]
    )
    assert content_digest(shuffled) == content_digest(train)
    other = train._replace(images=train.images ^ np.uint8(1))
    assert content_digest(other) != content_digest(train)
