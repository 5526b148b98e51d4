"""What to predict, as it is given on a command line: images, folders, tables, arrays, texts.

All that can be told without decoding images is looked at first; then batches of what the network takes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from famus_jax.data.sources.arrays import checked_inputs, texts_of_ids
from famus_jax.data.sources.classes import is_missing, spelled, written
from famus_jax.data.sources.folders import images_below
from famus_jax.data.sources.images import (
    SUFFIXES,
    resize,
    trouble_at_head,
    try_decode,
)
from famus_jax.data.sources.numpy_files import array_names, read_array
from famus_jax.data.sources.tables import SUFFIXES as TABLES
from famus_jax.data.sources.tables import read_columns
from famus_jax.data.sources.unreadable import check_tolerance, report_unreadable
from famus_jax.files import expanded
from famus_jax.predictor.text_inputs import texts_of
from famus_jax.predictor.types import Features, Images, Predictor, PretrainedImages, Texts

ARRAYS = (".npz", ".npy")
_FLAG = "famus predict: --tolerance"
_THREADS = min(8, os.cpu_count() or 1)


class Part(NamedTuple):
    """Some examples of one kind.

    Attributes:
      ids: N names, "photos/cat.png".
      paths: N image files; None for an array.
      array: uint8 [N, H, W, C], float32 [N, D] or texts; None for image files.
    """

    ids: list[str]
    paths: list[Path] | None = None
    array: np.ndarray | None = None


class Inputs(NamedTuple):
    """All examples.

    Attributes:
      parts: in the order in which they were given.
      unreadable: id -> why, of image files that can't be read as far as is known yet.
      tolerance: the share of all that may be.
    """

    parts: list[Part]
    unreadable: dict[str, str]
    tolerance: float

    @property
    def total(self) -> int:
        """How many there are, unreadable ones included."""
        return sum(len(part.ids) for part in self.parts)


def find_inputs(
    names: Sequence[str | os.PathLike], predictor: Predictor, tolerance: float = 0.0
) -> Inputs:
    """Looks at everything that is to be predicted; decodes no image yet.

    Args:
      names: image files; folders of images, at any depth; `.csv` or `.parquet` tables with a column
        "path" (relative ones start from the table's folder); `.npz` or `.npy` of images or features,
        with ids in the array "ids", if there is one. For texts, tables with a column "text" (and
        "id"), or a `.txt` with one on every line.
      predictor: for which.
      tolerance: share of image files that may be unreadable.

    Raises:
      FileNotFoundError, ValueError: a file that isn't there, of another kind than the network takes or
        of another shape, that is no image, or that occurs twice; more unreadable ones than tolerated.
    """
    check_tolerance(tolerance)
    parts = [_part(os.fspath(name), predictor) for name in names]
    first: dict[str, int] = {}
    for i, part in enumerate(parts):
        for name in part.ids:
            if first.setdefault(name, i) != i:
                raise ValueError(
                    f"{name!r} occurs in {names[first[name]]} and in {names[i]}: give it once, or "
                    "predict them one after the other"
                )
        if len(set(part.ids)) < len(part.ids):
            twice = next(name for name in part.ids if part.ids.count(name) > 1)
            raise ValueError(f"{names[i]}: {twice!r} occurs more than once; leave one out")
    files = [
        pair for part in parts if part.paths for pair in zip(part.ids, part.paths, strict=True)
    ]
    with ThreadPoolExecutor(_THREADS) as pool:
        heads = pool.map(trouble_at_head, [path for _, path in files])
        unreadable = {name: why for (name, _), why in zip(files, heads, strict=True) if why}
    found = Inputs(parts, unreadable, tolerance)
    _refuse_many(unreadable, found)
    return found


def read_batches(
    inputs: Inputs, predictor: Predictor, size: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Ids, and what `probabilities.logits` takes of them; at most `size` of them at a time.

    Image files that can't be read are left out, with a warning at the end.

    Raises:
      ValueError: more of them than tolerated, as soon as that is known.
    """
    unreadable = dict(inputs.unreadable)
    with ThreadPoolExecutor(_THREADS) as pool:
        for part in inputs.parts:
            for start in range(0, len(part.ids), size):
                ids = part.ids[start : start + size]
                if part.array is not None:
                    yield ids, _sized(part.array[start : start + size], predictor)
                    continue
                assert part.paths is not None
                takes = predictor.inputs
                assert isinstance(takes, Images | PretrainedImages)
                todo = [
                    (name, path)
                    for name, path in zip(ids, part.paths[start : start + size], strict=True)
                    if name not in unreadable
                ]
                read = pool.map(
                    lambda pair, takes=takes: try_decode(pair[1], takes.size, takes.channels), todo
                )
                kept = []
                for (name, _), image in zip(todo, read, strict=True):
                    if isinstance(image, str):
                        unreadable[name] = image
                    else:
                        kept.append((name, image))
                _refuse_many(unreadable, inputs)
                if kept:
                    names, images = zip(*kept, strict=True)
                    yield list(names), np.stack(images)
    if len(unreadable) == inputs.total:
        raise ValueError("none of the images can be read")
    report_unreadable(unreadable, inputs.total, inputs.tolerance, "images", flag=_FLAG)


def _refuse_many(unreadable: dict[str, str], inputs: Inputs) -> None:
    if len(unreadable) > inputs.tolerance * inputs.total:
        report_unreadable(unreadable, inputs.total, inputs.tolerance, "images", flag=_FLAG)


def _part(name: str, predictor: Predictor) -> Part:
    path = expanded(name)
    suffix = path.suffix.lower()
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {name!r}")
    if isinstance(predictor.inputs, Texts):
        ids, texts = texts_of(path)
        return Part(ids, None, texts)
    if not path.is_dir() and suffix in ARRAYS:
        return _of_array(path, predictor)
    if isinstance(predictor.inputs, Features):
        maker = f" of {predictor.backbone}" if predictor.backbone else ""
        raise ValueError(
            f"{name}: the network takes features{maker}, {predictor.inputs.dimension} numbers for an "
            f"example, made as for its training: give .npy or .npz, floats "
            f"[N, {predictor.inputs.dimension}]"
        )
    if predictor.inputs.channels not in (1, 3):
        raise ValueError(
            f"{name}: the network takes images of {predictor.inputs.channels} channels, which no "
            f"image file has: give .npy or .npz, uint8 {_shape(predictor)}"
        )
    if path.is_dir():
        return _of_folder(path, name)
    if suffix in TABLES:
        return _of_table(path)
    if suffix not in SUFFIXES and (why := trouble_at_head(path)):
        raise ValueError(
            f"{name} is no image ({', '.join(SUFFIXES)}), no table with a column 'path' "
            f"({', '.join(TABLES)}) and no array ({', '.join(ARRAYS)}): {why}"
        )
    return Part([spelled(name)], [path])


def _of_folder(path: Path, name: str) -> Part:
    paths = images_below(path)
    if not paths:
        raise ValueError(f"{name}: there is no image ({', '.join(SUFFIXES)}) in this folder")
    ids = [spelled(os.path.join(name, file.relative_to(path).as_posix())) for file in paths]
    order = sorted(range(len(ids)), key=lambda i: ids[i].split("/"))
    return Part([ids[i] for i in order], [paths[i] for i in order])


def _of_table(path: Path) -> Part:
    table = read_columns(path, ["path"])
    ids, paths = [], []
    for row, value in enumerate(table.columns["path"]):
        if is_missing(written(value)):
            raise ValueError(f"{table.at(row)}: there is no path; fill it in or leave the row out")
        ids.append(spelled(str(value)))
        paths.append(path.parent / str(value))
    return Part(ids, paths)


def _of_array(path: Path, predictor: Predictor) -> Part:
    names = array_names(path)
    chosen = next((n for n in ("images", "features") if n in (names or ())), None)
    if names is not None and chosen is None:
        left = [name for name in names if name not in ("ids", "labels")]
        if len(left) != 1:
            raise ValueError(
                f"{path} has the arrays {names}: call the one to predict 'images' or 'features'"
            )
        chosen = left[0]
    array = checked_inputs(np.asarray(read_array(path, chosen)), str(path))
    if not len(array):
        raise ValueError(f"{path} holds no example")
    _refuse_unfit(array, path, predictor)
    ids = [f"row_{row:07d}" for row in range(len(array))]
    if names is not None and "ids" in names:
        ids = texts_of_ids(read_array(path, "ids"), str(path))
        if len(ids) != len(array):
            raise ValueError(f"{path}: {len(ids)} ids for {len(array)} examples")
    return Part(ids, None, array)


def _refuse_unfit(array: np.ndarray, path: Path, predictor: Predictor) -> None:
    takes, has = predictor.inputs, f"{array.dtype} {list(array.shape)}"
    if isinstance(takes, Features):
        if array.ndim == 2 and array.shape[1] == takes.dimension:
            return
        maker = f" by {predictor.backbone}" if predictor.backbone else ""
        raise ValueError(
            f"{path} holds {has}; the network takes features, floats [N, {takes.dimension}]: make them "
            f"as for its training{maker}"
        )
    assert not isinstance(takes, Texts)
    if array.ndim != 4:
        raise ValueError(
            f"{path} holds {has}, features; the network takes images: give image files, or uint8 "
            f"{_shape(predictor)}"
        )
    if array.shape[3] != takes.channels:
        fix = ""
        if array.shape[1] == takes.channels:
            fix = ": save images.transpose(0, 2, 3, 1)"
        elif (array.shape[3], takes.channels) == (1, 3):
            fix = ": save numpy.repeat(images, 3, axis=3)"
        raise ValueError(
            f"{path} holds images of {array.shape[3]} channels, {has}; the network takes "
            f"{takes.channels}{fix}"
        )
    if array.shape[1:3] != takes.size and takes.channels not in (1, 3):
        raise ValueError(
            f"{path} holds {has}, and images of {takes.channels} channels can't be fitted: save them "
            f"as {_shape(predictor)}"
        )


def _sized(array: np.ndarray, predictor: Predictor) -> np.ndarray:
    takes = predictor.inputs
    if isinstance(takes, Features | Texts) or array.shape[1:3] == takes.size:
        return array
    return np.stack([resize(image, takes.size) for image in array])


def _shape(predictor: Predictor) -> str:
    return "[N, " + ", ".join(map(str, predictor.inputs.shape)) + "]"
