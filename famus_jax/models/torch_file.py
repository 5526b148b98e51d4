"""Tensors from a PyTorch file, without PyTorch and without executing anything in it.

Two formats, in both of which a tensor is a view of a storage:

* legacy (until PyTorch 1.5): five pickles (magic number, version, byte order, the object, the keys
  of the storages), then for each key the length (int64) and the numbers;
* zip (since 1.6): `NAME/data.pkl`, and `NAME/data/KEY` with the numbers of each storage, stored
  without compression.
"""

from __future__ import annotations

import io
import math
import os
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from famus_jax.models.torch_pickle import Refused, Storage, Tensor, unpickle
from famus_jax.printable import printable

_MAGIC = 0x1950A86A20F9469CFC6C
_NATIVE = "<" if sys.byteorder == "little" else ">"


def read_torch_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a "state dict": a PyTorch file that holds nothing but tensors by name.

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
            is_zip = file.read(2) == b"PK"
            file.seek(0)
            tensors, data = (_read_zip if is_zip else _read_legacy)(file, path.stat().st_size)
        return {name: _array(name, tensor, data) for name, tensor in tensors.items()}
    except Refused as error:
        raise ValueError(f"{os.fspath(path)!r}: {printable(str(error), 300)}") from error


Read = tuple[dict[str, Tensor], dict[str, np.ndarray]]  # tensors by name, storages by key


def _read_legacy(file: BinaryIO, nbytes: int) -> Read:
    if unpickle(file) != _MAGIC:
        raise Refused("it isn't a PyTorch file: the magic number is missing.")
    version, system = unpickle(file), unpickle(file)
    if version != 1001 or not isinstance(system, dict):
        raise Refused(f"version {version!r} of the format isn't known.")
    order = "<" if system.get("little_endian", True) else ">"
    tensors = _tensors(unpickle(file))
    storages = _storages(tensors)
    keys = unpickle(file)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise Refused("the storages in it aren't those that its tensors need.")
    data = {}
    for key in keys:
        storage = storages[key]
        head = file.read(8)
        if len(head) == 8 and struct.unpack(f"{order}q", head)[0] != storage.length:
            raise Refused(f"storage {key!r} hasn't the {storage.length} numbers that it should.")
        # Asked before anything is allocated.
        wanted, left = storage.length * storage.dtype.itemsize, nbytes - file.tell()
        if len(head) < 8 or wanted > left:
            raise Refused(f"it is cut off: storage {key!r} has {wanted} bytes, {left} are left.")
        data[key] = _numbers(file.read(wanted), storage, order)
    if file.read(1):
        raise Refused("there are bytes behind its end.")
    return tensors, data


def _read_zip(file: BinaryIO, nbytes: int) -> Read:
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            pickles = [
                name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")
            ]
            if len(pickles) != 1:
                raise Refused("it isn't a PyTorch file: a zip archive without one data.pkl.")

            def read(name: str) -> bytes:
                if name not in names:
                    raise Refused(f"there is no {name!r} in it.")
                info = archive.getinfo(name)
                if info.compress_type != zipfile.ZIP_STORED or info.file_size > nbytes:
                    raise Refused(f"{name!r} in it is compressed, or larger than the whole file.")
                return archive.read(info)

            return _read_entries(read, pickles[0].removesuffix("data.pkl"), names)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise Refused(f"it is a damaged zip archive ({error}).") from error


def _read_entries(read: Callable[[str], bytes], prefix: str, names: set[str]) -> Read:
    tensors = _tensors(unpickle(io.BytesIO(read(f"{prefix}data.pkl"))))
    order = "<"
    if f"{prefix}byteorder" in names:
        order = {b"little": "<", b"big": ">"}.get(read(f"{prefix}byteorder"))
        if order is None:
            raise Refused("its byte order isn't known.")
    storages = _storages(tensors).items()
    return tensors, {key: _numbers(read(f"{prefix}data/{key}"), of, order) for key, of in storages}


def _tensors(found: Any) -> dict[str, Tensor]:
    if not isinstance(found, dict) or not found:
        raise Refused("it doesn't hold tensors by name.")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise Refused(f"the entry {name!r} isn't a tensor; save the state dict alone.")
    return dict(found)


def _storages(tensors: Mapping[str, Tensor]) -> dict[str, Storage]:
    storages: dict[str, Storage] = {}
    for tensor in tensors.values():
        storage = tensor.storage
        if storages.setdefault(storage.key, storage) != storage:
            raise Refused(f"storage {storage.key!r} is described in two ways.")
    return storages


def _numbers(data: bytes, storage: Storage, order: str) -> np.ndarray:
    if len(data) != storage.length * storage.dtype.itemsize:
        raise Refused(
            f"storage {storage.key!r} hasn't the {storage.length} numbers that it should."
        )
    values = np.frombuffer(data, storage.dtype)
    return values if order == _NATIVE else values.byteswap()


def _array(name: str, tensor: Tensor, data: Mapping[str, np.ndarray]) -> np.ndarray:
    """A copy of what the tensor shows of its storage."""
    values, sizes = data[tensor.storage.key], tensor.sizes
    last = sum((size - 1) * step for size, step in zip(sizes, tensor.strides, strict=True))
    count = math.prod(sizes)
    # More numbers than its storage has would be some of them repeated (stride 0): it could be huge.
    # A tensor without any has no last one.
    outside = tensor.offset + (last + 1 if count else 0) > values.size
    if outside or count > values.size or (not count and math.prod(filter(None, sizes)) > 2**31):
        raise Refused(
            f"tensor {name!r} {sizes} doesn't lie within its storage of {values.size} numbers."
        )
    if not count:
        return np.zeros(sizes, values.dtype)
    return np.lib.stride_tricks.as_strided(
        values[tensor.offset :],
        sizes,
        [step * values.itemsize for step in tensor.strides],
        writeable=False,
    ).copy()
