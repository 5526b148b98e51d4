"""Long experiments in short pieces: when to stop, and how that is said."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from famus_jax.bounds import Bounds, real
from famus_jax.interruption import Interruption
from famus_jax.parallel.processes import all_end_here, said_by_first


class TimeIsUp(Exception):
    """A run stopped before its end, with everything saved: the same command goes on from there."""


class Clock:
    """Tells when a piece of work has taken its share of time, or is asked by a signal to end.

    With several processes the first one's clock counts, a signal to any of them counts for all, and all
    must ask at the same places.

    Args:
      minutes: from now on; None never ends.
      now: seconds; an argument for tests.
      interruption: what notes signals; None for nothing.
    """

    def __init__(
        self,
        minutes: float | None = None,
        now: Callable[[], float] = time.monotonic,
        interruption: Interruption | None = None,
    ):
        if minutes is not None:
            real(minutes, Bounds(0, 1e9, above=True), "max_minutes")
        self._now = now
        self._end = math.inf if minutes is None else now() + 60 * minutes
        self._interruption = interruption
        self._asked, self._ending = 0, False

    def is_up(self) -> bool:
        """Whether the time is up."""
        return self._end < math.inf and said_by_first(self._now() >= self._end)

    def deferred(self) -> AbstractContextManager[None]:
        """A block that asks `interrupted` often; see `Interruption.deferred`."""
        return self._interruption.deferred() if self._interruption else nullcontext()

    def interrupted(self) -> bool:
        """Whether a signal asks the work to end here; with several processes, here for all of them."""
        if self._interruption is None:
            return False
        self._asked += 1
        self._ending = self._ending or all_end_here(
            self._interruption.received is not None, self._asked
        )
        return self._ending

    def signal(self) -> int:
        """Which signal; SIGTERM if another process got it."""
        received = self._interruption and self._interruption.received
        return received or signal.SIGTERM
