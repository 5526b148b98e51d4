"""Labels in arrays and lists, mended; all else as it was."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from famus_jax.audit.list_arrays import CLASS_NAMES, lines_of
from famus_jax.data.sources.numpy_files import array_names, read_array, read_arrays
from famus_jax.data.sources.tables import read_text


def mended_npz(
    path: Path, name: str, changes: Mapping[int, str], dropped: Collection[int] = ()
) -> bytes:
    """An `.npz` with new labels.

    Args:
      path: the file.
      name: of the array of labels [R]; the only one, where there is no such name.
      changes: row -> the new label as the array has it, "" for none.
      dropped: rows to leave out, of every array of R rows but `class_names`.
    """
    names = array_names(path) or []
    name = name if name in names else names[0]
    arrays = read_arrays(path, names)
    count = len(arrays[name])
    arrays[name] = mended_array(arrays[name], changes, f"{path}: array {name!r}")
    keep = [row for row in range(count) if row not in dropped]
    for key, array in arrays.items():
        if dropped and array.ndim and len(array) == count and key != CLASS_NAMES:
            arrays[key] = array[keep]
    content = io.BytesIO()
    with zipfile.ZipFile(path) as file:
        packed = any(one.compress_type != zipfile.ZIP_STORED for one in file.infolist())
    (np.savez_compressed if packed else np.savez)(content, allow_pickle=False, **arrays)
    return content.getvalue()


def mended_npy(path: Path, changes: Mapping[int, str]) -> bytes:
    """An `.npy` of labels with new ones."""
    content = io.BytesIO()
    np.save(content, mended_array(read_array(path), changes, str(path)), allow_pickle=False)
    return content.getvalue()


def mended_txt(path: Path, changes: Mapping[int, str]) -> bytes:
    """A label per line, with new ones."""
    text = read_text(path)
    ending = "\r\n" if "\r\n" in text else "\n"
    lines = lines_of(text)
    for row, new in changes.items():
        lines[row] = new
    mark = b"\xef\xbb\xbf" if path.read_bytes().startswith(b"\xef\xbb\xbf") else b""
    return mark + "".join(line + ending for line in lines).encode()


def mended_array(array: np.ndarray, changes: Mapping[int, str], where: str) -> np.ndarray:
    """A copy of labels [N] with new ones, of the type that they had where it can hold them.

    >>> mended_array(np.array([0, 1, 1], np.uint8), {0: "1", 2: ""}, "set.npz")
    array([ 1,  1, -1], dtype=int16)

    Raises:
      ValueError: no label among booleans; names the row.
    """
    kind = array.dtype.kind
    if kind in "US":
        new = [value.decode() if isinstance(value, bytes) else value for value in array.tolist()]
        for row, text in changes.items():
            new[row] = text
        strings = np.asarray(new, dtype=np.str_)
        return np.char.encode(strings, "utf-8") if kind == "S" else strings
    if kind == "b":
        for row, text in changes.items():
            if not text:
                raise ValueError(
                    f"{where}, row {row}: booleans can't say that there is no label; drop the wrong "
                    "ones (--drop-wrong), or save labels.astype('int64')"
                )
        values = {row: text == "True" for row, text in changes.items()}
    elif kind == "f":
        values = {row: float(text) if text else float("nan") for row, text in changes.items()}
    else:
        values = {row: int(text) if text else -1 for row, text in changes.items()}
    new_type = np.result_type(array.dtype, np.int8) if -1 in values.values() else array.dtype
    mended = array.astype(new_type)
    for row, value in values.items():
        mended[row] = value
    return mended
