"""How far an experiment is, in a small file that other commands read while it runs.

`status.json` is in the work directory from the first step until all is done: then `summary.json` says
so. One that says "running" where nobody holds the folder's lock was left by a killed process.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from famus_jax.files import finite, write_json
from famus_jax.interruption import Interrupted
from famus_jax.printable import printable
from famus_jax.progress import Progress
from famus_jax.train.clock import TimeIsUp

NAME = "status.json"
EVERY = 2.0  # seconds between two writings: a run may evaluate many times a second


@contextlib.contextmanager
def told(workdir: Path, progress: Progress, write: bool = True) -> Iterator[Callable[[str], None]]:
    """Says in `status.json` how far `progress` is, and how it ended if that was before the end.

    The file holds `state` ("running", "stopped", "failed"), `what` is being worked on, `done` and
    `total` steps, `seconds_left` (null: not known), `message` and the time `at` which it was written,
    in seconds since 1970.

    Args:
      workdir: of the experiment; held by this process.
      progress: counts its steps.
      write: whether this process does.

    Yields:
      a function to be called with what is being worked on, after every evaluation.
    """
    last = -EVERY

    def put(state: str, what: str, message: str = "") -> None:
        if write:
            value = {"state": state, "what": what, "done": progress.done, "total": progress.total}
            value |= {
                "seconds_left": progress.seconds_left(),
                "message": message,
                "at": time.time(),
            }
            write_json(workdir / NAME, finite(value))

    now = ""

    def tell(what: str) -> None:
        nonlocal last, now
        now = what
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            put("running", what)

    try:
        yield tell
    except (TimeIsUp, Interrupted, KeyboardInterrupt) as ended:
        put("stopped", now, printable(str(ended)) or "ended by a signal between two runs")
        raise
    except Exception as error:
        put("failed", now, printable(f"{type(error).__name__}: {error}", 1000))
        raise
