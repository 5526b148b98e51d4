"""What a source says, row by row, before any image is read: ids and labels, and which row says them."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Rows(NamedTuple):
    """The rows of a source and the N examples that they are.

    Attributes:
      kind: "images", "features" or "texts".
      ids: N strings, unique.
      labels: int32 [N], -1 without a label.
      class_names: C names.
      name: what was read, for messages.
      inputs: of N examples, in memory; None of image files.
      paths: N image files, or ().
      cells: R labels as the source writes them.
      example: int64 [R], which example a row is; -1 of a row that is left out.
      bad: id -> why it can't be used; these count against the tolerance.
      repeated: (id, why) of rows that say again what another says.
    """

    kind: str
    ids: list[str]
    labels: np.ndarray
    class_names: tuple[str, ...]
    name: str
    inputs: np.ndarray | None
    paths: Sequence[Path]
    cells: Sequence[Any]
    example: np.ndarray
    bad: dict[str, str]
    repeated: tuple[tuple[str, str], ...]


class Distinct(NamedTuple):
    """Rows without repetitions.

    Attributes:
      kept: int64 [N], the first row of each.
      ids: N, unique.
      example: int64 [R], the place in `kept` of each row's example, -1 of bad ones.
      repeated: (id, why).
    """

    kept: np.ndarray
    ids: list[str]
    example: np.ndarray
    repeated: tuple[tuple[str, str], ...]


def distinct(
    ids: Sequence[str], same: Iterable[Hashable], labels: np.ndarray, good: np.ndarray
) -> Distinct:
    """One example for all rows that are the same with the same label; unique ids for the others.

    Rows of one id that differ, in the label or else, are all kept: what an audit is to find. The second
    of an id "a" is called "a#2".

    Args:
      ids: R strings.
      same: R keys; equal for rows of the same input.
      labels: int [R].
      good: bool [R], the rows to take.

    >>> distinct(["a", "a", "a"], "aaa", np.array([0, 1, 0]), np.array([True] * 3)).ids
    ['a', 'a#2']
    """
    seen: dict[tuple[Hashable, int], int] = {}
    taken, others = set(ids), set[str]()
    kept, names, repeated = [], [], []
    example = np.full(len(ids), -1, np.int64)
    for row, (name, key, label) in enumerate(zip(ids, same, labels.tolist(), strict=True)):
        if not good[row]:
            continue
        place = seen.setdefault((key, label), len(kept))
        example[row] = place
        if place < len(kept):
            repeated.append((name, f"the same as {names[place]!r}, with the same label"))
            continue
        if name in others:
            free = (f"{name}#{n}" for n in itertools.count(2))
            name = next(other for other in free if other not in taken)
            taken.add(name)
        others.add(name)
        kept.append(row)
        names.append(name)
    return Distinct(np.asarray(kept, np.int64), names, example, tuple(repeated))


def numbered(count: int) -> list[str]:
    """Ids of rows that have none: "row_0000000", …"""
    return [f"row_{row:07d}" for row in range(count)]
