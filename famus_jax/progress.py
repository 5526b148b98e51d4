"""How far long work is: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO, TypeVar

Item = TypeVar("Item")


class Progress:
    """Counts work that has been done, and says how far it is and how much time is left.

    On a terminal this is tqdm's bar. A log file gets a line instead, at most one in `every` seconds.

    >>> with Progress(2, "step", stream=sys.stdout) as progress:
    ...     progress.describe("ce seed 0")
    ...     progress.update()
    ...     progress.update()
    ce seed 0: 2 of 2 steps

    Args:
      total: how much there is.
      unit: of what, in the singular.
      show: whether to print at all (one of several processes does).
      every: seconds between two lines.
      stream: where to; standard error by default.
      now: seconds; an argument for tests.
    """

    def __init__(
        self,
        total: int,
        unit: str = "step",
        *,
        show: bool = True,
        every: float = 30.0,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ):
        self.done, self.total = 0, total
        self._unit, self._show, self._every, self._now = unit, show, every, now
        self._stream = sys.stderr if stream is None else stream
        self._what, self._note, self._bar = "", "", None
        self._printed_at = now()
        # Where the clock of the time left starts: the first report holds compilation, or steps that
        # an earlier session took.
        self._from: tuple[float, int] | None = None
        if show and self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, unit=unit, mininterval=0.5, smoothing=0.05, file=self._stream
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: Any, *rest: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._show and kind is None:
            self._print()

    def describe(self, what: str) -> None:
        """Says what is being worked on."""
        self._what = what
        if self._bar is not None:
            self._bar.set_description(what)

    def note(self, text: str) -> None:
        """A newest result, to be shown beside the count."""
        self._note = text
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def say(self, text: str) -> None:
        """A line of its own, whether there is a bar or not."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        elif self._show:
            print(text, file=self._stream, flush=True)

    def update(self, count: int = 1) -> None:
        """So much has been done."""
        self.done += count
        if self._from is None:
            self._from = (self._now(), self.done)
        if self._bar is not None:
            self._bar.update(count)
            return
        if self._show and self._now() - self._printed_at >= self._every:
            self._print()

    def skip(self, count: int) -> None:
        """So much had been done before: it counts, but says nothing of the time left."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        if self._from is not None:
            self._from = (self._from[0], self._from[1] + count)

    def _print(self) -> None:
        self._printed_at = self._now()
        what = f"{self._what}: " if self._what else ""
        parts = [f"{what}{self.done} of {self.total} {self._unit}s", self._note, self._left()]
        print(", ".join(part for part in parts if part), file=self._stream, flush=True)

    def seconds_left(self) -> float | None:
        """How much longer it takes at the pace so far; None before there is one, and at the end."""
        start, before = self._from or (0.0, self.done)
        remaining = self.total - self.done
        if self.done <= before or remaining <= 0:
            return None
        return remaining * (self._now() - start) / (self.done - before)

    def _left(self) -> str:
        left = self.seconds_left()
        return "" if left is None else f"about {clock_time(left)} left"


def clock_time(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> clock_time(3725.4)
    '1:02:05'
    """
    hours, minutes = divmod(round(seconds) // 60, 60)
    return f"{hours}:{minutes:02d}:{round(seconds) % 60:02d}"


def track(items: Sequence[Item], unit: str, what: str = "", **options: Any) -> Iterator[Item]:
    """The items one after the other, counted as they are done.

    Args:
      items: what is gone through.
      unit, options: see `Progress`.
      what: what is being worked on.

    Example:
      >>> for number in track([1, 2], "row", "squares", stream=sys.stdout):
      ...     print(number**2)
      1
      4
      squares: 2 of 2 rows
    """
    with Progress(len(items), unit, **options) as progress:
        progress.describe(what)
        for item in items:
            yield item
            progress.update()
