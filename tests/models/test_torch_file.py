"""PyTorch files without PyTorch: files made here instruction by instruction, whole and damaged."""

import os
import pickle
import re
import struct
import zipfile

import numpy as np
import pytest

from famus_jax.models.torch_file import read_torch_tensors

DICT = b"ccollections\nOrderedDict\n)R"  # push the class, an empty tuple, call


def literal(value):
    """The instructions that push a number, text or tuple: a pickle without its first and last."""
    return pickle.dumps(value, 2)[2:-1]


def tensor(key, length, sizes, strides, *, offset=0, kind=b"torch\nFloatStorage", view=(None,)):
    pid = b"(" + literal("storage") + b"c" + kind + b"\n" + literal(key) + literal("cpu")
    pid += literal(length) + b"".join(map(literal, view)) + b"tQ"
    arguments = pid + literal(offset) + literal(sizes) + literal(strides) + literal(False) + DICT
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def object_of(entries, end=b""):
    items = b"".join(literal(name) + value for name, value in entries.items())
    return b"\x80\x02" + DICT + b"(" + items + b"u" + end + b"."


def legacy(entries, storages, *, little=True, end=b""):
    system = {"protocol_version": 1001, "little_endian": little}
    data = b"".join(pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, system))
    data += object_of(entries, end) + pickle.dumps(list(storages), 2)
    for values in storages.values():
        order = "<" if little else ">"
        data += struct.pack(order + "q", values.size)
        data += values.astype(values.dtype.newbyteorder(order)).tobytes()
    return data


def zipped(path, pkl, storages, compression=zipfile.ZIP_STORED, **more):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("net/data.pkl", pkl)
        for key, values in storages.items():
            archive.writestr(f"net/data/{key}", values.tobytes())
        for name, value in more.items():
            archive.writestr(f"net/{name}", value)


SIX = np.arange(6, dtype=np.float32)
# A matrix by columns, a part of its storage, a number, an empty one; two share a storage.
ENTRIES = {
    "a": tensor("7", 6, (2, 3), (1, 2)),
    "b": tensor("7", 6, (2,), (1,), offset=4),
    "c": tensor("8", 1, (), (), kind=b"torch\nLongStorage"),
    "d": tensor("7", 6, (0, 3), (3, 1)),
}
STORAGES = {"7": SIX, "8": np.array([-5], np.int64)}


def check(found):
    assert list(found) == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(found["a"], [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(found["b"], [4, 5])
    assert (found["c"], found["c"].dtype, found["d"].shape) == (-5, np.int64, (0, 3))
    assert found["a"].dtype == np.float32
    assert found["a"].flags.owndata
    assert found["a"].flags.writeable


@pytest.mark.parametrize("little", [True, False])
def test_legacy_file(tmp_path, little):
    """Fails if strides or offsets are taken for bytes, or the byte order is not minded."""
    path = tmp_path / "net.pth"
    # PyTorch sets an attribute of the dict: an instruction BUILD at its end.
    path.write_bytes(
        legacy(ENTRIES, STORAGES, little=little, end=literal({"_metadata": {}}) + b"b")
    )
    check(read_torch_tensors(path))


def test_zip_file(tmp_path):
    path = tmp_path / "net.pt"
    zipped(path, object_of(ENTRIES), STORAGES, byteorder=b"little")
    check(read_torch_tensors(path))
    swapped = {key: values.byteswap() for key, values in STORAGES.items()}
    zipped(path, object_of(ENTRIES), swapped, byteorder=b"big")
    check(read_torch_tensors(path))


def test_other_types(tmp_path):
    path = tmp_path / "net.pth"
    kinds = {
        "Half": "<f2",
        "Double": "<f8",
        "Byte": "u1",
        "Char": "i1",
        "Bool": "?",
        "Short": "<i2",
    }
    storages = {name: np.array([1, 0], dtype) for name, dtype in kinds.items()}
    entries = {
        name: tensor(name, 2, (2,), (1,), kind=f"torch\n{name}Storage".encode()) for name in kinds
    }
    bits = np.array([0x3F80, 0xC000], "<u2")  # bfloat16: the upper half of a float32's bits
    storages["half"] = bits
    entries["half"] = tensor("half", 2, (2,), (1,), kind=b"torch\nBFloat16Storage")
    path.write_bytes(legacy(entries, storages))
    found = read_torch_tensors(path)
    for name, dtype in kinds.items():
        assert found[name].dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found[name], [1, 0])
    np.testing.assert_array_equal(found["half"].astype(np.float32), [1, -2])


EVIL = {
    "os.system": b"cos\nsystem\n(" + literal("touch {}") + b"tR",
    "posix.system": b"cposix\nsystem\n(" + literal("touch {}") + b"tR",
    "builtins.eval": b"cbuiltins\neval\n(" + literal("open('{}', 'w')") + b"tR",
    # By the stack (protocol 4), by an old-style class, and by a dotted name below an allowed module.
    "os.mkdir": b"\x8c\x02os\x8c\x05mkdir\x93(" + literal("{}") + b"tR",
    "os.makedirs": b"(" + literal("{}") + b"ios\nmakedirs\n",
    "collections.OrderedDict.fromkeys": b"\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93",
    "torch.nn.Module": b"ctorch.nn\nModule\n)R",
    "torch._utils._rebuild_parameter": b"ctorch._utils\n_rebuild_parameter\n)R",
}


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("form", ["legacy", "zip", "bare"])
def test_nothing_but_tensors_is_called(tmp_path, monkeypatch, name, form):
    """Fails if a name is looked up before it is refused: what the call makes would be there."""
    monkeypatch.chdir(tmp_path)
    entries = {"x": EVIL[name].replace(b"{}", b"ev")}
    assert len("{}") == len("ev")
    path = tmp_path / "net.pth"
    if form == "zip":
        zipped(path, object_of(entries), {})
    else:
        path.write_bytes(legacy(entries, {}) if form == "legacy" else object_of(entries))
    with pytest.raises(ValueError, match=rf"net.pth': it asks for {re.escape(name)}, which isn't"):
        read_torch_tensors(path)
    assert os.listdir(tmp_path) == ["net.pth"]


def test_the_stand_ins_cannot_be_changed(tmp_path):
    """A pickle that sets attributes of what it is given: fails if a later file would see them."""
    path = tmp_path / "net.pth"
    for target in (
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch\nFloatStorage\n",
        b"ccollections\nOrderedDict\n",
    ):
        for state in ({"dtype": 1, "__call__": 2}, (None, {"dtype": 1, "__defaults__": (3,)})):
            path.write_bytes(legacy({"x": target + literal(state) + b"b"}, {}))
            with pytest.raises(ValueError, match=r"net.pth'"):
                read_torch_tensors(path)
    path.write_bytes(legacy(ENTRIES, STORAGES))
    check(read_torch_tensors(path))


def test_every_cut_is_noticed(tmp_path):
    path = tmp_path / "net.pth"
    whole = legacy(ENTRIES, STORAGES)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"net.pth'"):
            read_torch_tensors(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="bytes behind its end"):
        read_torch_tensors(path)
    zipped(path, object_of(ENTRIES), STORAGES)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"net.pth'"):
            read_torch_tensors(path)


def test_any_changed_byte_ends_in_an_error_or_in_tensors(tmp_path):
    """Fails on an error of another kind, which would be a traceback for a damaged file."""
    path = tmp_path / "net.pth"
    whole = legacy(ENTRIES, STORAGES)
    rng = np.random.default_rng(0)
    for i in range(len(whole)):
        damaged = bytearray(whole)
        damaged[i] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        found, said = {}, "net.pth'"
        try:
            found = read_torch_tensors(path)
        except ValueError as error:
            said = str(error)
        assert "net.pth'" in said
        assert "\n" not in said
        assert all(isinstance(value, np.ndarray) for value in found.values())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (tensor("7", 6, (2, 3), (3, 2)), r"'x' \(2, 3\) doesn't lie within its storage of 6"),
        (tensor("7", 6, (3,), (2,), offset=2), "doesn't lie within"),
        (tensor("7", 6, (0,), (1,), offset=7), "doesn't lie within"),
        (tensor("7", 6, (2**40,), (0,)), "doesn't lie within"),
        (tensor("7", 6, (2**40, 2**40), (1, 1)), "doesn't lie within"),
        (tensor("7", 6, (0, 2**62, 2**62), (1, 1, 1)), "doesn't lie within"),
        (tensor("7", 6, (-1,), (1,)), "aren't whole numbers from 0 up"),
        (tensor("7", 6, (3,), (-1,), offset=5), "aren't whole numbers from 0 up"),
        (tensor("7", 6, (3.0,), (1,)), "aren't whole numbers"),
        (tensor("7", 6, (3,), (1,), offset=-1), "don't fit each other"),
        (tensor("7", 6, (3,), (1, 1)), "don't fit each other"),
        (tensor("7", 6, (1,) * 17, (1,) * 17), "don't fit each other"),
        (tensor("7", 2**61, (3,), (1,)), r"storage '7' hasn't the \d+ numbers"),
        (tensor("7", 5, (3,), (1,)), "storage '7' hasn't the 5 numbers"),
        (tensor("9", 6, (3,), (1,)), "aren't those that its tensors need"),
        (tensor("7", 6, (3,), (1,), view=(("7", 0, 3),)), "in a way that isn't known"),
        (tensor("7", -6, (3,), (1,)), "in a way that isn't known"),
        (tensor("7", 6, (3,), (1,), kind=b"torch\nQInt8Storage"), "asks for torch.QInt8Storage"),
        (literal(3), "the entry 'x' isn't a tensor; save the state dict alone"),
        (literal("a") + b"r\xff\xff\xff\x7f", "a number of its memo is out of range"),
        (b"\x8d" + struct.pack("<Q", 2**60) + b"a", "isn't a PyTorch file, or is damaged"),
    ],
)
def test_impossible_tensors(tmp_path, entry, words):
    path = tmp_path / "net.pth"
    path.write_bytes(legacy({"x": entry}, {"7": SIX}))
    with pytest.raises(ValueError, match=rf"^'[^\n]*net.pth'[^\n]*{words}[^\n]*$"):
        read_torch_tensors(path)


def test_a_length_beyond_the_file_is_not_allocated(tmp_path):
    """Both lengths agree on 2^60 numbers: fails if they are asked of memory before the file."""
    path = tmp_path / "net.pth"
    data = legacy({"x": tensor("7", 2**60, (3,), (1,))}, {"7": SIX})
    path.write_bytes(data.replace(struct.pack("<q", 6), struct.pack("<q", 2**60)))
    with pytest.raises(ValueError, match=rf"cut off: storage '7' has {2**62} bytes, 24 are left"):
        read_torch_tensors(path)


def test_impossible_zips(tmp_path):
    path = tmp_path / "net.pt"
    zipped(path, object_of(ENTRIES), STORAGES, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"'net/data.pkl' in it is compressed"):
        read_torch_tensors(path)
    zipped(path, object_of(ENTRIES), {"7": SIX})
    with pytest.raises(ValueError, match=r"there is no 'net/data/8' in it"):
        read_torch_tensors(path)
    zipped(path, object_of(ENTRIES), STORAGES | {"7": SIX[:5]})
    with pytest.raises(ValueError, match=r"storage '7' hasn't the 6 numbers"):
        read_torch_tensors(path)
    zipped(path, object_of(ENTRIES), STORAGES, byteorder=b"middle")
    with pytest.raises(ValueError, match="byte order isn't known"):
        read_torch_tensors(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "nothing")
    with pytest.raises(ValueError, match=r"without one data\.pkl"):
        read_torch_tensors(path)


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file '.*none\.pth'"):
        read_torch_tensors(tmp_path / "none.pth")
    path = tmp_path / "net.pth"
    for data in (b"", b"hello", pickle.dumps({"a": 1}), legacy({}, {})):
        path.write_bytes(data)
        with pytest.raises(
            ValueError, match=r"net.pth': it (isn't a PyTorch|doesn't hold tensors)"
        ):
            read_torch_tensors(path)
