"""Train, noisy validation and trusted parts of one set of examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from famus_jax.data import hashing
from famus_jax.data.sources.classes import refuse_gaps


class Splits(NamedTuple):
    """Positions of the three parts, pairwise disjoint; together they are all examples.

    Attributes:
      train: int64[N - V - T], the rest.
      validation: int64[V], V = C * validation_per_class; give it *noisy* labels.
      trusted: int64[T], T = C * trusted_per_class; keeps its clean labels.

    Each array lists its examples in the order of their ids, so that not even the order of a part
    depends on how the examples were stored.
    """

    train: np.ndarray
    validation: np.ndarray
    trusted: np.ndarray


def _checked_count(value: int, name: str) -> int:
    if isinstance(value, bool) or int(value) != value or value < 0:
        raise ValueError(f"{name} = {value!r} must be a whole number >= 0")
    return int(value)


def class_counts(labels: np.ndarray) -> np.ndarray:
    """Examples of each of the classes 0 … C-1, int64[C], all above 0.

    Raises:
      ValueError: labels that are no integers >= 0 of shape [N], no examples, or a class without any
        (found before an array is made that is as long as the highest label is high).
    """
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or (labels.size and labels.min() < 0):
        raise ValueError(
            f"labels must be integers >= 0 of shape [N], got {labels.dtype} {labels.shape}"
        )
    if labels.size == 0:
        raise ValueError("there are no examples to split: labels is empty")
    refuse_gaps(labels, "remove the empty class (renumber the labels) or add examples of it")
    return np.unique(labels, return_counts=True)[1]


def split_examples(
    labels: np.ndarray | Sequence[int],
    ids: Sequence[str] | np.ndarray,
    *,
    trusted_per_class: int,
    validation_per_class: int,
    seed: int,
    class_names: Sequence[str] = (),
) -> Splits:
    """Draw a class-balanced trusted set and a class-balanced validation set.

    Within a class the examples are put in a random order that depends on (seed, id) only; the first
    `trusted_per_class` are trusted, the next `validation_per_class` are validation. One order
    for both, so the parts can't overlap, and a larger trusted set contains the smaller one.

    Args:
      labels: integers [N], the *clean* labels of the training set (never of the test set).
      ids: N unique strings.
      trusted_per_class: examples of each class in the trusted set.
      validation_per_class: examples of each class in the validation set.
      class_names: for messages.
      seed: int; give splits and noise different keys or the same, they are independent anyway.

    Returns:
      `Splits`. The sizes depend on the class counts alone.

    Raises:
      ValueError: a class has no examples (classes are 0 … max(labels)), or fewer than the trusted
        and validation sets ask for plus one for training.
    """
    trusted_per_class = _checked_count(trusted_per_class, "trusted_per_class")
    validation_per_class = _checked_count(validation_per_class, "validation_per_class")
    clean = np.asarray(labels)
    counts = class_counts(clean)
    names = hashing.checked_ids(ids, len(clean))
    wanted = trusted_per_class + validation_per_class
    for c, count in enumerate(counts):
        if count <= wanted:
            name = repr(class_names[c]) if class_names else c
            raise ValueError(
                f"class {name} has {count} examples, but "
                f"trusted_per_class = {trusted_per_class} and "
                f"validation_per_class = {validation_per_class} need {wanted} and at least one "
                "must be left for training; ask for fewer"
            )
    parts: dict[str, list[np.ndarray]] = {"trusted": [], "validation": [], "train": []}
    order = hashing.hash_order(seed, "split", names)
    for c in range(len(counts)):
        mine = order[clean[order] == c]
        parts["trusted"].append(mine[:trusted_per_class])
        parts["validation"].append(mine[trusted_per_class:wanted])
        parts["train"].append(mine[wanted:])
    train, validation, trusted = (
        hashing.in_id_order(np.concatenate(parts[name]), names)
        for name in ("train", "validation", "trusted")
    )
    return Splits(train, validation, trusted)
