"""Arrays in `.npy` and `.npz` files, read without unpickling; every failure names the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

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
    with existing(path).open("rb") as file:
        start = file.read(6)
    if start == b"\x93NUMPY":
        return None
    if not start.startswith(b"PK"):
        pickled = start.startswith(b"\x80")
        raise ValueError(f"{path} " + (_PICKLED if pickled else "is no .npy or .npz file of numpy"))
    try:
        with np.load(path, allow_pickle=False) as file:
            return list(file.files)
    except Exception as error:  # zipfile and numpy raise many kinds for damaged files
        raise _damaged(str(path), error) from error


def read_arrays(
    path: Path, wanted: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` by name.

    Raises:
      FileNotFoundError, ValueError: no such file or array (those that there are are listed), damage, an
        array that holds Python objects.
    """
    names = array_names(path)
    if names is None:
        raise ValueError(f"{path} holds one array without a name; save an .npz with {list(wanted)}")
    for name in wanted:
        if name not in names:
            raise ValueError(f"{path} has no array {name!r}; it has {names}")
    return {n: read_array(path, n) for n in [*wanted, *optional] if n in names}


def read_array(path: Path, name: str | None = None) -> np.ndarray:
    """The array of an `.npy`, the one called `name` of an `.npz`, or its only one.

    Raises:
      FileNotFoundError, ValueError: see `read_arrays`.
    """
    names = array_names(path)
    if names is not None and name is None and len(names) == 1:
        name = names[0]
    if names is not None and name not in names:
        raise ValueError(f"{path} has the arrays {names}, none is {name!r}; name it")
    where = f"{path}: array {name!r}" if names is not None else str(path)
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return loaded[name]
    except Exception as error:  # zipfile, zlib and numpy raise many kinds for damaged files
        raise _damaged(where, error) from error


def _damaged(where: str, error: Exception) -> ValueError:
    why = _PICKLED if "pickle" in str(error) else f"{type(error).__name__}: {error}"
    return ValueError(f"{where} can't be read: {why}")
