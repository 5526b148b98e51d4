"""What a comparison learns from, and what it is tested on: never the same example."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from famus_jax.audit.items import UNLABELED, Items
from famus_jax.audit.run import Known
from famus_jax.data import hashing

ENOUGH_FOR_TEST = 40  # trusted labels
_FOLDS, _GIVEN_FOLDS, _LEAST_TEST = 2, 5, 20


class Part(NamedTuple):
    """One training set and its test.

    Attributes:
      given: int32 [N], the labels of the data, for training; -1 where there is none.
      right: int32 [N], the trusted labels, for training; -1 elsewhere.
      wrong: bool [N], labels for training that are known to be wrong.
      test: int [n], positions; no training sees them.
      test_labels: int32 [n].
    """

    given: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    @property
    def mixed(self) -> np.ndarray:
        """int32 [N]: the trusted label where there is one, else the given one if it may be right."""
        believed = np.where(self.wrong, UNLABELED, self.given)
        return np.where(self.right != UNLABELED, self.right, believed).astype(np.int32)

    @property
    def trained_on(self) -> np.ndarray:
        """bool [N], all that are not tested, also those without a label."""
        kept = np.ones(len(self.given), bool)
        kept[self.test] = False
        return kept

    def with_trusted(self, count: int, ids: np.ndarray) -> Part:
        """The same with so many of the trusted labels, of every class alike; more hold the fewer."""
        at = np.flatnonzero(self.right != UNLABELED)
        chosen = _in_turn(at, self.right, ids)[:count]
        right = np.full_like(self.right, UNLABELED)
        right[chosen] = self.right[chosen]
        return self._replace(right=right, wrong=np.zeros_like(self.wrong))


def parts_of(items: Items, known: Known, own: int, seed: int) -> tuple[tuple[Part, ...], bool]:
    """The trainings and their tests.

    With forty trusted labels or more these are the test, each once: half of them, while the other half
    may be learned from, and then the other way round. Else a fifth of the given labels is.

    Args:
      items: with trusted examples of other sources behind the first `own`.
      known: of all of `items`.
      own: how many examples are the data itself.
      seed: of the split.

    Returns:
      (parts, whether the test's labels are trusted).
    """
    count = len(items.labels)
    is_own = np.arange(count) < own
    given = np.where(is_own, items.labels, UNLABELED).astype(np.int32)
    trusted = np.flatnonzero(known.right != UNLABELED)
    crossed = len(trusted) >= ENOUGH_FOR_TEST
    if crossed:
        tests, judged = _folds(trusted, known.right, items.ids, seed), known.right
    else:
        open_ = np.flatnonzero((given != UNLABELED) & (known.right == UNLABELED) & ~known.wrong)
        tests, judged = [_fifth(open_, given, items.ids, seed)], given
    parts = []
    for test in tests:
        kept = np.ones(count, bool)
        kept[test] = False
        parts.append(
            Part(
                given=np.where(kept, given, UNLABELED).astype(np.int32),
                right=np.where(kept, known.right, UNLABELED).astype(np.int32),
                wrong=known.wrong & kept,
                test=test,
                test_labels=judged[test].astype(np.int32),
            )
        )
    return tuple(parts), crossed


def _fifth(at: np.ndarray, labels: np.ndarray, ids: np.ndarray, seed: int) -> np.ndarray:
    """A fifth of every class, rounded down; of all together where that is next to nothing."""
    order = at[hashing.hash_order(seed, "compare_test", ids[at])]
    chosen = np.concatenate([
        order[labels[order] == c][_GIVEN_FOLDS - 1 :: _GIVEN_FOLDS] for c in np.unique(labels[at])
    ])  # fmt: skip
    if len(chosen) < min(_LEAST_TEST, len(at) // _GIVEN_FOLDS):
        chosen = order[: max(1, len(at) // _GIVEN_FOLDS)]
    return np.sort(chosen)


def _in_turn(at: np.ndarray, labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The positions `at`, class by class in turn, so that every beginning holds the classes alike."""
    order = at[hashing.hash_order(0, "compare_curve", ids[at])]
    return order[np.lexsort((labels[order], _places(labels[order])))]


def _folds(at: np.ndarray, labels: np.ndarray, ids: np.ndarray, seed: int) -> list[np.ndarray]:
    """Halves of every class; the odd ones of one class in the first, of the next in the second."""
    order = at[hashing.hash_order(seed, "compare_folds", ids[at])]
    fold = (_places(labels[order]) + labels[order]) % _FOLDS
    return [np.sort(order[fold == f]) for f in range(_FOLDS)]


def _places(labels: np.ndarray) -> np.ndarray:
    """How many of the same label stand before each."""
    place = np.zeros(len(labels), np.int64)
    for c in np.unique(labels):
        mine = labels == c
        place[mine] = np.arange(mine.sum())
    return place
