"""What an array in a `.npy` or `.npz` says that it is, looked at before anything is allocated.

numpy makes room for the shape that a header declares, then reads: some bytes can ask for terabytes.
And a deflated entry of a megabyte holds a gigabyte of zeros.
"""

from __future__ import annotations

import ast
import math
import os
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

_LONGEST_HEADER = 10_000  # numpy's own limit, which it looks at after reading
# Deflate makes at most 1,032 to 1. Labels of one class come near that, but not by gigabytes.
_RATIO, _UNSUSPECTED = 200, 2**30


class Refused(ValueError):
    """An array that won't be read, in a message that names it."""


def check_npy(path: Path) -> None:
    """The file must hold the bytes that its header declares.

    Raises:
      Refused: naming the file, if it doesn't.
    """
    with path.open("rb") as file:
        _check(file, os.fstat(file.fileno()).st_size, str(path))


def check_entry(archive: zipfile.ZipFile, name: str, where: str) -> None:
    """So must an entry of an `.npz`; and it must not be a decompression bomb.

    Args:
      archive: the open file.
      name: the array's name, without `.npy`.
      where: the file and the array, for messages.

    Raises:
      Refused: naming them, if it doesn't; for an entry that is no array; for more than a gibibyte
        that takes less than a 200th of that in the file.
    """
    entry = archive.getinfo(name if name in archive.namelist() else f"{name}.npy")
    if entry.file_size > max(_UNSUSPECTED, _RATIO * entry.compress_size):
        raise Refused(
            f"{where} would take {entry.file_size / 2**30:.1f} GiB, out of "
            f"{entry.compress_size / 2**20:.1f} MiB in the file, like a decompression bomb: if it is "
            "meant, save it by numpy.savez, which does not compress"
        )
    with archive.open(entry) as file:
        if not _check(file, entry.file_size, where):
            raise Refused(f"{where} is no array: save it by numpy.savez")


def _check(file: IO[bytes], size: int, where: str) -> bool:
    """Whether this is an array; what else is wrong with it, numpy says when it reads it."""
    start = file.read(12)
    if not start.startswith(b"\x93NUMPY"):
        return False
    wide = start[6] > 1  # the version
    begin = 12 if wide else 10
    length = int.from_bytes(start[8:begin], "little")
    if length > _LONGEST_HEADER:
        raise Refused(
            f"{where} has a header of {length} bytes, more than the {_LONGEST_HEADER} that are read: "
            "save plain arrays, not records of very many fields"
        )
    header = start[begin:] + file.read(length - (12 - begin))
    try:
        said = ast.literal_eval(header.decode("utf-8" if start[6] > 2 else "latin-1").strip())
        dtype, shape = np.lib.format.descr_to_dtype(said["descr"]), tuple(said["shape"])
        needed = math.prod(shape) * dtype.itemsize
    except Exception:  # any damage: numpy has its own words for it
        return True
    if any(type(side) is not int or side < 0 for side in shape):
        raise Refused(f"{where} declares the shape {shape}: the file is damaged")
    if not dtype.hasobject and needed > size - begin - length:
        raise Refused(
            f"{where} declares {dtype}{list(shape)}, {needed} bytes, and holds "
            f"{max(0, size - begin - length)}: the file is cut short or damaged"
        )
    return True
