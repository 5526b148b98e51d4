"""Files with a checksum: any damage is noticed."""

import json

import pytest

from famus_jax.sealed import Damaged, file_checksum, read_sealed, write_sealed

VALUE = {"row": {"acc": 0.1, "seed": 3, "seconds": 1.5}, "history": [{"step": 2}], "none": None}


def test_any_flipped_bit_is_noticed(tmp_path):
    """Every bit of a file. Fails for a checksum of some values only, or one that is not compared;
    for an error of the decoder's own, without the file's name."""
    path = tmp_path / "result.json"
    write_sealed(path, VALUE)
    content, noticed = path.read_bytes(), 0
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = read_sealed(path)
        except Damaged as error:
            noticed += str(path) in str(error)
        else:  # a blank became another one, or the seconds, which no checksum can cover, changed
            found["row"].pop("seconds")
            assert found == {**VALUE, "row": {"acc": 0.1, "seed": 3}}
    assert noticed > 0.85 * 8 * len(content)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"row": 1}'])
def test_what_was_never_sealed_is_named(tmp_path, content):
    """Fails if it is taken for what was written, or ends in an error without the file's name."""
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(Damaged, match=r"result\.json (is damaged|has no checksum)"):
        read_sealed(path)


def test_equal_content_gives_equal_bytes_but_for_the_seconds(tmp_path):
    """Fails if a checksum took in how long something took: two starts would never leave one
    file."""
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    write_sealed(one, {**VALUE, "sizes": (1, 2)})
    write_sealed(other, {**VALUE, "sizes": [1, 2], "row": {**VALUE["row"], "seconds": 2.5}})
    assert one.read_text() == other.read_text().replace("2.5", "1.5")
    assert read_sealed(one)["sizes"] == [1, 2]
    assert json.loads(one.read_text())["row"] == VALUE["row"]
    assert file_checksum(one) != file_checksum(other)
