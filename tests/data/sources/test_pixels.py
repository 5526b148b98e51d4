"""What pixels mean: depth, orientation, transparency; numbers by hand."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from famus_jax.data.sources import images as images_module
from famus_jax.data.sources.file_lists import list_folder
from famus_jax.data.sources.images import decode
from famus_jax.data.sources.own_data import load_path
from famus_jax.data.sources.random_access import FileSource


def saved(image, form, **options):
    file = io.BytesIO()
    image.save(file, format=form, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled(form, channels):
    """v / 257, by hand: 0, 13,107 (a fifth), 65,535. Fails if they are cut at 255: two gray classes
    would be the same white."""
    values = np.array([[0, 13107], [39321, 65535]], np.uint16)
    found = decode(saved(Image.fromarray(values), form), None, channels)
    assert found.shape == (2, 2, channels)
    assert found[..., 0].tolist() == [[0, 51], [153, 255]]


def test_ten_bits_of_a_pgm():
    """Its header says what white is."""
    file = io.BytesIO(b"P5 2 1 1023\n" + np.array([1023, 205], ">u2").tobytes())
    assert decode(file, None, 1).ravel().tolist() == [255, 51]


@pytest.mark.parametrize(("mode", "words"), [("F", "floats"), ("I", "32-bit")])
def test_pixels_without_a_known_white_are_refused(tmp_path, mode, words):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new(mode, (4, 4)).save(tmp_path / name / "0.tif")
    with pytest.raises(
        ValueError, match=rf"a/0\.tif: ValueError: the pixels are {words}.*'{mode}'"
    ):
        load_path(tmp_path)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_images_are_upright(form):
    """Against Pillow's own transposition, all eight orientations. Fails if one is mirrored."""
    picture = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10).convert("RGB")
    for orientation in range(1, 9):
        exif = picture.getexif()
        exif[0x0112] = orientation
        file = saved(picture, form, exif=exif)
        expected = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))
        file.seek(0)
        np.testing.assert_array_equal(decode(file), expected)


def test_upright_by_hand_on_both_paths(tmp_path):
    """Stored with the left half white, shown with the top half white. Fails if one path reads it as it
    lies."""
    stored = np.zeros((8, 8, 3), np.uint8)
    stored[:, :4] = 255
    for name in "ab":
        (tmp_path / name).mkdir()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(stored).save(tmp_path / name / "0.png", exif=exif)
    found = load_path(tmp_path).images[0]
    assert found[:4].min() == 255
    assert found[4:].max() == 0
    np.testing.assert_array_equal(FileSource(list_folder(tmp_path))[0], found)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's
def test_damaged_metadata_leave_the_pixels():
    file = saved(Image.new("RGB", (4, 4), "red"), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(file).shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (Image.new("RGBA", (2, 2), (255, 0, 0, 0)), {}),
        (Image.new("LA", (2, 2), (0, 0)), {}),
        (Image.new("RGB", (2, 2), (255, 0, 0)), {"transparency": (255, 0, 0)}),
    ],
)
def test_hidden_colors_stay_hidden(image, options):
    """Laid on white. Fails if the color below full transparency is seen."""
    assert decode(saved(image, "PNG", **options)).min() == 255


def test_small_files_of_many_pixels_are_refused(tmp_path, monkeypatch):
    """Fails if the pixels are decoded first. The limit is lowered so that the test is cheap."""
    monkeypatch.setattr(images_module, "MAX_PIXELS", 99 * 100)
    monkeypatch.setattr(images_module, "upright", lambda image: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="100x100 pixels are more than"):
        decode(saved(Image.new("1", (100, 100)), "PNG"), (4, 4))


def test_what_does_not_fit_into_memory_is_said(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / name / "0.png")

    def no_room(shape, dtype):
        raise MemoryError

    monkeypatch.setattr(images_module.np, "empty", no_room)
    with pytest.raises(ValueError, match=r"2 images of 4x4 don't fit .*image_size=32"):
        load_path(tmp_path)
