"""A data set by its name: a prepared tfds set, or the path of the user's own data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from famus_jax.data.sources.own_data import held_out, list_path, load_path
from famus_jax.data.sources.tables import SUFFIXES
from famus_jax.data.sources.texts import BUCKETS, is_text_table, list_texts
from famus_jax.data.sources.tfds import load_column, load_tfds
from famus_jax.data.types import Examples


def is_path(name: str) -> bool:
    """Whether a source name is a path to the user's own data rather than a tfds name."""
    starts = (".", "/", "~", "\\")
    return (
        name.startswith(starts) or name.lower().endswith((*SUFFIXES, ".npz")) or os.path.isabs(name)
    )


class Labels(NamedTuple):
    """`Examples` without images.

    Attributes:
      labels: int32[N] in [0, num_classes).
      ids: array of str [N].
      num_classes: C.
      name: what was loaded.
      class_names: C names, or ().
    """

    labels: np.ndarray
    ids: np.ndarray
    num_classes: int
    name: str
    class_names: tuple[str, ...]


def load_labels(
    name: str,
    split: str,
    data_dir: str | os.PathLike | None = None,
    label_key: str = "label",
    class_names: Sequence[str] = (),
) -> Labels:
    """As `load_source`, but decodes no image: for noise tables.

    Raises:
      FileNotFoundError, ValueError: as `load_source`, but for images.
    """
    if not is_path(name):
        refuse_class_names(name, class_names)
        found = load_column(name, split, label_key, data_dir)
        title = found.name.removesuffix(f"/{label_key}")
        return Labels(found.values, found.ids, found.num_classes, title, found.class_names)
    if Path(name).suffix.lower() == ".npz":
        e = load_path(name, split, class_names=class_names, label_column=label_key)
        return Labels(e.labels, e.ids, e.num_classes, e.name, e.class_names)
    if is_text_table(name):
        table = list_texts(name, label_column=label_key, class_names=class_names)
        rows = held_out(table.labels, table.ids, split)
        labels, names = table.labels[rows], table.class_names
        return Labels(labels, table.ids[rows], len(names), table.name, names)
    files = list_path(name, split, class_names, label_key)
    ids = np.asarray(files.ids, dtype=np.str_)
    return Labels(files.labels, ids, len(files.class_names), files.name, files.class_names)


def refuse_class_names(name: str, class_names: Sequence[str]) -> None:
    """Raises `ValueError` if a prepared set, which knows its classes, is given some."""
    if class_names:
        raise ValueError(f"{name!r} has classes of its own; data.class_names is for one's own data")


def load_source(
    name: str,
    split: str,
    data_dir: str | os.PathLike | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    tolerance: float = 0.0,
    label_key: str = "label",
    class_names: Sequence[str] = (),
    buckets: int = BUCKETS,
) -> Examples:
    """Load one split of an image-classification set into memory, without TensorFlow.

    Args:
      name: "famus_digits" (prepared on first use), or any tfds set that is prepared in `data_dir`
        as ArrayRecord, with the features "image", "label" and, if it has one, "id". Without an id,
        examples are named by split and record number, "train_0000017"; such ids are stable for one
        version of the builder, which then is part of `Examples.name`. Or a path to the user's own
        data, recognized by its start ("./", "/", "~", "../") or its suffix (.npz, or a table's):
        see `own_data.load_path`.
      split: a name in the builder, "train"; "train", "test" or "all" of own data.
      data_dir: see `open_builder`.
      size: fit every image to this height and width (see `images.fit`), e.g. 32 for the 84-pixel
        Mini-ImageNet; None keeps the images' own, which then must be one.
      tolerance: share of the user's own image files that may be unreadable.
      label_key: the feature that is the label, e.g. "worse_label" of cifar10_n, or the column of the
        user's own table.
      class_names: the classes of the user's own data, in their order, of which not all need examples;
        () takes them from the data.
      buckets: of the user's own texts, see `hashed_texts`.

    Returns:
      `Examples`, in the order of the files (which for tfds is *not* torchvision's: align by id).

    Raises:
      FileNotFoundError, ValueError: see `open_builder`; an unknown split; images of several sizes.
    """
    if is_path(name):
        return load_path(
            name,
            split,
            size=size,
            tolerance=tolerance,
            class_names=class_names,
            label_column=label_key,
            buckets=buckets,
        )
    refuse_class_names(name, class_names)
    return load_tfds(name, split, data_dir, size=size, label_key=label_key)
