"""The command in two processes, one of which is signaled, killed, stopped or elsewhere: both end.

Bounds of time are those that docs/scale.md states, with room for a slow machine.
"""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

CONFIG = """
from famus_jax.train.config import default_config
def get_config():
    config = default_config()
    config.update({
        "data": {"data_dir": %r, "max_test": 100, "validation_per_class": 5},
        "model": {"name": "mlp", "overrides": {"hidden": (8,)}},
        "schedule": {"steps": 1_000_000, "batch_size": 16, "meta_batch_size": 8, "eval_every": 50,
                     "checkpoint_every": 1_000_000},
        "runs": ({"method": "ce"},),
    })
    return config
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("config")
    path = folder / "config.py"
    path.write_text(CONFIG % str(folder / "tfds"))
    return path


class Two:
    """Two processes of the command, on a free port of this machine."""

    def __init__(self, config, *workdirs, flags=()):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=1"
        self.workdirs = workdirs
        self.processes = []
        for i, workdir in enumerate(workdirs):
            words = [sys.executable, "-W", "ignore", "-m", "famus_jax.cli", "train"]
            words += [f"--config={config}", f"--workdir={workdir}", "--distributed", *flags]
            words += [f"--coordinator=127.0.0.1:{port}", "--processes=2", f"--process={i}"]
            pipe = subprocess.PIPE
            self.processes.append(
                subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=environment)
            )

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for process in self.processes:
            process.kill()
            process.communicate()

    def trains(self):
        """Waits until there is an evaluation."""
        record = self.workdirs[0] / "runs" / "ce" / "seed_0" / "metrics.jsonl"
        until = time.monotonic() + 120
        while not (record.exists() and record.stat().st_size):
            assert time.monotonic() < until
            assert all(process.poll() is None for process in self.processes)
            time.sleep(0.1)

    def end(self, index, seconds):
        """Waits for one of them; (exit status, what it said)."""
        out, err = self.processes[index].communicate(timeout=seconds)
        return self.processes[index].returncode, out + err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_one_stops_both_where_all_is_saved(config, tmp_path, number):
    """Fails if the signal is swallowed, if one stops and the other waits for it, or if they stop at two
    steps: then the checkpoint, which all write together, would not be whole."""
    with Two(config, tmp_path, tmp_path) as two:
        two.trains()
        two.processes[1].send_signal(number)
        other, said_0 = two.end(0, 60)
        told, said_1 = two.end(1, 20)
    assert (other, told) == (143, 128 + number)
    steps = {text.split(" is at step ")[1].split(" of ")[0] for text in (said_0, said_1)}
    assert len(steps) == 1
    assert (tmp_path / "runs" / "ce" / "seed_0" / "checkpoints" / steps.pop()).is_dir()
    for said in (said_0, said_1):
        assert "all is saved" in said
        assert "the same command goes on" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("killed", [0, 1])
def test_one_is_killed(config, tmp_path, killed):
    with Two(config, tmp_path, tmp_path) as two:
        two.trains()
        two.processes[killed].kill()
        status, said = two.end(1 - killed, 15)
    assert status == 1
    assert f"famus: process {killed} is gone" in said


@pytest.mark.parametrize("stopped", [0, 1])
def test_one_stands_still(config, tmp_path, stopped):
    with Two(config, tmp_path, tmp_path) as two:
        two.trains()
        two.processes[stopped].send_signal(signal.SIGSTOP)
        status, said = two.end(1 - stopped, 90)
    assert status == 1
    assert f"famus: process {stopped} has not been heard of for 60 s" in said


def test_another_folder(config, tmp_path):
    """Fails if they train on, each to a folder of its own, or wait for the other's checkpoint."""
    with Two(config, tmp_path / "a", tmp_path / "b") as two:
        ended = [two.end(i, 60) for i in (0, 1)]
    for status, said in ended:
        assert status == 1
        assert f"process 1 can't see what process 0 writes in {tmp_path}" in said
        assert "--workdir" in said


def test_a_folder_that_only_one_can_use(config, tmp_path):
    (tmp_path / "file").write_text("")
    with Two(config, tmp_path / "a", tmp_path / "file") as two:
        refused, why = two.end(1, 60)
        status, said = two.end(0, 20)
    assert (refused, status) == (1, 1)
    assert "not a folder" in why
    assert "process 1 has ended: not a folder" in said


def test_an_error_in_one_is_told_by_the_other(config, tmp_path):
    """Process 0's disk is full, say: here a folder lies where it alone writes a file. Fails if process
    1 waits for it, or ends without saying which one had the error, and what it was."""
    (tmp_path / "runs" / "ce" / "seed_0" / "metrics.jsonl" / "x").mkdir(parents=True)
    with Two(config, tmp_path, tmp_path) as two:
        (status_0, said_0), (status_1, said_1) = [two.end(i, 60) for i in (0, 1)]
    assert (status_0, status_1) == (1, 1)
    assert "metrics.jsonl" in said_0
    assert "process 0 has ended: " in said_1
    assert "metrics.jsonl" in said_1.split("process 0 has ended: ")[1]
