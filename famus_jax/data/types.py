"""The array form of a data set that all sources give."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Examples(NamedTuple):
    """A whole split in memory.

    Attributes:
      images: uint8[N, H, W, C], or float32[N, D] for precomputed features.
      labels: int32[N] in [0, num_classes), as the source gives them.
      ids: array of str [N], unique; an example keeps its id for ever.
      num_classes: number of classes.
      name: what was loaded, for messages and tables.
      class_names: one for each class, or () where the source has none.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    num_classes: int
    name: str
    class_names: tuple[str, ...] = ()
