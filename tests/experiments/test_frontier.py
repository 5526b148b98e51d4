"""Accuracy beside time: the join of a summary with timed steps, and its picture."""

import json
import pathlib
import runpy

import numpy as np
import pytest

from experiments import frontier
from famus_jax.train.config import default_config, parse_config

ROOT = pathlib.Path(__file__).parents[2]
HEAD = {"kind": "last_layers", "k": 1, "virtual_step": "active"}


def config(*runs):
    values = default_config().to_dict()
    values["schedule"].update(batch_size=20, meta_batch_size=10)
    values["model"] = {"name": "mlp", "overrides": {"hidden": (8,)}}
    return parse_config({**values, "runs": runs or ({"method": "ce"}, HEAD_RUN)})


HEAD_RUN = {"method": "mwnet", "estimator": HEAD}
LABEL = "last_layers_1_active_step"


def row(method, estimator, seed, accuracy, cost=1.0, auroc=None):
    return {
        "method": method,
        "estimator": estimator,
        "seed": seed,
        "acc_last": accuracy,
        "step_cost": cost,
        "weight_auroc": auroc,
    }


SUMMARY = {
    "rows": [
        row("ce", "none", 0, 0.5),
        row("ce", "none", 1, 0.7),
        row("mwnet", LABEL, 0, 0.8, 1.2, 0.9),
        row("mwnet", LABEL, 1, 0.9, 1.4, 0.7),
    ]
}


def test_join_by_hand():
    """Fails if means stand for medians, seeds are mixed, or the unit is not the plain step."""
    seconds = {"ce": [1.0, 2.0, 9.0], f"mwnet-{LABEL}": [3.0, 5.0, 4.0]}
    ce, head = frontier.join(config(), SUMMARY, seconds)["rows"]
    assert (ce["accuracy"], ce["time_ratio"]) == (pytest.approx(60), 1)
    assert ce["accuracy_sd"] == pytest.approx(np.sqrt(200))
    assert (head["accuracy"], head["time_ratio"]) == (pytest.approx(85), 2)
    assert (head["step_cost"], head["auroc"]) == (pytest.approx(1.3), pytest.approx(0.8))
    assert head["step_ms"] == pytest.approx(4000)


def test_join_refuses_another_summary():
    seconds = {"ce": [1.0], f"mwnet-{LABEL}": [1.0]}
    with pytest.raises(
        ValueError, match="the summary has no run 'mwnet-last_layers_1_active_step'"
    ):
        frontier.join(config(), {"rows": SUMMARY["rows"][:2]}, seconds)
    with pytest.raises(ValueError, match="needs the run"):
        frontier.join(config(HEAD_RUN), SUMMARY, {f"mwnet-{LABEL}": [1.0]})


@pytest.mark.parametrize("data", ["digits", "cifar10"])
def test_recorded_summaries_are_joined(data):
    """Fails if an estimator of the config is not found under the label that the record has for it."""
    path = ROOT / "configs" / "estimators.py"
    settings = parse_config(runpy.run_path(str(path))["get_config"](data).to_dict())
    summary = json.loads((ROOT / "results" / f"estimators_{data}.json").read_text())
    rows = frontier.join(settings, summary, {run.name: [1.0] for run in settings.runs})["rows"]
    assert len(rows) == len(settings.runs)
    recorded = json.loads((ROOT / "results" / f"frontier_{data}.json").read_text())["rows"]
    for mine, theirs in zip(rows, recorded, strict=True):
        assert (mine["method"], mine["accuracy"]) == (theirs["method"], theirs["accuracy"])


@pytest.mark.slow
def test_every_program_is_timed():
    """Fails if a run is left out, or its warm-up block is counted."""
    every = {"method": "mwnet", "estimator": {"kind": "all_layers", "update_every": 3}}
    seconds = frontier.block_seconds(config({"method": "ce"}, every), rounds=2, block=4)
    assert {name: len(values) for name, values in seconds.items()} == {
        "ce": 2,
        "mwnet-all_layers_every3": 2,
    }


def test_commands(tmp_path, capsys):
    """The smoke config end to end: timed, joined with its summary, drawn."""
    summary = tmp_path / "summary.json"
    path = tmp_path / "config.py"
    path.write_text(
        "from ml_collections import ConfigDict\n"
        "from famus_jax.train.config import default_config\n"
        "def get_config(variant=''):\n"
        "    config = default_config()\n"
        "    config.model.update({'name': 'mlp', 'overrides': {'hidden': (8,)}})\n"
        f"    config.runs = ({{'method': 'ce'}}, {HEAD_RUN!r})\n"
        "    return config\n"
    )
    summary.write_text(json.dumps({**SUMMARY, "provenance": {}}))
    out, picture = tmp_path / "out.json", tmp_path / "out.png"
    arguments = ["time", f"--config={path}", f"--summary={summary}", f"--json={out}"]
    assert frontier.main([*arguments, "--rounds=1", "--block=2"]) == 0
    assert LABEL in capsys.readouterr().out
    assert frontier.main(["draw", str(out), f"--picture={picture}"]) == 0
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert frontier.main([*arguments[:2], f"--summary={tmp_path / 'no.json'}", "--json=x"]) == 1
