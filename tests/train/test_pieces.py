"""Experiments in pieces of limited time: they end in the same files as in one go."""

import json

import pytest

from famus_jax.cli import main
from famus_jax.train.clock import Clock, TimeIsUp
from famus_jax.train.experiment import run_experiment

# ml_collections reads config files with a loader method that Python is about to remove.
pytestmark = pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")

RUNS = ({"method": "ce"}, {"method": "ce_early_stop"}, {"method": "clean"})  # one compiled step


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return {
        "data": {
            "noise": "pair_flip",
            "data_dir": str(tmp_path_factory.mktemp("tfds")),
            "max_test": 50,
        },
        "model": {"name": "mlp", "overrides": {"hidden": (8,)}},
        "schedule": {
            "steps": 4,
            "batch_size": 16,
            "meta_batch_size": 4,
            "eval_every": 2,
            "checkpoint_every": 4,  # the pieces end between checkpoints
        },
        "runs": list(RUNS),
        "seeds": [0],
    }


def told(workdir):
    """All that is known of every run, but for how long it took."""
    found = {}
    for path in sorted(workdir.glob("runs/*/seed_*/result.json")):
        result = json.loads(path.read_text())
        result["row"].pop("seconds")
        found[path.parent.parent.name] = (result, (path.parent / "metrics.jsonl").exists())
    rows = json.loads((workdir / "summary.json").read_text())["rows"]
    return found, [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.slow
def test_pieces_give_what_one_run_gives(config, tmp_path):
    """Each piece ends at its first evaluation. Fails if a piece ended without a checkpoint (it would
    start anew for ever), if a step were taken twice, or if a summary were written too early."""
    whole = run_experiment(config, tmp_path / "whole", show=lambda text: None)
    made = whole["provenance"]
    assert made["matmul_precision"] == "default"
    for row in whole["rows"]:
        assert (row["commit"], row["device"]) == (made["commit"], made["device"])
    seen = []
    for _ in range(9):
        try:
            run_experiment(config, tmp_path / "parts", max_minutes=1e-9, show=lambda text: None)
            break
        except TimeIsUp as up:
            seen.append(str(up))
            assert not (tmp_path / "parts" / "summary.json").exists()
    # A run of 4 steps with evaluations at 2 and 4: stopped at 2, and before the next run.
    assert [text.split(",")[0] for text in seen] == [
        "the time is up: ce seed 0 is at step 2 of 4",
        "the time is up: clean seed 0 is not begun",
        "the time is up: clean seed 0 is at step 2 of 4",
    ]
    assert "6 of 8 steps" in seen[-1]
    assert told(tmp_path / "whole") == told(tmp_path / "parts")


def test_the_clock():
    times = iter([0.0, 119.0, 120.0])
    clock = Clock(2, now=lambda: next(times))
    assert not clock.is_up()
    assert clock.is_up()
    assert not Clock().is_up()
    with pytest.raises(ValueError, match=r"max_minutes must lie in \(0, .*got 0"):
        Clock(0)


@pytest.mark.slow
def test_the_command_stops_with_status_0_and_goes_on(config, tmp_path, capsys):
    """Fails if a script that runs piece after piece took the end of its time for a failure."""
    command = [
        "famus",
        "train",
        "--config=configs/quickstart.py",
        f"--workdir={tmp_path}",
        f"--config.data.data_dir={config['data']['data_dir']}",
        "--config.seeds=(0,)",
        "--config.schedule.eval_every=1",
        "--config.schedule.checkpoint_every=1",
        "--max_minutes=1e-9",
    ]
    for step in (1, 2):
        assert main(command) == 0
        assert f"ce seed 0 is at step {step} of 800" in capsys.readouterr().out
    assert main([*command[:-1], "--max_minutes=-1"]) == 1
    assert "max_minutes" in capsys.readouterr().err
