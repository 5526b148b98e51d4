"""Waiting for another process's batch, with an eye on the process: one that is stopped sends nothing.

`kill -STOP`, a debugger, a container that is frozen: such a process is alive, and its pipe open, so
that whoever reads from it would wait for ever without a word.
"""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Seconds: between two looks; until a stopped process is given up; between two words about one that
# is alive and sends nothing.
LOOK, STOPPED, SILENT = 5.0, 120.0, 120.0


@contextlib.contextmanager
def watched(process: Any, why: list[str]) -> Iterator[None]:
    """The block reads from a process, which is looked at meanwhile.

    A stopped one is warned about; if it stays so it is killed, so that its pipe ends. One that is alive
    and silent is warned about, again and again.

    Args:
      process: a `multiprocessing.Process`.
      why: takes the reason, if it is killed.
    """
    done = threading.Event()
    threading.Thread(target=_watch, args=(process, done, why), daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _watch(process: Any, done: threading.Event, why: list[str]) -> None:
    who = f"process {process.pid}, which reads images,"
    begun = said = time.monotonic()
    stopped_at = None
    while not done.wait(LOOK):
        now = time.monotonic()
        if state(process.pid) not in ("T", "t"):
            stopped_at = None
            if now - said >= SILENT:
                said = now
                text = f"{who} is alive but has sent nothing for {now - begun:.0f} s: a slow disk?"
                if not _warned(text, process, why):
                    return
        elif stopped_at is None:
            stopped_at = now
            go_on = f"`kill -CONT {process.pid}` lets it go on"
            text = (
                f"{who} is stopped (SIGSTOP, or a debugger): {go_on}; after {STOPPED:g} s this ends"
            )
            if not _warned(text, process, why):
                return
        elif now - stopped_at >= STOPPED:
            why.append(
                f"{who} was stopped (SIGSTOP, or a debugger) for {now - stopped_at:.0f} s and was "
                "ended. The same command goes on from the last checkpoint"
            )
            process.kill()
            return


def state(pid: int) -> str:
    """A process's state as Linux tells it, such as "S" or "T" (stopped); "" where it does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _warned(text: str, process: Any, why: list[str]) -> bool:
    """Whether that was a warning; where warnings are errors, it is why the process is ended."""
    try:
        warnings.warn(text, stacklevel=2)
    except Warning:
        why.append(text)
        process.kill()
        return False
    return True
