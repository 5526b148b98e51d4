"""Processes that read: in turn, with their errors, and gone with whoever asked for them."""

import itertools
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from experiments.kills import left
from famus_jax.data.batches.workers import Workers

LOADING = """
import sys, time
import numpy as np
from famus_jax.data.batches.streaming import streaming
from famus_jax.data.sources.random_access import ArraySource

if __name__ == "__main__":
    images, labels = np.zeros((64, 64, 64, 3), np.uint8), np.zeros(64, np.int32)
    stream = streaming(ArraySource(images), labels, 32, seed=0, workers=2, threads=1)
    for step in range(4):
        stream.batch(step)
    print("reading", flush=True)
    time.sleep(600)
"""


def counting(worker, workers):
    for i in itertools.count(worker, workers):
        if i == 5:
            raise KeyError("five")
        yield {"i": np.full(3, i)}


class Refusing(Exception):
    """An error that can't be sent: what it was made of is lost."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def refusing(worker, workers):
    raise Refusing("this", "that")
    yield


def exiting(worker, workers):
    yield worker
    os._exit(3)


def test_batches_come_in_turn_and_errors_as_they_are():
    """Fails if a worker's batches come twice, or in the order in which they are ready."""
    found = Workers(counting, 2)
    assert [int(next(found)["i"][0]) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(KeyError, match="five"):
        next(found)
    found.close()


SIGNALED = """
import os, signal, sys

if any("spawn_main" in word for word in sys.orig_argv):
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        os.kill(os.getpid(), getattr(signal, name))
"""


def masks(worker, workers):
    while True:
        yield signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_signal_to_the_group_while_workers_start(tmp_path, monkeypatch):
    """It reaches them while they import. Fails if they die of it, though who asked for them goes on; or
    if signals stay blocked, there or here."""
    (tmp_path / "sitecustomize.py").write_text(SIGNALED)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    found = Workers(masks, 2)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert [next(found), next(found)] == [before, before]
    found.close()


def test_an_error_that_can_not_travel_is_told():
    """Fails if it ends the process without a word."""
    with pytest.raises(RuntimeError, match="Refusing: this and that"):
        next(Workers(refusing, 1))


def test_a_process_that_ended_is_named():
    """Fails if its batch is waited for, or the error is that of a pipe."""
    found = Workers(exiting, 1)
    assert next(found) == 0
    with pytest.raises(ChildProcessError, match=r"has ended \(exit status 3"):
        next(found)


def large(worker, workers):
    while True:
        yield {"pid": os.getpid(), "image": np.zeros(10**6, np.uint8)}


def test_a_process_that_ended_in_the_middle_of_a_batch_is_named():
    """A pipe holds less than a batch. Fails if the error is the pipe's own."""
    found = Workers(large, 1)
    pid = next(found)["pid"]
    time.sleep(0.3)  # by now the next batch waits to be taken, its first part in the pipe
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ChildProcessError, match=rf"process {pid}, .*exit status -9"):
        next(found)


@pytest.mark.skipif(not Path("/dev/shm").exists(), reason="looks at Linux's /proc and /dev/shm")
@pytest.mark.parametrize(
    "name",
    ["SIGKILL", *(pytest.param(name, marks=pytest.mark.slow) for name in ("SIGTERM", "SIGHUP"))],
)
def test_nothing_is_left_when_the_main_process_alone_ends(tmp_path, name):
    """Within five seconds. Fails if the readers wait for a parent that is gone, or if batches lie
    in shared memory that has a name."""
    (tmp_path / "loading.py").write_text(LOADING)
    mark, before = uuid.uuid4().hex, left.shared_memory()
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "loading.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "FAMUS_TEST_MARK": mark},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reading\n"
        assert len(left.processes(mark)) >= 3
        start = time.monotonic()
        os.kill(process.pid, getattr(signal, name))
    assert left.after(5, mark, before) == []
    assert time.monotonic() - start < 6
