"""Who trains which network on which labels: folds, and labels that are corrupted on purpose.

Both are functions of (seed, id), as all that is random about data here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from famus_jax.audit.items import UNLABELLED
from famus_jax.data import hashing

_SHARE, _LEAST, _MOST = 0.05, 60, 0.3


class Folds(NamedTuple):
    """K networks and N examples.

    Attributes:
      seen: bool [K, N], whether a network trains on an example.
      labels: int32 [K, N], with which label.
      planted: bool [K, N], whether that label was corrupted on purpose; in one network at most.
    """

    seen: np.ndarray
    labels: np.ndarray
    planted: np.ndarray


def make_folds(
    labels: np.ndarray,
    ids: np.ndarray,
    num_classes: int,
    *,
    count: int = 4,
    seed: int = 0,
    spared: np.ndarray | None = None,
) -> Folds:
    """Each network leaves out one fold, of every class alike, and all that has no label.

    A twentieth of the labels (at least sixty, at most three in ten) is corrupted for the self-test,
    each in one of the networks that see the example. The others give the example's own evidence, so
    that nothing is lost by it.

    Args:
      labels: int [N] in [0, C) or -1.
      ids: str [N].
      num_classes: C >= 2.
      count: K >= 3: with two, one network alone would see an example.
      seed: any int.
      spared: bool [N], labels that are never corrupted: those that are known to be wrong already.

    Raises:
      ValueError: fewer than three networks.
    """
    if count < 3:
        raise ValueError(f"count = {count} networks; the self-test needs 3 or more")
    fold = np.full(len(labels), -1)
    order = hashing.hash_order(seed, "audit_folds", ids)
    for c in range(num_classes):
        mine = order[labels[order] == c]
        fold[mine] = (np.arange(len(mine)) + c) % count
    labelled = labels != UNLABELLED
    seen = labelled & (fold != np.arange(count)[:, None])
    given = np.tile(labels.astype(np.int32), (count, 1))
    planted = np.zeros((count, len(labels)), bool)

    may = labelled if spared is None else labelled & ~spared
    order = hashing.hash_order(seed, "audit_planted", ids)
    chosen = order[may[order]]
    chosen = chosen[: int(min(max(_SHARE * len(chosen), _LEAST), _MOST * len(chosen)))]
    other = 1 + (hashing.uniform(seed, "audit_label", ids[chosen]) * (num_classes - 1)).astype(int)
    network = (fold[chosen] + 1 + np.arange(len(chosen)) % (count - 1)) % count
    planted[network, chosen] = True
    given[network, chosen] = (labels[chosen] + other) % num_classes
    return Folds(seen, given, planted)
