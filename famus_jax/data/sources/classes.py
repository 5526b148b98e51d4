"""Labels as people write them, and the classes that they mean.

A class is known by its name, never by its place in a list. Names are compared in Unicode's composed
form (NFC): "é" is one letter on every machine, also where a file system writes it as two.
"""

from __future__ import annotations

import math
import re
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from famus_jax.one_of import nearest

# What pandas, R, SQL and spreadsheets write where there is no value; compared without capitals.
MISSING = frozenset({
    "", "nan", "-nan", "na", "n/a", "<na>", "nat", "none", "null", "(null)", "\\n", "#n/a", "#na",
    "#n/a n/a", "1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind",
})  # fmt: skip
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
_DIGITS = re.compile(r"([0-9]+)")

# White space, and marks that nobody sees.
_BLANK = " \t\n\r\v\f\xa0\u3000\u200b\u200e\u200f\ufeff"

At = Callable[[int], str]


def spelled(text: str) -> str:
    r"""One spelling for every way to write a name: NFC; bytes that are no UTF-8 are written out.

    >>> spelled("cafe\u0301") == "café"
    True
    >>> print(spelled("\udcff.png"))
    \xff.png
    """
    if text.isascii():
        return text
    readable = text.encode("utf-8", "surrogateescape" if _escaped(text) else "surrogatepass")
    return unicodedata.normalize("NFC", readable.decode("utf-8", "backslashreplace"))


def _escaped(text: str) -> bool:
    """Whether all lone surrogates are bytes of a file name, as Python's `os` hands them out."""
    return all(0xDC80 <= ord(c) <= 0xDCFF for c in text if 0xD800 <= ord(c) <= 0xDFFF)


def natural(name: str) -> tuple:
    """Sorting by it puts "class_2" before "class_10", and 0, 1, 2, …, 10 in the order of counting.

    >>> sorted(["10", "9", "b", "a10", "a9"], key=natural)
    ['9', '10', 'a9', 'a10', 'b']
    """
    parts: list[Any] = _DIGITS.split(name)
    for i in range(1, len(parts), 2):  # by length first: a number may be too long for int
        digits = parts[i].lstrip("0")
        parts[i] = (len(digits), digits)
    return tuple(parts), name


def whole_number(text: str) -> int | None:
    """17 for "17", "017" and "17.0" (as pandas writes it beside missing values); else None."""
    return int(text.partition(".")[0]) if len(text) < 40 and _WHOLE.fullmatch(text) else None


def is_missing(text: str) -> bool:
    """Whether the text says that there is no value: empty, nan, NA, None, null, …"""
    return text.casefold() in MISSING


def says_nothing(text: str) -> bool:
    """Whether a label so written is refused, unless there is a class of that name: NA, -1."""
    return is_missing(text) or (whole_number(text) or 0) < 0


def written(value: Any) -> str:
    """A table's cell as text; a whole number as its digits, no value as "".

    Raises:
      ValueError: a list or another thing that is no label.
    """
    if value is None:
        return ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, float | np.floating):
        value = "" if math.isnan(value) else f"{value:.17g}"
    if isinstance(value, list | tuple | dict | set | np.ndarray):
        raise ValueError(f"{type(value).__name__} {str(value)[:60]!r} is no label")
    return spelled(str(value)).strip(_BLANK)


def number_classes(
    values: Sequence[Any],
    where: str,
    *,
    at: At | None = None,
    class_names: Sequence[str] = (),
    by_number: bool = False,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as class numbers, and the names of all classes.

    Whole numbers (also as text, also "1.0") stay what they are; anything else is a name, numbered in
    natural order.

    Args:
      values: N cells.
      where: the file, for messages.
      at: names a row for messages; by default "WHERE, row 17".
      class_names: the classes there are, in their order; () makes them from the labels. Not all need
        have examples.
      by_number: whether a whole number may stand for the class at that place in `class_names`. If any
        class is itself named by a whole number, it never does.

    Returns:
      (int32[N], C names).

    Raises:
      ValueError: a missing label (nan, NA, None, null, empty) that is no class of `class_names`, one
        that marks examples without a label (-1), a fraction, a class that is not among
        `class_names`, or a class number without examples below the highest one.

    >>> number_classes(["dog", "cat", "dog"], "t.csv")
    (array([1, 0, 1], dtype=int32), ('cat', 'dog'))
    >>> number_classes(["7", "None"], "t.csv", class_names=["None", "07"])[0]
    array([1, 0], dtype=int32)
    """
    if not class_names:
        labels, names = numbers_or_names(values, where, at=at)
        if not names:
            fix = "number the classes 0, 1, 2, … without gaps, or give them names"
            refuse_gaps(labels, fix, where)
            names = tuple(str(c) for c in range(int(labels.max(initial=-1)) + 1))
        return labels, names
    at = at or (lambda row: f"{where}, row {row}")
    names = tuple(map(written, class_names))
    texts, rows = _first_rows(values, where, at)
    _refuse_missing(texts, rows, set(names), at)
    places, place = _Places(names, by_number), {}
    for text, row in rows.items():
        number = places.of(text)
        if number is None:
            known = f"{nearest(text, names)} There are {shown(names)}"
            raise ValueError(f"{at(row)}: there is no class {text!r}{known}")
        place[text] = number
    return np.asarray([place[text] for text in texts], np.int32), names


def numbers_or_names(
    values: Sequence[Any], where: str, *, at: At | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """As `number_classes`, but numbers may have gaps (part of a set's), and then have no names: ()."""
    at = at or (lambda row: f"{where}, row {row}")
    texts, rows = _first_rows(values, where, at)
    _refuse_missing(texts, rows, set(), at)
    numbers = {text: whole_number(text) for text in rows}
    if None not in numbers.values():
        for text, row in rows.items():
            if numbers[text] >= 2**31:
                raise ValueError(f"{at(row)}: label {text} is too large for the number of a class")
        return np.asarray([numbers[text] for text in texts], np.int32), ()
    _refuse_fractions(rows, at)
    names = tuple(sorted(rows, key=natural))
    warn_of_capitals(names, where)
    place = {name: c for c, name in enumerate(names)}
    return np.asarray([place[text] for text in texts], np.int32), names


def _first_rows(values: Sequence[Any], where: str, at: At) -> tuple[list[str], dict[str, int]]:
    """The labels as texts, and where each one comes first."""
    if not len(values):
        raise ValueError(f"{where} has no labels")
    texts = _texts(values, at)
    rows: dict[str, int] = {}
    for row, text in enumerate(texts):
        rows.setdefault(text, row)
    return texts, rows


def _texts(values: Sequence[Any], at: At) -> list[str]:
    texts = []
    for row, value in enumerate(values):
        try:
            texts.append(written(value))
        except ValueError as error:
            raise ValueError(f"{at(row)}: {error}") from None
    return texts


def _refuse_missing(texts: list[str], rows: dict[str, int], names: set[str], at: At) -> None:
    for text, row in rows.items():
        if text in names:
            continue
        if is_missing(text):
            count = sum(map(is_missing, texts))
            shown = f"{text!r} stands for no label" if text else "there is no label"
            way = "; if it is a class, list all classes in data.class_names" if text else ""
            raise ValueError(
                f"{at(row)}: {shown} ({count} such rows): fill it in or leave the row out{way}"
            )
        number = whole_number(text)
        if number is not None and number < 0:
            raise ValueError(
                f"{at(row)}: label {number} is negative and names no class; count classes from 0, and "
                "leave out rows without a label (often marked -1 or -100)"
            )


def refuse_gaps(labels: np.ndarray, fix: str, where: str = "") -> None:
    """Class numbers must be 0 … C-1; nothing as long as the highest is made to find out.

    Raises:
      ValueError: a number below the highest that no label has; `fix` is the message's end.
    """
    present = np.unique(labels)
    if present.size and int(present[-1]) != len(present) - 1:
        absent = int(np.flatnonzero(present != np.arange(len(present)))[0])
        raise ValueError(
            f"{where}{': ' if where else ''}class {absent} has no examples although labels go up to "
            f"{present[-1]}; {fix}"
        )


def _refuse_fractions(rows: dict[str, int], at: At) -> None:
    """All numbers, but not all whole ones: something is measured there, no class named."""
    try:
        odd = [text for text in rows if not float(text).is_integer() or whole_number(text) is None]
    except (ValueError, OverflowError):
        return
    raise ValueError(
        f"{at(rows[odd[0]])}: label {odd[0]} is no whole number; labels are class numbers 0, 1, 2, … "
        "or names"
    )


def warn_of_capitals(names: tuple[str, ...], where: str) -> None:
    """'Cat' and 'cat' are two classes; most likely they are meant as one. Letters may be classes."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name and len(name) > 1:
            warnings.warn(
                f"{where}: {other!r} and {name!r} are two classes; write them alike if they are one",
                stacklevel=4,
            )


class _Places:
    """The class that a label means among those there are."""

    def __init__(self, names: tuple[str, ...], by_number: bool):
        self._count, self._by_number = len(names), by_number
        self._place = {name: c for c, name in enumerate(names)}
        self._numbers: dict[int, list[int]] = {}
        for c, name in enumerate(names):
            if (number := whole_number(name)) is not None:
                self._numbers.setdefault(number, []).append(c)

    def of(self, text: str) -> int | None:
        if text in self._place:
            return self._place[text]
        number = whole_number(text)
        if number is not None:
            same = self._numbers.get(number, [])
            if len(same) == 1:  # "7" for a class "07"
                return same[0]
            if self._by_number and not self._numbers and 0 <= number < self._count:
                return number
        return None


def shown(names: Sequence[str], most: int = 10) -> str:
    """Class names for a message: all, or the first ones."""
    more = f", … ({len(names)} classes)" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def names_of(num_classes: int, class_names: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes; their numbers where they have none."""
    return tuple(class_names) or tuple(str(c) for c in range(num_classes))
