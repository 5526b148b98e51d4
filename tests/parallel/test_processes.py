"""Several processes on one machine (gloo between them): the numbers of one, one writer, agreement."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from famus_jax.parallel.processes import start
from famus_jax.train.experiment import run_experiment

SCRIPT = Path(__file__).parent / "process.py"
RUNS = [
    {"method": "ce"},
    {"method": "finetune"},
    {"method": "mwnet", "estimator": {"kind": "all_layers", "examples": 8}},
    {"method": "l2r", "estimator": {"kind": "last_layers", "k": 1, "virtual_step": "active"}},
]


def config(data_dir, runs, **data):
    return {
        "data": {
            "noise": "pair_flip", "trusted_per_class": 2, "validation_per_class": 5,
            "data_dir": str(data_dir), "max_test": 100, "augment": "shift", **data,
        },
        "model": {"name": "mlp", "overrides": {"hidden": (16, 16)}},
        "schedule": {
            "steps": 4, "batch_size": 16, "meta_batch_size": 8, "finetune_steps": 4,
            "eval_every": 2, "checkpoint_every": 2,
        },
        "runs": runs,
        "seeds": [0],
    }  # fmt: skip


def launch(configs, workdir, devices, *flags):
    """Starts a process per config; returns (exit status, output) of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_backend_optimization_level=0 "
        f"--xla_force_host_platform_device_count={devices}",
    }
    started = []
    for i, one in enumerate(configs):
        arguments = [f"127.0.0.1:{port}", str(len(configs)), str(i), json.dumps(one), str(workdir)]
        command = [sys.executable, str(SCRIPT), *arguments, *flags]
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)
        )
    try:
        ended = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    return [
        (process.returncode, out + err) for process, (out, err) in zip(started, ended, strict=True)
    ]


def results(workdir):
    files = sorted(Path(workdir).glob("runs/*/seed_0/result.json"))
    return {file.parts[-3]: json.loads(file.read_text()) for file in files}


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, one in expected.items():
        for a, b in zip(found[name]["history"], one["history"], strict=True):
            assert a.keys() == b.keys()
            for key, value in b.items():
                if key == "weight_by_loss":  # None where no loss fell
                    pair = np.array(a[key], float), np.array(value, float)
                    np.testing.assert_allclose(*pair, rtol=2e-4, atol=1e-5)
                    continue
                assert a[key] == pytest.approx(value, rel=2e-4, abs=1e-5), (name, key)
        if one["weights"] is not None:
            a, b = (np.array(x["weights"], float) for x in (found[name], one))
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


def compare(data_dir, tmp_path, processes, devices, runs, *flags):
    one = config(data_dir, runs)
    run_experiment(one, tmp_path / "one", show=lambda text: None)
    workdir = tmp_path / "many"
    ended = launch([one] * processes, workdir, devices, *flags)
    assert all(status == 0 for status, _ in ended), ended
    assert_close(results(workdir), results(tmp_path / "one"))
    read = [json.loads(out.split("famus read ")[1].splitlines()[0]) for _, out in ended]
    rows = sorted(row for one in read for row in one)
    assert rows == list(range(16))  # every row by one process, none by two
    assert ["famus wrote" in out for _, out in ended] == [True] + [False] * (processes - 1)


def test_two_processes(data_dir, tmp_path):
    """Two processes of two devices: MW-Net's numbers, read in halves, written by the first.

    Fails if a process reads rows of the other, reweights by its own sum, or writes as well.
    """
    compare(data_dir, tmp_path, 2, 2, RUNS[2:3])


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "devices"), [(2, 2), (4, 1)])
def test_every_method(data_dir, tmp_path, processes, devices):
    """As above; fine-tuning also reads its parent's checkpoint, that all have written together."""
    compare(data_dir, tmp_path, processes, devices, RUNS)


@pytest.mark.slow
def test_sharded_state(data_dir, tmp_path):
    """Parameters and optimizer state spread over two processes: the same numbers and checkpoints."""
    compare(data_dir, tmp_path, 2, 2, RUNS, "--fsdp")


@pytest.mark.slow
def test_all_stop_with_the_first(data_dir, tmp_path):
    """The first one's time is up, the other's is not. Fails if one trains on and waits for ever, or if
    the checkpoint is not whole."""
    one = config(data_dir, RUNS[:1])
    for said in ("ce seed 0 is at step 2 of 4", "famus read"):
        ended = launch([one] * 2, tmp_path / "many", 1, "--stop")
        assert all(status == 0 and said in out for status, out in ended), ended
    run_experiment(one, tmp_path / "one", show=lambda text: None)
    assert_close(results(tmp_path / "many"), results(tmp_path / "one"))


@pytest.mark.parametrize("what", ["config", pytest.param("data", marks=pytest.mark.slow)])
def test_disagreement(data_dir, tmp_path, what):
    """Both end at once, saying what differs. Fails if they train on, or wait for one another."""
    first = config(data_dir, RUNS[:1])
    second = config(data_dir, RUNS[:1])
    if what == "config":
        second["schedule"]["learning_rate"] = 0.3
    flags = ["--other-labels"] if what == "data" else []
    ended = launch([first, second], tmp_path, 1, *flags)
    for status, out in ended:
        assert status == 1, out
        assert f"the processes disagree on the {what}" in out
        assert "process 1" in out
    assert not list(tmp_path.glob("runs/**/*.json"))


@pytest.mark.parametrize("given", [("h:1", None, None), (None, 2, 0), ("h:1", 2, 2)])
def test_incomplete_flags(given):
    """Fails if JAX is asked with half of an address: it would wait for minutes."""
    with pytest.raises(ValueError, match="--process"):
        start(*given)
