"""The array form of a data set that all sources give."""

from __future__ import annotations

import hashlib
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


def content_digest(examples: Examples) -> str:
    """Fingerprint of images and labels, 32 hex digits, independent of the order of the examples.

    Sets without ids of their own are named by record number; this tells whether two machines have
    the same records under the same numbers.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{examples.images.dtype}{examples.images.shape[1:]}".encode())
    for row in np.argsort(examples.ids, kind="stable"):
        digest.update(f"\x00{examples.ids[row]}\x00{int(examples.labels[row])}\x00".encode())
        digest.update(np.ascontiguousarray(examples.images[row]).tobytes())
    return digest.hexdigest()
