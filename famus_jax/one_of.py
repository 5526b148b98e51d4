"""A value that must be one of some."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def one_of(value: Any, known: Iterable[Any], where: str) -> None:
    """Raises `ValueError` unless `value` is in `known`; names `where`, the nearest and all of them."""
    known = list(known)
    if not any(type(value) is type(k) and value == k for k in known):
        raise ValueError(
            f"{where}: there is no {value!r}{nearest(value, known)} Known: {sorted(known)}"
        )


def nearest(value: Any, known: Iterable[Any]) -> str:
    """For a message, behind the value: the nearest of `known` as a question, or a full stop.

    >>> nearest("cta", ["cat", "dog"]), nearest("horse", ["cat", "dog"])
    ("; did you mean 'cat'?", '.')
    """
    close = difflib.get_close_matches(str(value), [str(k) for k in known], 1)
    return f"; did you mean {close[0]!r}?" if close else "."
