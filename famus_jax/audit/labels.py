"""Labels of an audit: what has none is no error, and numbers are names like others."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from famus_jax.audit.items import UNLABELED
from famus_jax.data.sources.classes import (
    At,
    is_missing,
    natural,
    number_classes,
    numbers_or_names,
    whole_number,
    written,
)

# What people and libraries write beside class numbers for "no label".
_MARKS = (-1, -100)


def read_labels(
    values: Sequence[Any], where: str, *, at: At | None = None, class_names: Sequence[str] = ()
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as class numbers, -1 where there is none, and the names of the classes.

    No label is: an empty cell, nan, NA, None, null (`classes.MISSING`), -1 and -100, each unless a
    class of `class_names` has that name. Whole numbers, "3.0" as well, are names of classes like any
    others, and may have gaps.

    Args:
      values: N cells.
      where: the file, for messages.
      at: names a row for messages; by default "WHERE, row 17".
      class_names: the classes there are, in their order; () takes those that occur, in natural order.
        Where none of them is a number, a number is a place among them, from 0.

    Returns:
      (int32 [N], C names).

    Raises:
      ValueError: a label that is no whole number among others that are numbers, another negative one,
        a class that is not among `class_names`; names the row.

    >>> read_labels(["9", "1.0", None, "5", "-1"], "t.csv")
    (array([ 2,  0, -1,  1, -1], dtype=int32), ('1', '5', '9'))
    """
    at = at or (lambda row: f"{where}, row {row}")
    names = tuple(map(written, class_names))
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"class_names has {twice[0]!r} more than once; name each class once")
    texts = [_plain(value, at, row, names) for row, value in enumerate(values)]
    rows = [row for row, text in enumerate(texts) if text in names or not _says_none(text)]
    labels = np.full(len(texts), UNLABELED, np.int32)
    if not rows:
        return labels, names
    given, at_given = [texts[row] for row in rows], lambda i: at(rows[i])
    if names:
        labels[rows] = number_classes(given, where, at=at_given, class_names=names, by_number=True)[
            0
        ]
        return labels, names
    found, names = numbers_or_names(given, where, at=at_given)
    if not names:
        present = np.unique(found)
        found, names = np.searchsorted(present, found), tuple(map(str, present.tolist()))
        _warn_of_minus_one(texts, names, where)
    labels[rows] = found
    return labels, names


def classes_among(names: Sequence[str]) -> tuple[str, ...]:
    """Each name once, in natural order.

    >>> classes_among(["c10", "c9", "c9"])
    ('c9', 'c10')
    """
    return tuple(sorted(set(names), key=natural))


def spellings(values: Sequence[Any], labels: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """How the data itself writes each of C classes, so that mended cells look like the others.

    The most frequent spelling of a class (the first of several); of a class that no cell has, its name,
    or its number where the data counts classes that have names.

    Args:
      values: N cells.
      labels: int [N], what they mean.
      class_names: C names.

    >>> spellings(["0", "1", "0"], np.array([0, 1, 0]), ["cat", "dog", "eel"])
    ['0', '1', '2']
    """
    counts: list[dict[str, int]] = [{} for _ in class_names]
    for value, label in zip(values, np.asarray(labels).tolist(), strict=True):
        if label >= 0:
            text = written(value)
            counts[label][text] = counts[label].get(text, 0) + 1
    counted = any(counts) and all(
        whole_number(text) == c and whole_number(name) is None
        for c, (of_class, name) in enumerate(zip(counts, class_names, strict=True))
        for text in of_class
    )
    return [
        max(of_class, key=lambda text: of_class[text]) if of_class else str(c) if counted else name
        for c, (of_class, name) in enumerate(zip(counts, class_names, strict=True))
    ]


def _plain(value: Any, at: At, row: int, names: tuple[str, ...]) -> str:
    """The cell as text; a whole number in one spelling."""
    try:
        text = written(value)
    except ValueError as error:
        raise ValueError(f"{at(row)}: {error}") from None
    number = None if text in names else whole_number(text)
    return text if number is None else str(number)


def _says_none(text: str) -> bool:
    return is_missing(text) or whole_number(text) in _MARKS


def _warn_of_minus_one(texts: list[str], names: tuple[str, ...], where: str) -> None:
    """-1 and 1, or -1, 0 and 1, are most likely classes: of sentiments, of a support vector machine."""
    if "-1" in texts and "1" in names and set(names) <= {"0", "1"}:
        warnings.warn(
            f"{where}: {texts.count('-1')} examples labeled -1 are taken to have no label; if -1 is a "
            f"class, list all classes: class_names={('-1', *names)} "
            f"(famus audit: --class-names=-1,{','.join(names)})",
            stacklevel=3,
        )
