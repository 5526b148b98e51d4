"""A value that must be one of some."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def one_of(value: Any, known: Iterable[Any], where: str) -> None:
    """Raises `ValueError` unless `value` is in `known`; names `where`, the nearest and all of them."""
    known = list(known)
    if not any(type(value) is type(k) and value == k for k in known):
        close = difflib.get_close_matches(str(value), [str(k) for k in known], 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{where}: there is no {value!r}{hint} Known: {sorted(known)}")
