"""Long experiments in short pieces: when to stop, and how that is said."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from famus_jax.parallel.processes import said_by_first


class TimeIsUp(Exception):
    """A run stopped before its end, with everything saved: the same command goes on from there."""


class Clock:
    """Tells when a piece of work has taken its share of time.

    With several processes the first one's clock counts, and all must ask at the same places.

    Args:
      minutes: from now on; None never ends.
      now: seconds; an argument for tests.
    """

    def __init__(self, minutes: float | None = None, now: Callable[[], float] = time.monotonic):
        if minutes is not None and minutes <= 0:
            raise ValueError(f"max_minutes must be positive; got {minutes}")
        self._now = now
        self._end = math.inf if minutes is None else now() + 60 * minutes

    def is_up(self) -> bool:
        """Whether the time is up."""
        return self._end < math.inf and said_by_first(self._now() >= self._end)
