"""Arrays that people bring: axes, types, damage."""

import numpy as np
import pytest

from famus_jax.data.noise.files import read_table
from famus_jax.data.sources.arrays import from_arrays, load_features, load_npz, looks_channels_first
from famus_jax.data.sources.numpy_files import read_arrays
from famus_jax.data.sources.own_data import load_path

LABELS = np.arange(12) % 3


@pytest.mark.parametrize(
    ("shape", "first"),
    [
        ((3, 32, 32), True),
        ((1, 28, 28), True),
        ((3, 48, 64), True),
        ((4, 8, 8), True),
        ((12, 64, 64), True),
        ((32, 32, 3), False),
        ((28, 28, 1), False),
        ((3, 32, 3), False),  # a low strip in color
        ((8, 8, 8), False),
        ((9, 9, 200), False),  # many bands of a small patch
        ((64, 48, 12), False),
        ((2, 2, 1), False),
    ],
)
def test_channels_first(shape, first):
    """Fails if 3 channels are taken for 3 pixels of height, or bands of a patch for its width."""
    assert looks_channels_first((12, *shape)) == first
    images = np.zeros((12, *shape), np.uint8)
    if first:
        with pytest.raises(ValueError, match=r"channels first; .*transpose\(0, 2, 3, 1\)"):
            from_arrays(images, LABELS, name="n")
    else:
        assert from_arrays(images, LABELS, name="n").images.shape == images.shape


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((12, 4, 4, 3), np.float32), r"float32\[12, 4, 4, 3\]; .*\(255 \* images\)"),
        (np.zeros((12, 4, 4), np.float64), r"float64\[12, 4, 4\]"),
        (np.zeros((12, 4, 4, 3), np.uint16), r"uint16.*images // 257"),
        (np.zeros((12, 4, 4, 3), np.int64), r"int64.*astype\('uint8'\)"),
        (np.zeros((12, 4), np.int64), r"int64\[12, 4\].*float32"),
        (np.full((12, 4), 1e300), "row 0 is not finite as float32"),
        (np.zeros(12), r"float64\[12\]; expected"),
        (np.zeros((12, 4), complex), "complex128"),
    ],
    ids=range(8),
)
def test_images_of_other_types_are_refused_with_the_fix(images, words):
    with pytest.raises(ValueError, match=f"n: .*{words}"):
        from_arrays(images, LABELS, name="n")


def test_images_of_an_npz_are_fitted_like_files(tmp_path):
    """Fails if the size that was asked for is ignored. Two by two pixels of one gray each, by hand."""
    gray = np.repeat(np.repeat(np.array([[10, 200]], np.uint8), 2, 0), 2, 1)[None, :, :, None]
    np.savez(tmp_path / "a.npz", images=np.repeat(gray, 12, 0), labels=LABELS)
    found = load_path(tmp_path / "a.npz", size=(1, 2))
    assert found.images.shape == (12, 1, 2, 1)
    assert load_path(tmp_path / "a.npz").images.shape == (12, 2, 4, 1)
    np.savez(tmp_path / "b.npz", images=np.zeros((12, 8, 8, 5), np.uint8), labels=LABELS)
    with pytest.raises(ValueError, match=r"5 channels can't be fitted.*image_size=0"):
        load_path(tmp_path / "b.npz", size=4)


def test_examples_on_another_axis():
    """As some old sets are stored. By hand: 12 examples on the last of four axes."""
    with pytest.raises(ValueError, match=r"12 labels for 4 images.*moveaxis\(images, 3, 0\)"):
        from_arrays(np.zeros((4, 4, 3, 12), np.uint8), LABELS, name="n")


def test_npz_with_names_and_with_given_classes(tmp_path):
    images = np.zeros((12, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.array(["eel", "cat", "dog"])[LABELS])
    found = load_npz(tmp_path / "a.npz")
    assert (found.class_names, found.labels[:3].tolist()) == (("cat", "dog", "eel"), [2, 0, 1])
    other = load_npz(tmp_path / "a.npz", class_names=("dog", "cat", "eel", "fox"))
    assert (other.num_classes, other.labels[:3].tolist()) == (4, [2, 1, 0])
    np.savez(tmp_path / "b.npz", images=images, labels=LABELS, ids=np.arange(12))
    with pytest.raises(ValueError, match=r"ids are int64; .*ids.astype\(str\)"):
        load_npz(tmp_path / "b.npz")


@pytest.mark.parametrize("reader", [load_npz, read_table])
def test_damaged_files_are_named(tmp_path, reader):
    """Every byte of a small file turned, and every cut. Fails if another library's error comes out, or
    numpy's advice to unpickle."""
    np.savez(
        tmp_path / "a.npz", images=np.zeros((2, 2, 2, 1), np.uint8), labels=[0, 1], ids=["a", "b"]
    )
    content = (tmp_path / "a.npz").read_bytes()
    bad, messages = tmp_path / "bad.npz", []
    for at in range(0, len(content), 7):
        turned = bytes([*content[:at], content[at] ^ 0xFF, *content[at + 1 :]])
        for changed in (turned, content[:at]):
            bad.write_bytes(changed)
            try:
                reader(bad)
            except (ValueError, TypeError) as error:
                messages.append(str(error))
    assert len(messages) > 20
    for text in messages:
        assert "bad.npz" in text or text.startswith("ids")
        assert "allow_pickle" not in text


def test_other_files_called_npz(tmp_path):
    for content, words in ((b"hello, world", "is no .npy or .npz"), (b"\x80\x04K\x01.", "pickle")):
        (tmp_path / "t.npz").write_bytes(content)
        with pytest.raises(ValueError, match=words):
            load_npz(tmp_path / "t.npz")
    np.save(tmp_path / "x.npy", np.zeros((2, 2)))
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    with pytest.raises(ValueError, match="one array without a name"):
        load_npz(tmp_path / "x.npz")


def test_an_archive_is_opened_once(tmp_path, monkeypatch):
    """Fails if its directory is read again for every array."""
    np.savez(tmp_path / "t.npz", images=np.zeros((12, 4)), labels=LABELS, ids=LABELS.astype(str))
    opened, load = [], np.load
    monkeypatch.setattr(np, "load", lambda *a, **k: opened.append(a) or load(*a, **k))
    found = read_arrays(tmp_path / "t.npz", ["images", "labels"], ["ids", "none"])
    assert list(found) == ["images", "labels", "ids"]
    assert len(opened) == 1


def test_features_with_a_table_of_names(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    (tmp_path / "y.csv").write_text("label\nb\na\nb\n")
    found = load_features(tmp_path / "x.npy", tmp_path / "y.csv")
    assert (found.labels.tolist(), found.class_names) == ([1, 0, 1], ("a", "b"))
