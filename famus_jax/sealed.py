"""JSON files that carry a checksum of their content: a damaged one is noticed when it is read.

How long something took (any value named "seconds") is left out of the checksum, so that a run that
was interrupted ends in the same bytes as one that was not, times aside.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from famus_jax.files import write_json

_CHECKSUM = "checksum"
_UNSEALED = ("seconds",)


class Damaged(ValueError):
    """A file does not hold what was written to it; the message names it."""


class Unsealed(Damaged):
    """A file has no checksum: it is damaged there, or it is an earlier version's."""


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """The same with its checksum in front.

    >>> unsealed({**sealed({"step": 2}), "step": 3}, "line 1")
    Traceback (most recent call last):
    famus_jax.sealed.Damaged: line 1 is damaged: it does not fit its checksum
    """
    return {_CHECKSUM: _checksum(value), **value}


def unsealed(value: Any, where: str) -> dict[str, Any]:
    """What `sealed` was given, as JSON gives it back.

    Raises:
      Damaged: if it is anything else; `where` says what to call it.
    """
    if not isinstance(value, dict) or _CHECKSUM not in value:
        raise Unsealed(f"{where} has no checksum: it is damaged, or of an earlier famus_jax")
    content = {name: x for name, x in value.items() if name != _CHECKSUM}
    if value[_CHECKSUM] != _checksum(content):
        raise Damaged(f"{where} is damaged: it does not fit its checksum")
    return content


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Writes `sealed(value)` as `write_json` does.

    Raises:
      ValueError: for a NaN or an infinity, which JSON does not know.
    """
    write_json(path, sealed(value))


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` was given, as JSON gives it back.

    Raises:
      Damaged: if it holds anything else.
    """
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:  # of the encoding as well
        raise Damaged(f"{path} is damaged: it is not JSON ({error})") from error
    return unsealed(value, str(path))


def files_checksum(paths: Iterable[Path]) -> str:
    """Of the content of several files, in that order: 32 hexadecimal digits."""
    return _of(file_checksum(path) for path in paths)


def file_checksum(path: Path) -> str:
    """Of a file's content: 32 hexadecimal digits.

    Raises:
      OSError: if it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _of(parts: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part.encode())
    return digest.hexdigest()


def _checksum(value: dict[str, Any]) -> str:
    plain = json.loads(json.dumps(value))  # as it will be read: tuples are lists, keys are texts
    return _of([json.dumps(_sealed_part(plain), sort_keys=True)])


def _sealed_part(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _sealed_part(v) for k, v in value.items() if k not in _UNSEALED}
    return [_sealed_part(v) for v in value] if isinstance(value, list) else value
