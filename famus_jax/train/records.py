"""What a run leaves behind while it runs: JSON lines and TensorBoard event files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from famus_jax.files import write_atomically


class Records:
    """One run's measurements, a dict per evaluation, in `metrics.jsonl` and event files."""

    def __init__(self, folder: Path, history: list[dict[str, Any]], write: bool = True):
        """Starts from `history` (a resumed run's): lines past the checkpoint are dropped.

        Without `write` (another process does) it only remembers.
        """
        self.history, self._write = list(history), write
        if not write:
            return
        from tensorboardX import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "metrics.jsonl"
        write_atomically(self._path, "".join(map(_line, self.history)).encode())
        self._file = self._path.open("a")
        purge = self.history[-1]["step"] + 1 if self.history else 0
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=purge)

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *unused: object) -> None:
        if self._write:
            self._file.close()
            self._events.close()

    def append(self, record: dict[str, Any]) -> None:
        """Adds the measurements of one evaluation; `record["step"]` says when."""
        self.history.append(record)
        if not self._write:
            return
        self._file.write(_line(record))
        self._file.flush()
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                self._events.add_scalar(name, value, record["step"])


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record) + "\n"
