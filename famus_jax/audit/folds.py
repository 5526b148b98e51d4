"""Who trains which network on which labels: folds, and labels that are corrupted on purpose.

Both are functions of (seed, id), as all that is random about data here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from famus_jax.audit.items import UNLABELED
from famus_jax.data import hashing

_SHARE, _LEAST, _MOST = 0.05, 60, 0.3


class Folds(NamedTuple):
    """K networks and N examples.

    Attributes:
      seen: bool [K, N], whether a network trains on an example.
      labels: int32 [K, N], with which label.
      planted: bool [K, N], whether that label was corrupted on purpose; in one network at most.
      asked: bool [K, N], whether that label is one that a person has said to be wrong; in one network
        at most. None: none is.
    """

    seen: np.ndarray
    labels: np.ndarray
    planted: np.ndarray
    asked: np.ndarray | None = None


def make_folds(
    labels: np.ndarray,
    ids: np.ndarray,
    num_classes: int,
    *,
    count: int = 4,
    seed: int = 0,
    spared: np.ndarray | None = None,
    judged: np.ndarray | None = None,
) -> Folds:
    """Each network leaves out one fold, of every class alike, and all that has no label.

    A twentieth of the labels (at least sixty, at most three in ten) is corrupted for the self-test,
    each in one of the networks that see the example. The others give the example's own evidence, so
    that nothing is lost by it.

    Args:
      labels: int [N] in [0, C) or -1.
      ids: str [N].
      count: K >= 3: with two, one network alone would see an example.
      seed: any int.
      spared: bool [N], labels that are never corrupted, since they are known to be right.
      judged: int [N], labels that were given and are known to be wrong, -1 elsewhere. One network
        learns each of them all the same: a fit to decisions must know what all kinds of evidence would
        have said of a wrong label. None: there are none.

    Raises:
      ValueError: fewer than three networks, or than two classes with labels; a label of C or more.
    """
    if count < 3:
        raise ValueError(f"count = {count} networks; the self-test needs 3 or more")
    labeled = labels != UNLABELED
    there = np.unique(labels[labeled])
    if labels.max(initial=0) >= num_classes:
        raise ValueError(f"label {labels.max()} is none of {num_classes} classes")
    if len(there) < 2:
        raise ValueError(
            f"{len(there)} classes have labels; nothing can be learned from fewer than two"
        )
    fold = np.full(len(labels), -1)
    order = hashing.hash_order(seed, "audit_folds", ids)
    by_class = order[np.argsort(labels[order], kind="stable")]
    by_class = by_class[labeled[by_class]]
    fold[by_class] = np.arange(len(by_class)) % count  # each class goes on where the last one ended
    seen = labeled & (fold != np.arange(count)[:, None])
    given = np.tile(labels.astype(np.int32), (count, 1))
    planted = np.zeros((count, len(labels)), bool)

    may = labeled if spared is None else labeled & ~spared
    order = hashing.hash_order(seed, "audit_planted", ids)
    chosen = order[may[order]]
    chosen = chosen[: int(min(max(_SHARE * len(chosen), _LEAST), _MOST * len(chosen)))]
    # Of the classes that there are: a label that nobody has is too easy to find.
    other = 1 + (hashing.uniform(seed, "audit_label", ids[chosen]) * (len(there) - 1)).astype(int)
    network = (fold[chosen] + 1 + np.arange(len(chosen)) % (count - 1)) % count
    planted[network, chosen] = True
    given[network, chosen] = there[(np.searchsorted(there, labels[chosen]) + other) % len(there)]
    if judged is None:
        return Folds(seen, given, planted)
    asked, at = np.zeros_like(planted), order[judged[order] != UNLABELED]
    network = (fold[at] + 1 + np.arange(len(at)) % (count - 1)) % count
    asked[network, at] = seen[network, at] = True
    given[network, at] = judged[at]
    return Folds(seen, given, planted, asked)
