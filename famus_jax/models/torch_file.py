"""Tensors from a PyTorch file, without PyTorch and without executing anything in it.

A `.pt` or `.pth` file is a pickle, and a pickle may call any function. Here it may name an
`OrderedDict`, a tensor and a storage; anything else is refused before it is looked up. Two formats:

* legacy (until PyTorch 1.5): five pickles (magic number, version, byte order, the object, the keys
  of the storages), then for each key the number of elements (int64) and the elements;
* zip (since 1.6): `NAME/data.pkl`, and `NAME/data/KEY` with the elements of each storage, stored
  without compression.

In both, a tensor is a view of a storage: an offset, sizes and strides, counted in elements.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import pickletools
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from famus_jax.printable import printable

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}
_MOST_AXES = 16


def read_torch_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a "state dict", a PyTorch file that holds nothing but tensors by name.

    Args:
      path: the file.

    Returns:
      arrays of their own by name, in the file's order and dtypes.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file isn't PyTorch's or is damaged, holds anything but tensors by name, or asks
        for a function or class other than those of tensors; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {os.fspath(path)!r}.")
    try:
        with open(path, "rb") as file:
            legacy = file.read(2) != b"PK"
            file.seek(0)
            return _read_legacy(file) if legacy else _read_zip(file, path.stat().st_size)
    except _Refused as error:
        raise ValueError(f"{os.fspath(path)!r}: {printable(str(error), 300)}") from error


class _Refused(ValueError):
    """What is wrong with the file; the caller adds its name."""


class _Storage(NamedTuple):
    """Elements in one dimension, which the file holds elsewhere under `key`."""

    dtype: np.dtype
    key: str
    count: int


class _Tensor(NamedTuple):
    """A view of a storage."""

    storage: _Storage
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


# A pickle can set attributes of what it has been given (the instruction BUILD). So it gets objects
# that were made for it and have none to set.


class _Dtype:
    """Stands for a class of storages."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype


class _Dict(dict):
    """Stands for `OrderedDict`. PyTorch gives it an attribute (`_metadata`), which is dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Ignores it."""


class _MakeDict:
    """Called as `OrderedDict()` or with pairs."""

    __slots__ = ()

    def __call__(self, *pairs: Any) -> _Dict:
        return _Dict(*pairs)


class _MakeTensor:
    """Called as `torch._utils._rebuild_tensor_v2`."""

    __slots__ = ()

    def __call__(
        self, storage: Any, offset: Any, sizes: Any, strides: Any, *rest: Any
    ) -> _Tensor:
        if not isinstance(storage, _Storage):
            raise _Refused("a tensor has no storage.")
        for numbers in (sizes, strides):
            if not isinstance(numbers, tuple) or not all(map(_is_count, numbers)):
                raise _Refused("sizes or strides of a tensor aren't whole numbers from 0 up.")
        if not _is_count(offset) or len(sizes) != len(strides) or len(sizes) > _MOST_AXES:
            raise _Refused("offset, sizes and strides of a tensor don't fit each other.")
        return _Tensor(storage, offset, sizes, strides)


class _Unpickler(pickle.Unpickler):
    """Looks up three kinds of names, none of them by importing anything."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for `module.name`."""
        if (module, name) == ("collections", "OrderedDict"):
            return _MakeDict()
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _MakeTensor()
        if module == "torch" and name in _DTYPES:
            return _Dtype(_DTYPES[name])
        raise _Refused(
            f"it asks for {module}.{name}, which isn't part of a tensor; files that hold more than "
            "tensors aren't read, since that could execute code."
        )

    def persistent_load(self, pid: Any) -> _Storage:
        """The storage that ('storage', type, key, device, elements[, view]) stands for."""
        match pid:
            case ("storage", _Dtype(dtype=dtype), str(key), _, count, *rest) if _is_count(count):
                # The legacy format can say that a storage is a view of another one: a sixth entry.
                if all(entry is None for entry in rest):
                    return _Storage(dtype, key, count)
        raise _Refused("a storage is described in a way that isn't known.")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _unpickle(stream: io.BufferedIOBase) -> Any:
    """The object of the next pickle in `stream`, which is left behind its end.

    A look at the instructions comes first. It finds the pickle's end and that all lengths in it are
    true, and it refuses numbers of the memo that would make the unpickler allocate a huge table.
    """
    start = stream.tell()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if "PUT" in opcode.name and argument > count:
                raise _Refused("the pickle in it is damaged: a number of its memo is out of range.")
        end = stream.tell()
        stream.seek(start)
        return _Unpickler(io.BytesIO(stream.read(end - start))).load()
    except _Refused:
        raise
    except Exception as error:  # a damaged pickle can make the unpickler raise nearly anything
        raise _Refused(f"it isn't a PyTorch file, or is damaged ({error}).") from error


def _read_legacy(file: io.BufferedReader) -> dict[str, np.ndarray]:
    magic = _unpickle(file)
    if magic != _MAGIC:
        raise _Refused("it isn't a PyTorch file: the magic number is missing.")
    version, system = _unpickle(file), _unpickle(file)
    if version != 1001 or not isinstance(system, dict):
        raise _Refused(f"the version {version!r} of the format isn't known.")
    order = "<" if system.get("little_endian", True) else ">"
    tensors = _tensors(_unpickle(file))
    storages = _storages(tensors)
    keys = _unpickle(file)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise _Refused("the storages in it aren't those that its tensors need.")
    data = {}
    for key in keys:
        storage = storages[key]
        head = file.read(8)
        if len(head) != 8 or struct.unpack(order + "q", head)[0] != storage.count:
            raise _Refused(f"storage {key!r} hasn't the {storage.count} elements that it should.")
        data[key] = _elements(file.read(_nbytes(storage, file)), storage, order)
    if file.read(1):
        raise _Refused("there are bytes behind its end.")
    return {name: _array(name, tensor, data) for name, tensor in tensors.items()}


def _nbytes(storage: _Storage, file: io.BufferedReader) -> int:
    """How many bytes a storage has; raises where the file has fewer left, before they are allocated."""
    wanted = storage.count * storage.dtype.itemsize
    left = os.fstat(file.fileno()).st_size - file.tell()
    if wanted > left:
        raise _Refused(
            f"it is cut off: storage {storage.key!r} has {wanted} bytes, and {left} are left."
        )
    return wanted


def _read_zip(file: io.BufferedReader, nbytes: int) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {info.filename: info for info in archive.infolist()}
            pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise _Refused("it isn't a PyTorch file: a zip archive without one data.pkl.")

            def read(name: str) -> bytes:
                info = entries.get(name)
                if info is None:
                    raise _Refused(f"there is no {name!r} in it.")
                # Stored as they are, entries can't be larger than the file.
                if info.compress_type != zipfile.ZIP_STORED or info.file_size > nbytes:
                    raise _Refused(f"{name!r} in it is compressed, or larger than the file.")
                return archive.read(info)

            prefix = pickles[0].removesuffix("data.pkl")
            tensors = _tensors(_unpickle(io.BytesIO(read(pickles[0]))))
            order = "<"
            if prefix + "byteorder" in entries:
                order = {b"little": "<", b"big": ">"}.get(read(prefix + "byteorder"), "")
            if not order:
                raise _Refused("its byte order isn't known.")
            data = {
                key: _elements(read(f"{prefix}data/{key}"), storage, order)
                for key, storage in _storages(tensors).items()
            }
    except _Refused:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise _Refused(f"it is a damaged zip archive ({error}).") from error
    return {name: _array(name, tensor, data) for name, tensor in tensors.items()}


def _tensors(found: Any) -> dict[str, _Tensor]:
    if not isinstance(found, dict) or not found:
        raise _Refused("it doesn't hold tensors by name.")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise _Refused(f"the entry {name!r} isn't a tensor; save the state dict alone.")
    return dict(found)


def _storages(tensors: Mapping[str, _Tensor]) -> dict[str, _Storage]:
    storages: dict[str, _Storage] = {}
    for tensor in tensors.values():
        storage = tensor.storage
        if storages.setdefault(storage.key, storage) != storage:
            raise _Refused(f"storage {storage.key!r} is described in two ways.")
    return storages


def _elements(data: bytes, storage: _Storage, order: str) -> np.ndarray:
    if len(data) != storage.count * storage.dtype.itemsize:
        raise _Refused(f"storage {storage.key!r} hasn't the {storage.count} elements that it should.")
    values = np.frombuffer(data, storage.dtype)
    return values if order == {"little": "<", "big": ">"}[sys.byteorder] else values.byteswap()


def _array(name: str, tensor: _Tensor, data: Mapping[str, np.ndarray]) -> np.ndarray:
    """A copy of what the tensor shows of its storage."""
    values = data[tensor.storage.key]
    count = math.prod(tensor.sizes)
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.sizes, tensor.strides, strict=True)
    )
    # A tensor with more elements than its storage repeats some (stride 0), and could be made huge.
    if count and (count > values.size or last >= values.size):
        raise _Refused(
            f"tensor {name!r} {tensor.sizes} doesn't lie within its storage of {values.size} elements."
        )
    if not count:
        if max(tensor.sizes) > sys.maxsize:
            raise _Refused(f"tensor {name!r} has impossible sizes {tensor.sizes}.")
        return np.zeros(tensor.sizes, values.dtype)
    strides = [stride * values.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(
        values[tensor.offset :], tensor.sizes, strides, writeable=False
    ).copy()
