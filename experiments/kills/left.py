"""What a killed run has left in the machine: processes and shared memory. Linux only."""

from __future__ import annotations

import os
import time
from pathlib import Path

SHARED = Path("/dev/shm")


def processes(mark: str) -> list[int]:
    """Living processes with `mark` in their environment, which children inherit."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                dead = (folder / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
                if not dead and mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:  # gone, or somebody else's
                continue
    return found


def shared_memory() -> set[str]:
    """Names in shared memory that no living process has mapped."""
    used = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            used.append(maps.read_text(errors="replace"))
        except OSError:
            continue
    text = "\n".join(used)
    return {path.name for path in SHARED.iterdir() if f"{SHARED}/{path.name}" not in text}


def after(seconds: float, mark: str, before: set[str]) -> list[str]:
    """What is left after so long of a run with this mark; returns as soon as nothing is."""
    end = time.monotonic() + seconds
    while True:
        left = [f"process {pid}" for pid in processes(mark)]
        left += [f"shared memory {name}" for name in sorted(shared_memory() - before)]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.2)
