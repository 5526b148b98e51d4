"""Files of several frames or pages: the first is read, and it is said once how many there are."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from famus_jax.data.sources.file_lists import list_folder
from famus_jax.data.sources.images import decode
from famus_jax.data.sources.own_data import load_path
from famus_jax.data.sources.random_access import readable

PAGES = [Image.new("L", (4, 4), value) for value in (10, 100, 200)]


def saved(form, count, **options):
    file = io.BytesIO()
    PAGES[0].save(file, form, save_all=True, append_images=PAGES[1:count], **options)
    return file


@pytest.mark.parametrize("form", ["TIFF", "GIF", "PNG", "WEBP"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_first_is_read_and_the_others_are_noticed(form, count):
    """Fails if looking for a second frame leaves it there, or a file of one frame is counted."""
    several = []
    options = {"lossless": True} if form == "WEBP" else {}
    image = decode(saved(form, count, **options), None, 1, lambda: several.append(form))
    np.testing.assert_array_equal(image, np.full((4, 4, 1), 10))
    assert len(several) == (count > 1)


def test_a_smaller_copy_is_no_page():
    """As scanners and microscopes add it: fails if every such file is warned about."""
    file, tags = io.BytesIO(), ImageFileDirectory_v2()
    tags[254] = 1
    small = PAGES[0].resize((2, 2))
    small.encoderinfo = {"tiffinfo": tags}
    PAGES[0].save(file, "TIFF", save_all=True, append_images=[small])
    decode(file, None, 1, lambda: pytest.fail("taken for a page"))


def test_damage_behind_the_first_frame_costs_nothing():
    content = saved("GIF", 1).getvalue()[:-1] + b"\x21\xf9\x04"
    several = []
    found = decode(io.BytesIO(content), None, 1, lambda: several.append(1))
    np.testing.assert_array_equal(found, np.full((4, 4, 1), 10))


def test_one_warning_for_a_data_set(tmp_path):
    """Fails if each file is warned about, or none, in memory or before a stream."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(4):
            PAGES[0].save(tmp_path / name / f"{number}.png")
    (tmp_path / "a" / "5.tif").write_bytes(saved("TIFF", 3).getvalue())
    (tmp_path / "b" / "6.gif").write_bytes(saved("GIF", 2).getvalue())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_path(tmp_path)
        readable(list_folder(tmp_path))
    texts = [str(w.message) for w in caught]
    assert len(texts) == 2
    for text in texts:
        assert "2 of 10 images have several frames or pages" in text
        assert "a/5.tif, b/6.gif" in text
