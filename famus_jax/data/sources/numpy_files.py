"""Arrays in `.npy` and `.npz` files, read without unpickling; every failure names the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from famus_jax.data.sources.numpy_headers import Refused, check_entry, check_npy

_PICKLED = (
    "holds Python objects (a pickle), which could run code; save plain arrays: "
    "numpy.save(path, numpy.asarray(x, dtype='float32'))"
)


def existing(path: Path) -> Path:
    """Return it; raise `FileNotFoundError` unless it is a file."""
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path.absolute()}")
    return path


def array_names(path: Path) -> list[str] | None:
    """The names of the arrays in an `.npz`; None for an `.npy`, which holds one without a name.

    Raises:
      FileNotFoundError, ValueError: no such file; neither of the two.
    """
    if not _is_archive(path):
        return None
    with _opened(path) as file:
        return list(file.files)


def read_arrays(
    path: Path, wanted: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` by name.

    Raises:
      FileNotFoundError, ValueError: no such file or array (those that there are are listed), damage, an
        array that holds Python objects.
    """
    if not _is_archive(path):
        raise ValueError(f"{path} holds one array without a name; save an .npz with {list(wanted)}")
    with _opened(path) as file:
        for name in wanted:
            if name not in file.files:
                raise ValueError(f"{path} has no array {name!r}; it has {file.files}")
        return {n: _member(file, path, n) for n in [*wanted, *optional] if n in file.files}


def read_array(path: Path, name: str | None = None) -> np.ndarray:
    """The array of an `.npy`, the one called `name` of an `.npz`, or its only one.

    Raises:
      FileNotFoundError, ValueError: see `read_arrays`.
    """
    if not _is_archive(path):
        check_npy(path)
        return _opened(path)
    with _opened(path) as file:
        if name is None and len(file.files) == 1:
            name = file.files[0]
        if name is None or name not in file.files:
            raise ValueError(f"{path} has the arrays {file.files}, none is {name!r}; name it")
        return _member(file, path, name)


def _is_archive(path: Path) -> bool:
    """Whether the file begins as an `.npz`; False for an `.npy`."""
    with existing(path).open("rb") as file:
        start = file.read(6)
    if not start.startswith((b"PK", b"\x93NUMPY")):
        pickled = start.startswith(b"\x80")
        raise ValueError(f"{path} " + (_PICKLED if pickled else "is no .npy or .npz file of numpy"))
    return start.startswith(b"PK")


def _opened(path: Path) -> Any:
    """The array of an `.npy`, or an `.npz` whose arrays are read when they are asked for."""
    try:
        return np.load(path, allow_pickle=False)
    except Exception as error:  # zipfile and numpy raise many kinds for damaged files
        raise _damaged(str(path), error) from error


def _member(file: Any, path: Path, name: str) -> np.ndarray:
    where = f"{path}: array {name!r}"
    try:
        check_entry(file.zip, name, where)
        return file[name]
    except Refused:
        raise
    except Exception as error:  # so does zlib
        raise _damaged(where, error) from error


def _damaged(where: str, error: Exception) -> ValueError:
    why = _PICKLED if "pickle" in str(error) else f"{type(error).__name__}: {error}"
    return ValueError(f"{where} can't be read: {why}")
