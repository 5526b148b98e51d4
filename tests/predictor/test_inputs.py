"""What is to be predicted is looked at first: every wrong file is named, with the fix."""

import numpy as np
import pytest
from PIL import Image

from famus_jax.cli import main
from famus_jax.predictor import Features, Images, Network, Predictor
from famus_jax.predictor.inputs import find_inputs, read_batches
from famus_jax.predictor.table import predictions_content

COLOR = Predictor(Network("mlp"), ("a", "b"), Images((4, 6), 3), ())
GRAY = COLOR._replace(inputs=Images((4, 6), 1))
FIVE = COLOR._replace(inputs=Images((4, 6), 5))
FEATURES = COLOR._replace(inputs=Features(3), backbone="dinov2")


@pytest.fixture
def place(tmp_path):
    """Three images, one of them turned around by its metadata, and things that are none."""
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "broken.png").write_bytes(b"no image either")
    (tmp_path / "cut.png").write_bytes((tmp_path / "0.png").read_bytes()[:80])
    (tmp_path / "empty").mkdir()
    (tmp_path / "labels.csv").write_text("file,label\n0.png,a\n")
    (tmp_path / "hole.csv").write_text('path\n0.png\n""\n')
    arrays = {
        "features": rng.normal(size=(5, 3)),
        "wide": rng.normal(size=(5, 4)),
        "pictures": rng.integers(0, 256, (5, 4, 6, 3), np.uint8),
        "gray": rng.integers(0, 256, (5, 4, 6), np.uint8),
        "floats": rng.uniform(size=(5, 4, 6, 3)),
        "first": rng.integers(0, 256, (5, 3, 4, 6), np.uint8),
        "nothing": np.zeros((0, 3)),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    np.savez(tmp_path / "two.npz", x=arrays["features"], y=arrays["wide"])
    np.savez(tmp_path / "short.npz", features=arrays["features"], ids=["a", "b"])
    np.savez(tmp_path / "again.npz", features=arrays["features"], ids=["a", "b", "c", "a", "d"])
    np.savez(tmp_path / "pickle.npz", features=np.array([{}]))
    return tmp_path


@pytest.mark.parametrize(
    ("predictor", "names", "message"),
    [
        (COLOR, ["no.png"], "there is no file or folder '.*no.png'"),
        (COLOR, ["notes.txt"], "notes.txt is no image .* no table .* and no array"),
        (COLOR, ["0.png", "broken.png"], r"1 of 2 images .*\n.*broken.png: Unid(.|\n)*--tolerance"),
        (COLOR, ["empty"], "there is no image .* in this folder"),
        (COLOR, ["labels.csv"], "has no column 'path'; it has .'file', 'label'"),
        (COLOR, ["hole.csv"], "hole.csv, line 3: there is no path"),
        (COLOR, ["0.png", "0.png"], "0.png' occurs in .* and in .*: give it once"),
        (
            COLOR,
            ["features.npy"],
            r"float32 \[5, 3\], features; the network takes images: give image",
        ),
        (COLOR, ["gray.npy"], r"1 channels, .* takes 3: save numpy.repeat\(images, 3, axis=3\)"),
        (COLOR, ["floats.npy"], r"Images in \[0, 1\]: save"),
        (COLOR, ["first.npy"], r"6 channels, .* save images.transpose\(0, 2, 3, 1\)"),
        (GRAY, ["pictures.npy"], "3 channels, .* the network takes 1"),
        (FIVE, ["0.png"], "takes images of 5 channels, which no image file has: give .npy"),
        (FEATURES, ["0.png"], r"takes features of dinov2, 3 numbers .* floats \[N, 3\]"),
        (FEATURES, ["labels.csv"], "takes features of dinov2"),
        (
            FEATURES,
            ["wide.npy"],
            r"\[5, 4\]; the network takes features, floats \[N, 3\]: .*dinov2",
        ),
        (FEATURES, ["pictures.npy"], r"\[5, 4, 6, 3\]; the network takes features"),
        (FEATURES, ["nothing.npy"], "holds no example"),
        (
            FEATURES,
            ["two.npz"],
            r"arrays \['x', 'y'\]: call the one to predict 'images' or 'features'",
        ),
        (FEATURES, ["short.npz"], "2 ids for 5 examples"),
        (FEATURES, ["again.npz"], "'a' occurs more than once"),
        (FEATURES, ["pickle.npz"], "Python objects"),
        (FEATURES, ["features.npy", "wide.npy"], "wide.npy holds"),
    ],
)
def test_a_wrong_file_is_named(place, predictor, names, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        find_inputs([place / name for name in names], predictor)


def test_broken_images_are_left_out_within_the_tolerance(place):
    """One is seen by its head, one only when it is decoded. Fails if a row goes to another image."""
    names = [str(place / name) for name in ("0.png", "broken.png", "1.png", "cut.png", "2.png")]
    inputs = find_inputs(names, COLOR, tolerance=0.4)
    with pytest.warns(UserWarning, match=r"2 of 5 images can't be read(.|\n)*cut.png"):
        batches = list(read_batches(inputs, COLOR, 2))
    assert [name for ids, _ in batches for name in ids] == [names[0], names[2], names[4]]
    want = [np.asarray(Image.open(names[i])) for i in (0, 2, 4)]
    np.testing.assert_array_equal(np.concatenate([images for _, images in batches]), want)
    inputs = find_inputs(names, COLOR, tolerance=0.2)
    with pytest.raises(ValueError, match="2 of 5 images can't be read"):
        list(read_batches(inputs, COLOR, 2))


def test_other_sizes_are_fitted(place):
    """Files and arrays alike, to (height, width), not to (width, height)."""
    image = np.zeros((8, 12, 3), np.uint8)
    image[:, 6:] = 200
    Image.fromarray(image).save(place / "large.png")
    np.save(place / "large.npy", image[None])
    inputs = find_inputs([place / "large.png", place / "large.npy"], COLOR)
    (_, of_file), (_, of_array) = read_batches(inputs, COLOR, 4)
    np.testing.assert_array_equal(of_file, of_array)
    assert of_file.shape == (1, 4, 6, 3)
    assert (of_file[0, :, 0] == 0).all()
    assert (of_file[0, :, -1] == 200).all()


def test_cells_that_a_spreadsheet_would_run_are_quoted():
    content = predictions_content([(["=cmd|x.png"], np.array([[0, 9]], np.float32))], ("a", "=1+1"))
    assert content.decode().splitlines()[1].startswith("'=cmd|x.png,'=1+1,0.99")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--top=0"], "--top=0 must be 1 or more"),
        (["--tolerance=1"], "must be a share"),
        (["--out=p.parquet"], "must end in .csv"),
        (["--out={place}/labels.csv"], "is there already: name another, or add --overwrite"),
        (["--out={place}"], "must end in .csv"),
    ],
)
def test_flags_are_refused_before_anything_is_read(place, words, message, capsys):
    words = [word.format(place=place) for word in words]
    assert main(["famus", "predict", "nowhere", "x.png", *words]) == 2
    assert message in capsys.readouterr().err
