"""Files of a few bytes that ask for gigabytes: refused by name before anything is allocated."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from famus_jax.data.sources.numpy_files import read_array, read_arrays


def header(shape, descr="'|u1'", length=None, version=1):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    size = len(text) if length is None else length
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack("<H" if version == 1 else "<I", size)
        + text
    )


def save_entry(path, content, name="images.npy"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)


DAMAGED = {
    "absurd shape": (
        header("(1000000, 1000000, 3)") + bytes(9),
        "3000000000000 bytes, and holds 9",
    ),
    "more than int64": (header(f"({9 * 10**29},)"), "bytes, and holds 0"),
    "negative": (header("(-1, 3)") + bytes(9), r"declares the shape \(-1, 3\)"),
    "cut short": (header("(4, 3)") + bytes(11), "12 bytes, and holds 11"),
    "long header": (header("(3,)", length=2**32 - 1, version=2), "header of 4294967295 bytes"),
}


@pytest.mark.parametrize("which", DAMAGED)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_what_a_header_declares(tmp_path, kind, which):
    """Fails if numpy reads it first: it would make room for 3 TB first."""
    content, words = DAMAGED[which]
    path = tmp_path / f"data.{kind}"
    if kind == "npy":
        path.write_bytes(content)
    else:
        save_entry(path, content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"data\.{kind}.*{words}"):
            read_array(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def zeros_of(path, gibibytes):
    """An `.npz` of zeros, written in small pieces."""
    count = int(gibibytes * 2**30)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w", force_zip64=True) as entry,
    ):
        entry.write(header(f"({count},)"))
        piece = bytes(2**24)
        for start in range(0, count, len(piece)):
            entry.write(piece[: count - start])


@pytest.mark.slow
def test_a_bomb(tmp_path):
    """More than a gibibyte of zeros in a megabyte, all of it there: fails if it is unpacked."""
    zeros_of(tmp_path / "bomb.npz", 1.2)
    with pytest.raises(
        ValueError, match=r"bomb.npz: array 'images' would take 1.2 GiB, out of 1.2 MiB"
    ):
        read_arrays(tmp_path / "bomb.npz", ["images"])


def test_a_small_bomb(tmp_path, monkeypatch):
    """The same with a limit of a mebibyte; what is under the limit may be as empty as it likes."""
    monkeypatch.setattr("famus_jax.data.sources.numpy_headers._UNSUSPECTED", 2**20)
    zeros_of(tmp_path / "bomb.npz", 2**-9)
    with pytest.raises(ValueError, match=r"array 'images'.*decompression bomb.*numpy.savez"):
        read_array(tmp_path / "bomb.npz")
    zeros_of(tmp_path / "empty.npz", 2**-11)
    assert read_array(tmp_path / "empty.npz").shape == (2**19,)


def test_an_entry_that_is_no_array(tmp_path):
    """An archive in the archive, or a text: fails if its bytes are handed on as an array."""
    inner = io.BytesIO()
    np.savez(inner, x=np.zeros(3))
    save_entry(tmp_path / "data.npz", inner.getvalue(), "images.npz")
    with pytest.raises(ValueError, match=r"data.npz: array 'images.npz' is no array"):
        read_array(tmp_path / "data.npz")


@pytest.mark.parametrize(
    "dtype", ["u1", "<f4", ">i8", "U5", "M8[D]", "?", [("a", "f4"), ("b", "i4")]]
)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (4, 3)])
def test_whole_files_pass(tmp_path, dtype, shape):
    """All types and shapes that numpy itself writes, compressed or not."""
    array = np.zeros(shape, dtype)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "b.npz", array=array)
    np.savez_compressed(tmp_path / "c.npz", array=array.T.copy().T)
    for name in ("a.npy", "b.npz", "c.npz"):
        read = read_array(tmp_path / name)
        assert (read.dtype, read.shape) == (array.dtype, shape)
