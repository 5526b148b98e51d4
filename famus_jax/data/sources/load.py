"""A data set by its name: a prepared tfds set, or the path of the user's own data."""

from __future__ import annotations

import os

from famus_jax.data.sources.own_data import load_path
from famus_jax.data.sources.tfds import load_tfds
from famus_jax.data.types import Examples


def is_path(name: str) -> bool:
    """Whether a source name is a path to the user's own data rather than a tfds name."""
    starts = (".", "/", "~", "\\")
    return (
        name.startswith(starts)
        or name.endswith((".csv", ".parquet", ".npz"))
        or os.path.isabs(name)
    )


def load_source(
    name: str,
    split: str,
    data_dir: str | os.PathLike | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    tolerance: float = 0.0,
    label_key: str = "label",
) -> Examples:
    """Load one split of an image-classification set into memory, without TensorFlow.

    Args:
      name: "famus_digits" (prepared on first use), or any tfds set that is prepared in `data_dir`
        as ArrayRecord, with the features "image", "label" and, if it has one, "id". Without an id,
        examples are named by split and record number, "train_0000017"; such ids are stable for one
        version of the builder, which then is part of `Examples.name`. Or a path to the user's own
        data, recognized by its start ("./", "/", "~", "../") or its suffix (.csv, .parquet, .npz):
        see `own_data.load_path`.
      split: a name in the builder, "train"; "train", "test" or "all" of own data.
      data_dir: see `open_builder`.
      size: fit every image to this height and width (see `images.fit`), e.g. 32 for the 84-pixel
        Mini-ImageNet; None keeps the images' own, which then must be one.
      tolerance: share of the user's own image files that may be unreadable.
      label_key: the feature that is the label, e.g. "worse_label" of cifar10_n.

    Returns:
      `Examples`, in the order of the files (which for tfds is *not* torchvision's: align by id).

    Raises:
      FileNotFoundError, ValueError: see `open_builder`; an unknown split; images of several sizes.
    """
    if is_path(name):
        return load_path(name, split, size=size, tolerance=tolerance)
    return load_tfds(name, split, data_dir, size=size, label_key=label_key)
