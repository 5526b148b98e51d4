"""Lines in place of a bar where the output is no terminal; times are given by hand."""

import io

from famus_jax.progress import Progress


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def test_a_log_gets_a_line_now_and_then():
    """1,000 reports in 100 s give a line per 30 s and one at the end.

    By hand: 10 a second, so that at 300 of 1,000 there are 70 s left. Fails if the first report, which
    holds compilation, counts for the speed, or if what had been done before does.
    """
    clock, out = Clock(), io.StringIO()
    with Progress(1000 + 500, show=True, stream=out, now=clock) as progress:
        progress.describe("ce seed 0")
        progress.skip(400)
        progress.update(100)  # of an earlier session
        for i in range(1000):
            clock.seconds += 0.1
            progress.update()
            progress.note(f"test {i}")
            progress.skip(0)
    lines = out.getvalue().splitlines()
    assert lines[0] == "ce seed 0: 800 of 1500 steps, test 298, about 0:01:10 left"
    assert len(lines) == 4
    assert lines[-1] == "ce seed 0: 1500 of 1500 steps, test 999"


def test_nothing_is_shown_by_the_other_processes():
    out = io.StringIO()
    with Progress(2, show=False, stream=out, every=0) as progress:
        progress.update()
    assert out.getvalue() == ""
    assert progress.done == 1


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_time_left_is_known_on_a_terminal_too():
    """10 steps in 5 s after the first: 20 more take 10 s. Fails if only logs keep the clock."""
    clock, out = Clock(), Terminal()
    with Progress(31, stream=out, now=clock) as progress:
        progress.update()
        assert progress.seconds_left() is None
        clock.seconds += 5
        progress.update(10)
        assert progress.seconds_left() == 10
    assert "\r" in out.getvalue()
