"""The data of an audit: examples of any kind, some of which may have no label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

UNLABELED = -1


class Items(NamedTuple):
    """N examples in memory.

    Attributes:
      kind: "images", "features" or "texts".
      inputs: uint8 [N, H, W, C]; float32 [N, D]; str [N], dtype object.
      labels: int32 [N] in [0, C), or -1 (`UNLABELED`): it has none, and gets a suggestion.
      ids: str [N], unique.
      class_names: C names.
      name: what was read, for messages.
      paths: N image files, or () where there are none.
      left_out: (id, why) of what could not be read.
    """

    kind: str
    inputs: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    class_names: tuple[str, ...]
    name: str
    paths: Sequence[str] = ()
    left_out: tuple[tuple[str, str], ...] = ()
