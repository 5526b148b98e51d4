"""JSON lines and event files: every evaluation once, however often a run is interrupted."""

import json

from experiments.kills.compare import contents
from famus_jax.train.records import Records

HISTORY = [{"step": step, "loss": 1 / step, "theta_norm": None} for step in (2, 4, 6)]


def left(folder):
    found = contents(folder)
    lines = [json.loads(line) for line in found["metrics.jsonl"].splitlines()]
    return lines, [(name, step) for name, step, _ in found["tensorboard"]]


def test_a_resumed_run_holds_each_evaluation_once(tmp_path):
    """Resumed at step 4, after 6 had been written. Fails if an evaluation before the checkpoint is
    missing, if the one after it comes twice, or if the old ones get a new time."""
    with Records(tmp_path, [], []) as records:
        for record in HISTORY:
            records.append(record)
        times = records.times
    for old in (tmp_path / "tensorboard").iterdir():
        old.write_bytes(b"")  # as after a kill before anything was flushed
    with Records(tmp_path, HISTORY[:2], times[:2]) as records:
        records.append(HISTORY[2])
        assert records.history == HISTORY
        assert records.times[:2] == times[:2]
        assert records.times[2] > times[2]
    assert left(tmp_path) == (HISTORY, [("loss", 2), ("loss", 4), ("loss", 6)])
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
