"""What a run leaves behind while it runs: JSON lines and TensorBoard event files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from famus_jax.files import finite, write_atomically


class Records:
    """One run's measurements, a dict per evaluation, in `metrics.jsonl` and event files."""

    def __init__(
        self,
        folder: Path,
        history: list[dict[str, Any]],
        times: list[float],
        write: bool = True,
    ):
        """Starts from `history` (a resumed run's): both files are written anew from it.

        So they lack nothing that an interruption kept from the disk, and hold nothing that is past
        the checkpoint. `times` are those of the evaluations in `history`, in seconds since 1970.
        Without `write` (another process does) it only remembers.
        """
        self.history, self.times, self._write = list(history), list(times), write
        if not write:
            return
        from tensorboardX import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "metrics.jsonl"
        write_atomically(self._path, "".join(map(_line, self.history)).encode())
        self._file = self._path.open("a")
        events = folder / "tensorboard"
        for old in events.glob("events.out.tfevents.*"):
            old.unlink()
        self._events = SummaryWriter(str(events))
        for record, at in zip(self.history, self.times, strict=True):
            self._show(record, at)
        self._events.flush()

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *unused: object) -> None:
        if self._write:
            self._file.close()
            self._events.close()

    def append(self, record: dict[str, Any]) -> None:
        """Adds the measurements of one evaluation; `record["step"]` says when."""
        self.history.append(record)
        self.times.append(time.time())
        if not self._write:
            return
        self._file.write(_line(record))
        self._file.flush()
        self._show(record, self.times[-1])
        self._events.flush()

    def _show(self, record: dict[str, Any], at: float) -> None:
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                self._events.add_scalar(name, value, record["step"], walltime=at)


def _line(record: dict[str, Any]) -> str:
    return json.dumps(finite(record), allow_nan=False) + "\n"
