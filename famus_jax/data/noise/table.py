"""Labels by example id: a noise table in memory, and how it meets the data.

Labels are class numbers or class names; names are matched with those of the data (`align`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from famus_jax.data import hashing
from famus_jax.data.noise.transition import NoisyLabels, checked_labels, summarize
from famus_jax.data.sources.classes import number_classes, spelled


class LabelTable(NamedTuple):
    """Labels by example id.

    Attributes:
      ids: N unique strings.
      labels: int32[N].
      digest: fingerprint of the table, independent of order.
      about: what the file says of itself (seed, rate, …), strings and numbers.
      class_names: of labels that are given by name, the names that they number; () for numbers.
    """

    ids: list[str]
    labels: np.ndarray
    digest: str
    about: dict[str, object]
    class_names: tuple[str, ...] = ()

    def written_labels(self) -> list[int] | list[str]:
        """The labels as a file holds them: names where there are names."""
        if not self.class_names:
            return self.labels.tolist()
        return [self.class_names[label] for label in self.labels]


def make_table(
    ids: Sequence[str] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    *,
    class_names: Sequence[str] = (),
    **about: object,
) -> LabelTable:
    """A checked table: unique ids, whole labels >= 0 (below the number of `class_names`, if given)."""
    names = tuple(spelled(name) for name in class_names)
    values = checked_labels(labels, len(names) or np.iinfo(np.int32).max)
    rows = hashing.checked_ids([spelled(i) if isinstance(i, str) else i for i in ids], len(values))
    return LabelTable(rows, values, hashing.table_digest(rows, values), about, names)


def align(
    table: LabelTable, ids: Sequence[str] | np.ndarray, class_names: Sequence[str] = ()
) -> np.ndarray:
    """The table's labels in the order of `ids`, int32[M].

    Args:
      table: labels by id.
      ids: M of the data.
      class_names: of the data, in their order. A table with names is matched by name. So are numbers
        where the classes are themselves named by numbers (folders 1 … 10); else a number is the class
        at that place. () takes numbers as they are.

    Raises:
      ValueError: an id is not in the table (rows for other ids are ignored), a label is no class.
    """
    names = hashing.checked_ids(ids)
    place = {name: row for row, name in enumerate(table.ids)}
    missing = [name for name in names if name not in place]
    if missing:
        raise ValueError(
            f"the noise table has no label for {len(missing)} of {len(names)} examples, e.g. "
            f"{missing[0]!r}; its own ids look like {table.ids[0] if table.ids else '(none)'!r}. "
            "Is it a table for another set or split?"
        )
    rows = np.asarray([place[name] for name in names], np.int64)
    if not class_names:
        if table.class_names:
            raise ValueError(
                f"the noise table has names of classes ({table.class_names[0]!r}, …), but the data "
                "have none: use class numbers"
            )
        return table.labels[rows]
    written = table.written_labels()
    labels, _ = number_classes(
        [written[row] for row in rows],
        "the noise table",
        at=lambda row: f"the noise table {table.about.get('source', '')}, id {names[row]!r}",
        class_names=class_names,
        by_number=True,
    )
    return labels


def noisy_from_table(
    table: LabelTable,
    labels: np.ndarray | Sequence[int],
    ids: Sequence[str] | np.ndarray,
    num_classes: int,
    class_names: Sequence[str] = (),
) -> NoisyLabels:
    """The table as `NoisyLabels` of these examples, with the realized rate against `labels`."""
    noisy = align(table, ids, class_names)
    return summarize(noisy, np.asarray(labels), hashing.checked_ids(ids), num_classes)
