"""famus runs: what it says of a finished, a running, a stopped, a failed and a damaged experiment."""

import json
import time

import pytest
from report.work import make

from famus_jax.cli import main
from famus_jax.interruption import Interrupted
from famus_jax.lock import alone_in
from famus_jax.progress import Progress
from famus_jax.train.status import NAME, told


def listed(capsys, root):
    assert main(["famus", "runs", str(root), "--json"]) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def status(folder, **values):
    written = {"state": "running", "what": "mwnet", "done": 90, "total": 120, "message": ""}
    written |= {"seconds_left": 40.0, "at": time.time() - 10, **values}
    (folder / NAME).write_text(json.dumps(written))


def test_states(tmp_path, capsys):
    """Fails if a killed run looks like a running one, or one damaged folder hides the others."""
    make(tmp_path / "a" / "done")
    for name in ("killed", "failed", "running", "old"):
        make(tmp_path / name, finished=False)
    status(tmp_path / "killed")
    status(tmp_path / "failed", state="failed", message="FloatingPointError: no")
    status(tmp_path / "running")
    make(tmp_path / "broken", finished=False)
    (tmp_path / "broken" / "config.json").write_text("{")
    (tmp_path / "no experiment" / "runs").mkdir(parents=True)
    with alone_in(tmp_path / "running"):
        rows = listed(capsys, tmp_path)
    states = {name: row["state"] for name, row in rows.items()}
    assert states == {
        "a/done": "done",
        "killed": "stopped",
        "failed": "failed",
        "running": "running",
        "old": "stopped",
        "broken": "damaged",
    }
    assert rows["failed"]["message"] == "FloatingPointError: no"
    assert "killed" in rows["killed"]["message"]
    assert "config.json" in rows["broken"]["problems"][0]
    # 40 s were left 10 s ago; 90 of 120 steps; without a status: 5 whole runs of 20 steps, one of 10.
    assert rows["running"]["seconds_left"] == pytest.approx(30, abs=2)
    assert rows["killed"]["seconds_left"] is None
    assert rows["running"]["progress"] == 0.75
    assert rows["old"]["progress"] == round(110 / 120, 4)
    assert rows["a/done"]["progress"] == 1
    assert (rows["a/done"]["best"], rows["a/done"]["best_run"]) == (0.8, "ce none seed 2")
    assert main(["famus", "runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "a/done" in shown
    assert "failed: FloatingPointError: no" in shown


def test_no_folder_is_an_error(tmp_path, capsys):
    assert main(["famus", "runs", str(tmp_path / "none")]) == 1
    assert "none is no folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "state"),
    [(Interrupted(2, "at step 3"), "stopped"), (FloatingPointError("inf"), "failed")],
)
def test_status_says_how_it_ended(tmp_path, error, state):
    """Fails if a run that broke down is said to be running, or only stopped."""
    with Progress(8, show=False) as progress:

        def work():
            with told(tmp_path, progress) as tell:
                tell("ce seed 0")
                assert json.loads((tmp_path / NAME).read_text())["state"] == "running"
                progress.update(3)
                raise error

        with pytest.raises(type(error)):
            work()
    said = json.loads((tmp_path / NAME).read_text())
    assert (said["state"], said["what"], said["done"], said["total"]) == (state, "ce seed 0", 3, 8)
    assert str(error) in said["message"]
