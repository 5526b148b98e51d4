"""A file of measurements, one JSON object per line, that an interruption can't spoil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from famus_jax.files import write_atomically
from famus_jax.sealed import Damaged, sealed, unsealed

_NAMES = ("kind", "run", "seed", "step", "estimator")


class Lines:
    """Measurements by what they are of (kind, run, seed, step, estimator), each of them once.

    A last line that an interruption cut off is dropped when the file is opened again; every other one
    must fit its checksum. Values that take part in a record must be repeatable, so that a resumed
    file equals an uninterrupted one: no times.

    Raises:
      Damaged: if a line holds something else than what was written.
    """

    def __init__(self, path: Path):
        self._path = path
        self.records: list[dict[str, Any]] = []
        if path.exists():
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            lines = enumerate(whole.splitlines(), start=1)
            self.records = [_read(line, f"line {number} of {path}") for number, line in lines]
            if whole != content:
                write_atomically(path, whole)
        self._known = {_key(record) for record in self.records}

    def has(self, **names: Any) -> bool:
        """Whether there is a record of exactly this."""
        return _key(names) in self._known

    def append(self, record: dict[str, Any]) -> None:
        """Writes a record at once, unless there is one of the same already."""
        if _key(record) in self._known:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(sealed(record), allow_nan=False) + "\n")
        self._known.add(_key(record))
        self.records.append(record)

    def of(self, kind: str, **names: Any) -> list[dict[str, Any]]:
        """The records of a kind with these values, in the order of the file."""
        wanted = {"kind": kind, **names}
        return [r for r in self.records if all(r.get(k) == v for k, v in wanted.items())]


def _read(line: bytes, where: str) -> dict[str, Any]:
    try:
        return unsealed(json.loads(line), where)
    except Damaged:
        raise
    except ValueError as error:
        raise Damaged(f"{where} is damaged: it is not JSON ({error})") from error


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in _NAMES)
