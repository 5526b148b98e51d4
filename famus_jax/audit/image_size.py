"""One size and number of channels for images of many, from their headers; nothing is decoded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from famus_jax.data.sources.images import FORMATS

LONGEST_SIDE = 64
MOST_BYTES = 4 * 2**30
_GRAY = ("1", "L", "LA", "La", "I")
_ORIENTATION = 0x0112  # of EXIF
_ON_ITS_SIDE = (5, 6, 7, 8)


class Header(NamedTuple):
    """What an image file says of itself: pixels as a viewer shows them, and whether it has no color."""

    height: int
    width: int
    gray: bool


def read_headers(paths: Sequence[Path]) -> list[Header | None]:
    """Of N files; None of those that can't be opened."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(_header, paths))


def _header(path: Path) -> Header | None:
    from PIL import Image

    if not os.path.isfile(path):  # opening a pipe would wait for ever
        return None
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            gray = image.mode in _GRAY or image.mode.startswith("I;16")
            if _turned(image):
                width, height = height, width
            return Header(height, width, gray)
    except Exception:  # Pillow raises many kinds; decoding tells which
        return None


def _turned(image) -> bool:
    try:
        return image.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE
    except Exception:  # damaged metadata: viewers show the pixels as they lie
        return False


def common_size(heights: Sequence[int], widths: Sequence[int]) -> tuple[int, int]:
    """(height, width): the medians, both shrunk alike until neither is above `LONGEST_SIDE`.

    Images that are all small and of one size keep it.

    >>> common_size([28, 28], [28, 28]), common_size([480, 480, 90], [640, 640, 90])
    ((28, 28), (48, 64))
    """
    height, width = float(np.median(heights)), float(np.median(widths))
    shrink = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def refuse_what_does_not_fit(count: int, size: tuple[int, int], channels: int, name: str) -> None:
    """Raises `ValueError` if so many images are more than `MOST_BYTES`; names a size that fits."""
    pixels = size[0] * size[1]
    if count * pixels * channels <= MOST_BYTES:
        return
    least = max(1, int((MOST_BYTES / (count * channels)) ** 0.5))
    raise ValueError(
        f"{name}: {count} images of {size[0]}x{size[1]} are "
        f"{count * pixels * channels / 2**30:.1f} GiB in memory, more than {MOST_BYTES // 2**30}: "
        f"fit them to a smaller size, size={min(least, min(size))} (famus audit: --size), or audit a "
        "part at a time"
    )
