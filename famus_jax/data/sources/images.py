"""Reading image files into arrays of one size."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from famus_jax.data.sources.pixel_modes import (
    in_eight_bits,
    may_have_frames,
    several_frames,
    upright,
)
from famus_jax.data.sources.unreadable import check_tolerance, report_unreadable

# By content, whatever the name says. Not among them: EPS, which Pillow hands to Ghostscript, a
# program that runs what the file says.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
# 8192 x 8192; cameras make less.
MAX_PIXELS = 2**26
SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jfif",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
)


def checked_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """(height, width) from a number, a pair, or None; raise `ValueError` unless positive."""
    if size is None:
        return None
    pair = (size, size) if isinstance(size, (int, np.integer)) else tuple(size)
    if len(pair) != 2 or any(int(v) != v or v < 1 for v in pair):
        raise ValueError(f"size = {size!r}; give pixels, 32, or (height, width)")
    return int(pair[0]), int(pair[1])


def required_size(size: int | tuple[int, int] | None) -> tuple[int, int]:
    """As `checked_size`, but None is a `ValueError` too."""
    pair = checked_size(size)
    if pair is None:
        raise ValueError("size = None; give pixels, 32, or (height, width)")
    return pair


def fit(image, size: tuple[int, int]):
    """Scale a Pillow image to cover `size` and cut the middle out: no distortion, no borders."""
    from PIL import Image, ImageOps

    height, width = size
    return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8[H, W, C] (C = 1 or 3) fitted to `size` (see `fit`); unchanged if it has that size."""
    if image.shape[:2] == size:
        return image
    from PIL import Image

    gray = image.shape[-1] == 1
    fitted = fit(Image.fromarray(image[..., 0] if gray else image), size)
    return np.asarray(fitted, np.uint8).reshape(*size, image.shape[-1])


def decode(
    file,
    size: tuple[int, int] | None = None,
    channels: int = 3,
    on_frames: Callable[[], None] | None = None,
) -> np.ndarray:
    """One image as uint8[H, W, channels], as a viewer shows it.

    Turned as its EXIF orientation says; 16-bit gray scaled to 8 bits; transparency laid on white; of
    several frames or pages the first.

    Args:
      file: a path or a binary file object.
      size: (height, width) to fit to (see `fit`), or None for the image's own.
      channels: 3 (color) or 1 (gray).
      on_frames: called if there are several; see `warn_of_frames`.

    Raises:
      OSError, ValueError, SyntaxError: what Pillow raises, if it can't be read; a pipe or device; more
        than `MAX_PIXELS`; pixels that are floats or 32-bit integers, whose range nobody knows.
    """
    with _opened(file) as image:
        ask = on_frames is not None and may_have_frames(image)
        image = in_eight_bits(upright(image), "RGB" if channels == 3 else "L")
        if size is not None:
            image = fit(image, size)
        pixels = np.asarray(image, np.uint8).reshape(image.height, image.width, channels)
    if ask and on_frames is not None and several_frames(file):
        on_frames()
    return pixels


@contextlib.contextmanager
def _opened(file) -> Iterator[Any]:
    """A Pillow image whose head has been read, and nothing else."""
    from PIL import Image

    if isinstance(file, str | os.PathLike) and not os.path.isfile(file):
        if os.path.exists(file):  # opening a pipe would wait for ever
            raise ValueError("is a folder, a pipe or a device, not a file")
        raise FileNotFoundError("there is no such file")
    with Image.open(file, formats=FORMATS) as image:
        _refuse_bomb(image.size)
        yield image


def _refuse_bomb(size: tuple[int, int]) -> None:
    """A file of some kilobytes may hold gigabytes of pixels."""
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(
            f"{size[0]}x{size[1]} pixels are more than the {MAX_PIXELS // 10**6} million that are "
            "decoded; shrink the file"
        )


def try_decode(
    path: Path,
    size: tuple[int, int] | None,
    channels: int,
    on_frames: Callable[[], None] | None = None,
) -> np.ndarray | str:
    """As `decode`, but what can't be read gives the reason."""
    try:
        return decode(path, size, channels, on_frames)
    # Pillow's decoders raise many kinds for damaged files (struct.error, EOFError, …).
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def trouble_at_head(path: Path) -> str:
    """Why `decode` would fail, as far as the head of the file tells, which is quickly read; "" if it
    doesn't."""
    try:
        with _opened(path):
            return ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def warn_of_frames(names: Sequence[str], count: int, stacklevel: int = 3) -> None:
    """Says once how many of a data set's images have several frames or pages.

    Args:
      names: those that have.
      count: how many images there are in all.
      stacklevel: as of `report_unreadable`.
    """
    if names:
        some = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        warnings.warn(
            f"{len(names)} of {count} images have several frames or pages, of which the first is read: "
            f"{some}. Save the others as files of their own, if they are examples too",
            stacklevel=stacklevel,
        )


def _room(shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.empty(shape, np.uint8)
    except MemoryError as error:
        raise ValueError(
            f"{shape[0]} images of {shape[1]}x{shape[2]} don't fit into memory "
            f"({math.prod(shape) / 2**30:.0f} GiB): give a smaller size, e.g. size=32 "
            "(famus train: --config.data.image_size=32), or stream them (--config.data.path=stream)"
        ) from error


def read_images(
    paths: Sequence[Path],
    names: Sequence[str],
    *,
    size: int | tuple[int, int] | None = None,
    channels: int = 3,
    tolerance: float = 0.0,
    progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Read all images into one array.

    Args:
      paths: N files.
      names: N names for messages.
      size: height and width to fit to; None needs images of one size.
      channels: 3 or 1.
      tolerance: share of unreadable files that is only warned about.
      progress: called with the number of images read so far, now and then.

    Returns:
      (uint8[M, H, W, channels], int64[M] positions of the images that could be read).

    Raises:
      ValueError: more unreadable files than tolerated (named and counted); several sizes; another
        number of channels.
    """
    tolerance = check_tolerance(tolerance)
    array, kept, reasons = decode_all(paths, names, size=size, channels=channels, progress=progress)
    report_unreadable(reasons, len(paths), tolerance, "images")
    if not len(kept):
        raise ValueError("none of the images can be read")
    return array, kept


def decode_all(
    paths: Sequence[Path],
    names: Sequence[str],
    *,
    size: int | tuple[int, int] | None = None,
    channels: int = 3,
    progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """As `read_images`, but what can't be read is handed back: name -> why.

    Raises:
      ValueError: several sizes; another number of channels.
    """
    pair = checked_size(size)
    if channels not in (1, 3):
        raise ValueError(f"channels = {channels!r}; choose 3 (color) or 1 (gray)")
    reasons: dict[str, str] = {}
    kept: list[int] = []
    frames: list[int] = []  # which have several
    array: np.ndarray | None = None

    def read(row: int) -> np.ndarray | str:
        return try_decode(paths[row], pair, channels, lambda: frames.append(row))

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for row, image in enumerate(pool.map(read, range(len(paths)))):
            if progress is not None and row % 1000 == 0:
                progress(row)
            if isinstance(image, str):
                reasons[names[row]] = image
                continue
            if array is None:
                array = _room((len(paths), *image.shape))
            if image.shape != array.shape[1:]:
                first = names[kept[0]]
                raise ValueError(
                    f"{names[row]} is {image.shape[0]}x{image.shape[1]} but {first} is "
                    f"{array.shape[1]}x{array.shape[2]} (height x width); give a common size, "
                    "e.g. size=32 (famus train: --config.data.image_size=32)"
                )
            array[len(kept)] = image
            kept.append(row)
    warn_of_frames([names[row] for row in sorted(frames)], len(paths))
    if array is None:
        array = np.zeros((0, *(pair or (0, 0)), channels), np.uint8)
    return array[: len(kept)], np.asarray(kept, np.int64), reasons
