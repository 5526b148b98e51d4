"""Runs that are killed leave the files of a run that is not; and the comparison would tell."""

import json

import numpy as np
import pytest

from experiments.kills import __main__ as kills
from experiments.kills.compare import differences
from famus_jax.train.checkpoint import Checkpoints
from famus_jax.train.records import Records


def make(workdir, dtype=np.float64, steps=(2, 4), seconds=1.0, name="a"):
    run = workdir / "run"
    with Checkpoints(run / "checkpoints") as checkpoints:
        checkpoints.save(2, {"sums": np.ones(3, dtype)}, {"step": 2, "seconds": seconds})
    with Records(run, [], []) as records:
        for step in steps:
            records.append({"step": step, "loss": 0.5})
    np.savez(run / "weights.npz", weights=np.ones(3, dtype))
    result = {"row": {"name": name, "seconds": seconds}}
    (run / "result.json").write_text(json.dumps(result))
    return workdir


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"seconds": 2.0}, []),
        (
            {"dtype": np.float32},
            ["differs: run/checkpoints/2/['sums']", "differs: run/weights.npz"],
        ),
        ({"steps": (2,)}, ["differs: run/metrics.jsonl", "differs: run/tensorboard"]),
        ({"name": "b"}, ["differs: run/result.json"]),
    ],
    ids=["times", "dtype", "evaluations", "result"],
)
def test_what_differs_is_named(tmp_path, other, expected):
    """Fails if a precision, a lost evaluation or a value passes, or if times count."""
    assert differences(make(tmp_path / "one"), make(tmp_path / "other", **other)) == expected


def test_files_that_are_missing_or_too_many(tmp_path):
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    (other / "run/weights.npz").unlink()
    (other / "run/.result.json-x.part").write_text("")
    assert differences(one, other) == [
        "missing: run/weights.npz",
        "too many: run/.result.json-x.part",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one", "two", "stream"])
def test_twenty_kills_leave_no_trace(tmp_path, kind):
    """At random moments. Fails if any file, any array's precision or any evaluation differs, or if
    a process or shared memory is left."""
    assert kills.main([kind, "--kills=20", f"--folder={tmp_path}"]) == 0
