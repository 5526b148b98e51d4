"""The pickle within a PyTorch file, as tensors that are described but not read, and nothing else.

A pickle may call any function. Here it may name an `OrderedDict`, a tensor and a storage, and gets
stand-ins for them that were made for it; anything else is refused before it is looked up.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any, BinaryIO, NamedTuple

import jax.numpy as jnp
import numpy as np

DTYPES = {
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


class Refused(ValueError):
    """What is wrong with a file; who reads it adds its name."""


class Storage(NamedTuple):
    """Numbers in one dimension, which the file holds elsewhere.

    Attributes:
      dtype: of each.
      key: by which the file knows them.
      length: how many.
    """

    dtype: np.dtype
    key: str
    length: int


class Tensor(NamedTuple):
    """A view of a storage: where it begins, sizes and strides, all counted in numbers."""

    storage: Storage
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


def unpickle(stream: BinaryIO) -> Any:
    """The object of the next pickle in `stream`, which is left behind its end.

    A look at the instructions comes first. It finds the pickle's end and that all lengths in it are
    true, and refuses numbers of the memo for which the unpickler would allocate a huge table.

    Args:
      stream: at the pickle's first byte.

    Returns:
      dicts, lists, tuples, texts and numbers, and `Tensor` in the place of tensors.

    Raises:
      Refused: the pickle is damaged, or names anything that isn't part of a tensor.
    """
    start = stream.tell()
    try:
        for i, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if "PUT" in opcode.name and not 0 <= (argument or 0) <= i:
                raise Refused("the pickle in it is damaged: a number of its memo is out of range.")
        end = stream.tell()
        stream.seek(start)
        return _Unpickler(io.BytesIO(stream.read(end - start))).load()
    except Refused:
        raise
    except Exception as error:  # a damaged pickle can make the unpickler raise nearly anything
        raise Refused(f"it isn't a PyTorch file, or is damaged ({error}).") from error


def is_count(value: Any) -> bool:
    """Whether `value` is a whole number from 0 up, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class _Unpickler(pickle.Unpickler):
    """Looks up three kinds of names, none of them by importing anything."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for `module.name`."""
        if (module, name) == ("collections", "OrderedDict"):
            return _MakeDict()
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _MakeTensor()
        if module == "torch" and name in DTYPES:
            return _Dtype(DTYPES[name])
        raise Refused(
            f"it asks for {module}.{name}, which isn't part of a tensor; files that hold more than "
            "tensors aren't read, since that could execute code."
        )

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that ("storage", type, key, device, length[, view]) stands for."""
        match pid:
            case ("storage", _Dtype(dtype=dtype), str(key), _, length, *view) if is_count(length):
                # The legacy format could have a storage that is a view of another one.
                if all(entry is None for entry in view):
                    return Storage(dtype, key, length)
        raise Refused("a storage is described in a way that isn't known.")


# A pickle can set attributes of what it has been given (the instruction BUILD). These stand-ins are
# new each time and have none to set.


class _Dtype:
    """Stands for a class of storages."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype


class _Dict(dict):
    """Stands for an `OrderedDict`. PyTorch gives it an attribute (`_metadata`), which is dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Ignores it."""


class _MakeDict:
    """Called as `OrderedDict()`, or with pairs."""

    __slots__ = ()

    def __call__(self, *pairs: Any) -> _Dict:
        return _Dict(*pairs)


class _MakeTensor:
    """Called as `torch._utils._rebuild_tensor_v2`."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, sizes: Any, strides: Any, *_: Any) -> Tensor:
        if not isinstance(storage, Storage):
            raise Refused("a tensor has no storage.")
        for numbers in (sizes, strides):
            if not isinstance(numbers, tuple) or not all(map(is_count, numbers)):
                raise Refused("sizes or strides of a tensor aren't whole numbers from 0 up.")
        if not is_count(offset) or len(sizes) != len(strides) or len(sizes) > _MOST_AXES:
            raise Refused("offset, sizes and strides of a tensor don't fit each other.")
        return Tensor(storage, offset, sizes, strides)
