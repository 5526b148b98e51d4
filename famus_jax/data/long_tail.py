"""Long-tailed training sets: exponentially falling class sizes, and a balanced meta set.

Symbols: C classes, i = 0 … C-1 the class; n_max the size of the largest class; f > 1 the imbalance
factor, largest over smallest.

    n_i = floor(n_max f^(-i / (C - 1))) .

Two versions are published, which differ in n_max (50,000 CIFAR images, m meta images in all):

* "cui" (Cui et al. 2019, LDAM and most others): n_max = the class size, N / C;
* "mwnet" (MW-Net's and FaMUS's code): n_max = (N - m) / C, what is left beside the meta set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from famus_jax.data import hashing
from famus_jax.data.splits import class_counts


class LongTail(NamedTuple):
    """Positions of a long-tailed training set and of a balanced meta set, disjoint.

    Attributes:
      train: int64[sum(n_i)], in the order of the ids.
      trusted: int64[C * meta_per_class], in the order of the ids.
      class_counts: int64[C], the n_i.
    """

    train: np.ndarray
    trusted: np.ndarray
    class_counts: np.ndarray


def exponential_profile(largest: float, num_classes: int, imbalance_factor: float) -> np.ndarray:
    """n_i = floor(largest f^(-i/(C-1))), int64[C].

    Args:
      largest: n_max, not necessarily whole.
      num_classes: C >= 2.
      imbalance_factor: f >= 1 (100 means that the smallest class is a hundredth of the largest;
        some papers write 0.01).

    >>> exponential_profile(5000, 10, 100).tolist()
    [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    """
    if num_classes < 2:
        raise ValueError(f"num_classes = {num_classes}: a long tail needs at least 2 classes")
    if not imbalance_factor >= 1:
        hint = (
            f"; for {imbalance_factor} write {1 / imbalance_factor:g}"
            if imbalance_factor > 0
            else ""
        )
        raise ValueError(f"imbalance_factor = {imbalance_factor} must be at least 1{hint}")
    share = np.arange(num_classes) / (num_classes - 1)
    sizes = largest * (1.0 / imbalance_factor) ** share
    # 1e-9: a size that is whole in exact arithmetic (the last class) must not lose one to rounding.
    return np.floor(sizes + 1e-9).astype(np.int64)


def long_tail(
    labels: np.ndarray | Sequence[int],
    ids: Sequence[str] | np.ndarray,
    *,
    imbalance_factor: float,
    meta_per_class: int = 10,
    formula: Literal["cui", "mwnet"] = "mwnet",
    seed: int,
) -> LongTail:
    """Thin out a balanced set to a long tail and set a balanced meta set aside.

    Within a class the order is random by (seed, id): the first `meta_per_class` examples are the
    meta set, the next n_i the training set, so the two can't overlap.

    Args:
      labels: integers [N]; class 0 stays the largest.
      ids: N unique strings.
      imbalance_factor: f >= 1.
      meta_per_class: trusted examples per class (10 in the papers), 0 for none.
      formula: "cui" or "mwnet", see the module. With "cui" the meta set is taken from the surplus
        of the thinned classes; the largest class has none, so it gives up `meta_per_class`
        training examples (its count is capped at what is left).
      seed: int.

    Raises:
      ValueError: an empty class, a class that is too small for its n_i, an unknown formula.
    """
    clean = np.asarray(labels)
    have = class_counts(clean)
    if int(meta_per_class) != meta_per_class or meta_per_class < 0:
        raise ValueError(f"meta_per_class = {meta_per_class!r} must be a whole number >= 0")
    names = hashing.checked_ids(ids, len(clean))
    if formula == "cui":
        largest = len(clean) / len(have)
    elif formula == "mwnet":
        largest = (len(clean) - meta_per_class * len(have)) / len(have)
    else:
        raise ValueError(f"formula = {formula!r}; choose 'cui' or 'mwnet'")
    counts = exponential_profile(largest, len(have), imbalance_factor)
    left = have - meta_per_class
    if formula == "cui":
        counts = np.where(np.arange(len(counts)) == 0, np.minimum(counts, left), counts)
    short = np.flatnonzero((left < counts) | (counts < 1))
    if short.size:
        c = int(short[0])
        raise ValueError(
            f"class {c} has {have[c]} examples, but {meta_per_class} for the meta set and "
            f"{counts[c]} for training are asked for (at least 1); the formulas assume classes of "
            "equal size and enough examples: lower meta_per_class or imbalance_factor, or balance "
            "the set first"
        )
    order = hashing.hash_order(seed, "long_tail", names)
    trusted, train = [], []
    for c, count in enumerate(counts):
        mine = order[clean[order] == c]
        trusted.append(mine[:meta_per_class])
        train.append(mine[meta_per_class : meta_per_class + count])
    return LongTail(
        hashing.in_id_order(np.concatenate(train), names),
        hashing.in_id_order(np.concatenate(trusted), names),
        counts,
    )
