"""What a setting of an augmentation may be; also for values out of a config, of any type."""

from __future__ import annotations

import math
import numbers
from typing import Any


def is_number(value: Any) -> bool:
    """Whether it is a finite real number (True and False are none)."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and math.isfinite(value)


def is_whole(value: Any, least: int) -> bool:
    """Whether it is a whole number of at least `least`."""
    return is_number(value) and isinstance(value, numbers.Integral) and int(value) >= least


def check_part(scale: Any, ratio: Any) -> None:
    """Raise `ValueError` unless both are (least, most), `scale` in (0, 1] and `ratio` above 0."""
    if not _is_range(scale) or scale[1] > 1:
        raise ValueError(f"scale = {scale!r} must be 0 < least <= most <= 1")
    if not _is_range(ratio):
        raise ValueError(f"ratio = {ratio!r} must be 0 < least <= most")


def _is_range(value: Any) -> bool:
    if not isinstance(value, tuple) or len(value) != 2 or not all(map(is_number, value)):
        return False
    return 0 < value[0] <= value[1]
