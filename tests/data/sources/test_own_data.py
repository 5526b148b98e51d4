"""The user's own data: folders, tables, arrays, features; what can't be read is named."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from famus_jax.data import hashing
from famus_jax.data.sources import arrays, own_data
from famus_jax.data.sources.file_lists import list_folder, list_table, number_classes
from famus_jax.data.sources.load import load_source

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 6, 5, 3)).astype(np.uint8)


def save_images(root, per_class=4, classes=("cat", "dog", "eel")):
    """PNG files, image k of class c is PIXELS[4 c + k]."""
    for c, name in enumerate(classes):
        os.makedirs(root / name)
        for k in range(per_class):
            Image.fromarray(PIXELS[4 * c + k]).save(root / name / f"{k}.png")
    return root


def test_folder_of_class_folders(tmp_path):
    save_images(tmp_path / "animals")
    (tmp_path / "animals" / "notes.txt").write_text("ignored")
    (tmp_path / "animals" / "cat" / ".hidden.png").write_text("ignored")
    found = load_source(str(tmp_path / "animals"), "all")
    assert found.class_names == ("cat", "dog", "eel")
    assert (found.num_classes, found.name) == (3, "animals")
    assert found.ids.tolist()[:2] == ["cat/0.png", "cat/1.png"]
    np.testing.assert_array_equal(found.images, PIXELS)
    np.testing.assert_array_equal(found.labels, np.repeat([0, 1, 2], 4))


def test_one_piece_is_held_out_by_id(tmp_path):
    save_images(tmp_path / "a")
    train, test = (load_source(str(tmp_path / "a"), part) for part in ("train", "test"))
    assert np.bincount(test.labels).tolist() == [1, 1, 1]
    assert not set(train.ids) & set(test.ids)
    assert len(train.ids) == 9
    os.rename(tmp_path / "a", tmp_path / "moved")
    again = load_source(str(tmp_path / "moved"), "test")
    assert again.ids.tolist() == test.ids.tolist()


def test_many_classes_are_held_out_at_once():
    """A wrong column makes as many classes as rows; where each class looks at all rows this takes
    minutes. And against the definition, class by class."""
    rng = np.random.default_rng(0)
    ids = np.array([f"i{i}" for i in range(200_000)])
    assert own_data.held_out(np.arange(200_000), ids, "test").size == 0
    labels, ids = rng.integers(0, 5, 60), ids[:60]
    order, expected = hashing.hash_order(0, "own_data_test", ids), []
    for c in range(5):
        mine = [row for row in order if labels[row] == c]
        expected += mine[: len(mine) // 4]
    assert own_data.held_out(labels, ids, "test").tolist() == sorted(expected)


def test_folders_train_and_test(tmp_path):
    save_images(tmp_path / "train")
    save_images(tmp_path / "test", per_class=1)
    train = load_source(str(tmp_path), "train")
    test = load_source(str(tmp_path), "test")
    assert (len(train.labels), len(test.labels)) == (12, 3)
    assert not set(train.ids) & set(test.ids)
    os.rename(tmp_path / "test" / "eel", tmp_path / "test" / "ell")
    with pytest.raises(ValueError, match=r"ell: there is no class 'ell'; did you mean 'eel'\?"):
        load_source(str(tmp_path), "test")


def test_sizes(tmp_path):
    save_images(tmp_path)
    Image.fromarray(PIXELS[0].repeat(2, axis=1)).save(tmp_path / "dog" / "wide.png")
    with pytest.raises(ValueError, match=r"dog/wide\.png is 6x10 but cat/0\.png is 6x5"):
        load_source(str(tmp_path), "all")
    found = load_source(str(tmp_path), "all", size=4)
    assert found.images.shape == (13, 4, 4, 3)
    gray = own_data.load_path(tmp_path, size=(6, 5), channels=1)
    assert gray.images.shape == (13, 6, 5, 1)
    expected = PIXELS[0] @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(gray.images[0, ..., 0], expected, atol=1)


def test_unreadable_images_are_named_and_counted(tmp_path):
    save_images(tmp_path)
    whole = (tmp_path / "cat" / "1.png").read_bytes()
    (tmp_path / "cat" / "1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "dog" / "2.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"2 of 12 images can't be read") as caught:
        load_source(str(tmp_path), "all")
    assert "cat/1.png" in str(caught.value)
    assert "dog/2.png" in str(caught.value)
    assert "tolerance=0.17" in str(caught.value)
    with pytest.warns(UserWarning, match="2 of 12 images can't be read"):
        found = load_source(str(tmp_path), "all", tolerance=0.17)
    np.testing.assert_array_equal(found.images, np.delete(PIXELS, [1, 6], axis=0))
    assert "cat/1.png" not in found.ids


def test_a_class_may_not_vanish(tmp_path):
    save_images(tmp_path)
    for k in range(4):
        (tmp_path / "eel" / f"{k}.png").write_bytes(b"x")
    with (
        pytest.warns(UserWarning, match="4 of 12"),
        pytest.raises(ValueError, match="class 'eel' has no readable image"),
    ):
        load_source(str(tmp_path), "all", tolerance=0.5)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_table_of_paths(tmp_path, suffix):
    save_images(tmp_path / "files")
    paths = ["files/dog/0.png", "files/cat/3.png", "files/cat/0.png"]
    names = ["dog", "cat", "cat"]
    if suffix == ".csv":
        rows = "".join(f"{p},{n}\n" for p, n in zip(paths, names, strict=True))
        (tmp_path / "t.csv").write_text("path,label\n" + rows)
    else:
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet

        pyarrow.parquet.write_table(
            pa.table({"path": paths, "label": names}), tmp_path / "t.parquet"
        )
    found = load_source(str(tmp_path / f"t{suffix}"), "all")
    np.testing.assert_array_equal(found.images, PIXELS[[4, 3, 0]])
    assert found.labels.tolist() == [1, 0, 0]
    assert found.ids.tolist() == paths


def test_npz_and_features(tmp_path):
    labels = np.arange(12) % 3
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=labels)
    found = load_source(str(tmp_path / "a.npz"), "all")
    np.testing.assert_array_equal(found.images, PIXELS)
    assert found.ids[3] == "row_0000003"
    assert np.bincount(load_source(str(tmp_path / "a.npz"), "test").labels).tolist() == [1, 1, 1]
    features = RNG.normal(size=(12, 7))
    np.save(tmp_path / "x.npy", features)
    np.save(tmp_path / "y.npy", labels)
    (tmp_path / "y.csv").write_text(
        "key,label\n" + "".join(f"k{i},{'abc'[y]}\n" for i, y in enumerate(labels))
    )
    by_array = arrays.load_features(tmp_path / "x.npy", tmp_path / "y.npy")
    by_table = arrays.load_features(tmp_path / "x.npy", tmp_path / "y.csv", id_column="key")
    np.testing.assert_array_equal(by_array.images, features.astype(np.float32))
    np.testing.assert_array_equal(by_table.labels, labels)
    assert by_table.ids[5] == "k5"


def test_label_names_and_numbers():
    labels, names = number_classes(["b", "a", "b"], "here")
    assert (labels.tolist(), names) == ([1, 0, 1], ("a", "b"))
    labels, names = number_classes(["1", "0", "10"] + [str(i) for i in range(2, 10)], "here")
    assert (labels.tolist()[:3], len(names)) == ([1, 0, 10], 11)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda d: load_source(str(d / "none"), "all"), FileNotFoundError, "no data at"),
        (lambda d: load_source(str(d / "a"), "val"), ValueError, "choose 'train', 'test' or 'all'"),
        (lambda d: list_folder(d / "empty"), ValueError, "0 class folders"),
        (lambda d: list_folder(d / "gap"), ValueError, "y has no images"),
        (lambda d: list_table(d / "t.csv", label_column="z"), ValueError, "no column 'z'"),
        (lambda d: list_table(d / "t.csv"), ValueError, "line 3: there is no label"),
        (lambda d: list_table(d / "t.txt"), FileNotFoundError, "no table at"),
        (lambda d: arrays.load_npz(d / "p.npz"), ValueError, "can't be read"),
        (lambda d: arrays.load_npz(d / "q.npz"), ValueError, "no array 'labels'"),
        (lambda d: own_data.load_path(d / "a", size=0), ValueError, "size = 0"),
        (lambda d: own_data.load_path(d / "a", tolerance=2), ValueError, "tolerance = 2"),
        (lambda d: own_data.load_path(d / "a", channels=4), ValueError, "channels = 4"),
        (lambda d: number_classes(["0", "2"], "t"), ValueError, "class 1 has no examples"),
        (lambda d: number_classes(["-1", "0"], "t"), ValueError, "label -1 is negative"),
        (
            lambda d: arrays.from_arrays(PIXELS, np.arange(3), name="n"),
            ValueError,
            "3 labels for 12 images",
        ),
        (
            lambda d: arrays.from_arrays(PIXELS, np.zeros(12, int), name="n", num_classes=2),
            ValueError,
            "class 1 of 2 has no examples",
        ),
        (
            lambda d: arrays.from_arrays(np.full((2, 2), np.nan), [0, 1], name="n"),
            ValueError,
            "row 0 is not finite",
        ),
        (
            lambda d: arrays.from_arrays(PIXELS.astype(int), np.zeros(12, int), name="n"),
            ValueError,
            "expected uint8",
        ),
    ],
)
def test_bad_input_is_named(tmp_path, call, error, words):
    save_images(tmp_path / "a")
    save_images(tmp_path / "gap", classes=("x",))
    os.makedirs(tmp_path / "gap" / "y")
    os.makedirs(tmp_path / "empty")
    (tmp_path / "t.csv").write_text("path,label\na,1\nb,\n")
    np.savez(tmp_path / "p.npz", images=PIXELS, labels=np.array([{}], dtype=object))
    np.savez(tmp_path / "q.npz", images=PIXELS)
    with pytest.raises(error, match=words):
        call(tmp_path)


def test_postscript_is_never_run(tmp_path):
    # Pillow recognizes files by content and gives EPS to Ghostscript, which executes it.
    save_images(tmp_path)
    with Image.open(tmp_path / "cat" / "0.png") as picture:
        picture.save(tmp_path / "cat" / "1.png", format="EPS")
    with pytest.raises(
        ValueError, match=r"1 of 12 images(.|\n)*cat/1\.png: UnidentifiedImageError"
    ):
        load_source(str(tmp_path), "all")


def test_missing_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pyarrow"):
        load_source(str(tmp_path / "t.parquet"), "all")
