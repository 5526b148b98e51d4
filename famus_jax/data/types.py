"""The array form of a data set that all sources give."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np


class Examples(NamedTuple):
    """A whole split in memory.

    Attributes:
      images: uint8[N, H, W, C], or float32[N, D] for precomputed features.
      labels: int32[N] in [0, num_classes), as the source gives them; a class may have no example in a
        part of a set.
      ids: array of str [N], unique; an example keeps its id for ever.
      num_classes: number of classes.
      name: what was loaded, for messages and tables.
      class_names: one for each class, or () where the source has none.
      buckets: of `hashed_texts`, if the images are texts; 0 for all else.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    num_classes: int
    name: str
    class_names: tuple[str, ...] = ()
    buckets: int = 0


def take(examples: Examples, positions: np.ndarray) -> Examples:
    """The examples at `positions`, in that order."""
    return examples._replace(
        images=examples.images[positions],
        labels=examples.labels[positions],
        ids=np.asarray(examples.ids)[positions],
    )


def first_classes(examples: Examples, num_classes: int) -> Examples:
    """The examples of the classes 0 … num_classes - 1.

    ImageNet's first 50 classes, `first_classes(imagenet, 50)`, are the second test set of
    mini-WebVision.

    Raises:
      ValueError: fewer classes than that, or none asked for.
    """
    if not 1 <= num_classes <= examples.num_classes:
        raise ValueError(
            f"num_classes = {num_classes} must be in [1, {examples.num_classes}], the classes of "
            f"{examples.name}"
        )
    part = take(examples, np.flatnonzero(examples.labels < num_classes))
    return part._replace(
        num_classes=num_classes, class_names=tuple(examples.class_names[:num_classes])
    )


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
