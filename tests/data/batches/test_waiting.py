"""A reader that is stopped is noticed, named, and not waited for without end."""

import os
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from famus_jax.data.batches import waiting
from famus_jax.data.batches.waiting import state
from famus_jax.data.batches.workers import Workers

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks at Linux's /proc"
)


def large(worker, workers):
    """Batches that a pipe does not hold: the reader is stopped in the middle of one."""
    while True:
        yield {"pid": os.getpid(), "image": np.zeros(10**6, np.uint8)}


def slow(worker, workers):
    time.sleep(1)
    yield "at last"


@pytest.fixture
def quick(monkeypatch):
    """Hundredths of the seconds that a run takes."""
    monkeypatch.setattr(waiting, "LOOK", 0.05)
    monkeypatch.setattr(waiting, "STOPPED", 0.5)


def until_refused(found):
    while True:
        next(found)


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    while state(pid) != "T":
        time.sleep(0.01)


def test_a_stopped_reader_ends_the_run(quick):
    """Fails if it is waited for: part of a batch lies in the pipe, which is not at its end."""
    found = Workers(large, 1)
    pid = next(found)["pid"]
    stop(pid)
    start = time.monotonic()
    with (
        pytest.warns(UserWarning, match=rf"process {pid}, .* is stopped .*kill -CONT {pid}"),
        pytest.raises(ChildProcessError, match=rf"process {pid}, .*was stopped .*last checkpoint"),
    ):
        until_refused(found)
    assert 0.5 < time.monotonic() - start < 10
    found.close()


def test_one_that_goes_on_is_forgiven(quick, monkeypatch):
    """Fails if it is ended all the same, or the time of an earlier stop counts."""
    monkeypatch.setattr(waiting, "STOPPED", 60)
    found = Workers(large, 1)
    pid = next(found)["pid"]
    stop(pid)
    warned = []

    def go_on(*args):
        warned.append(str(args[0]))
        os.kill(pid, signal.SIGCONT)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", go_on)
        for _ in range(5):
            assert next(found)["pid"] == pid
    assert len(warned) == 1
    found.close()


def test_a_silent_one_is_told_again_and_again(quick, monkeypatch):
    """Alive, and sending nothing: warned about, with the seconds, and waited for."""
    monkeypatch.setattr(waiting, "SILENT", 0.25)
    found = Workers(slow, 1)
    with pytest.warns(UserWarning, match="is alive but has sent nothing for") as caught:
        assert next(found) == "at last"
    assert len(caught) >= 2
    found.close()


def test_where_warnings_are_errors(quick):
    """The reader's thread can't raise: fails if the warning is lost, and the wait goes on."""
    found = Workers(large, 1)
    stop(next(found)["pid"])
    with pytest.raises(ChildProcessError, match="is stopped"):  # as every warning in these tests
        until_refused(found)
    found.close()


def test_states():
    """This process runs; one that is not there has no state."""
    assert state(os.getpid()) in ("R", "S")
    assert state(2**30) == ""
