"""Which example may have broken a step: one with values far beyond those of its batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_FAR = 1e4  # times the median of the batch's largest values


def suspect_of(images: Any, ids: Sequence[str] | np.ndarray, examples: np.ndarray) -> str:
    """Names the example, or "" if none stands out. Pixels never do: they are 8 bits.

    Args:
      images: float features [N, D]; anything else has no suspect.
      ids: [N].
      examples: int [n], positions of the batch's examples.

    >>> features = np.array([[0.5, 2.0], [1e30, 0.0], [1.0, 1.0]])
    >>> suspect_of(features, ["a", "b", "c"], np.array([0, 1, 2]))
    "example 'b' holds 1e+30, most of its batch at most 2"
    """
    if not np.issubdtype(getattr(images, "dtype", np.uint8), np.floating):
        return ""
    rows = np.asarray(images[np.asarray(examples)], np.float64)
    largest = np.abs(rows.reshape(len(rows), -1)).max(1)
    worst, usual = int(largest.argmax()), float(np.median(largest))
    if largest[worst] <= _FAR * max(usual, 1.0):
        return ""
    held = f"example {str(ids[examples[worst]])!r} holds {largest[worst]:.3g}"
    return f"{held}, most of its batch at most {usual:.3g}"
