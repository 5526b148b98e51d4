"""A run that a signal ends between two evaluations goes on as if nothing had been."""

import signal
from pathlib import Path

import pytest

from experiments.kills.compare import contents
from famus_jax.cli import main
from famus_jax.train import one_network
from famus_jax.train.experiment import run_experiment
from famus_jax.train.two_networks import advance

pytestmark = pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")

L2R = {"method": "l2r", "estimator": {"kind": "last_layers", "k": 1}}


def config(data_dir, *runs):
    return {
        "data": {
            "noise": "pair_flip", "trusted_per_class": 2, "validation_per_class": 5,
            "data_dir": str(data_dir), "max_test": 100, "augment": "shift",
        },
        "model": {"name": "mlp", "overrides": {"hidden": (16, 16)}},
        "schedule": {
            "steps": 8, "batch_size": 16, "meta_batch_size": 8, "eval_every": 4,
            "checkpoint_every": 8,
        },
        "pseudo_clean": {"warm_up_steps": 3, "split_every": 2},
        "runs": list(runs), "seeds": [0],
    }  # fmt: skip


def signal_in_step(monkeypatch, cls, step, number):
    """The first time that step is taken, a signal arrives in it."""
    take, sent = cls.__call__, []

    def call(self, state, t):
        if t == step and not sent:
            sent.append(t)
            signal.raise_signal(number)
        return take(self, state, t)

    monkeypatch.setattr(cls, "__call__", call)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


def write(config, folder):
    """A config file, as the command reads it."""
    path = folder / "config.py"
    path.write_text(
        f"import ml_collections\ndef get_config(): return ml_collections.ConfigDict({config!r})\n"
    )
    return [f"--config={path}", f"--workdir={folder / 'stopped'}"]


def left_behind(workdir):
    """Everything but times, by file; the checkpoint at the signal is one more."""
    found = contents(workdir)
    return {name: value for name, value in found.items() if "/checkpoints/" not in name}


def stops_and_goes_on(config, tmp_path, capsys, number, step):
    words = ["famus", "train", *write(config, tmp_path)]
    assert main(words) == 128 + number
    said = capsys.readouterr().err
    name = signal.Signals(number).name
    line = f"famus train: ended by {name}: {config['runs'][0]['method']}"
    assert line in said
    assert f"is at step {step + 1} of 8, all is saved, and {step + 1} of 8 steps" in said
    assert "the same command goes on" in said
    assert "Traceback" not in said
    assert main(words) == 0
    run_experiment(config, tmp_path / "whole", show=lambda text: None)
    stopped, whole = left_behind(tmp_path / "stopped"), left_behind(tmp_path / "whole")
    assert {Path(name).name for name in whole} >= {"metrics.jsonl", "result.json", "tensorboard"}
    assert stopped == whole


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (signal.SIGTERM, 5),
        pytest.param(signal.SIGINT, 0, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 3, marks=pytest.mark.slow),  # the last before an evaluation
    ],
)
def test_stopped_between_two_evaluations(data_dir, tmp_path, monkeypatch, capsys, number, step):
    """Fails if the run trains on to the evaluation, saves nothing, loses what the window's first steps
    told, or weighs an example of them twice."""
    signal_in_step(monkeypatch, one_network.OneNetwork, step, number)
    stops_and_goes_on(config(data_dir, L2R), tmp_path, capsys, number, step)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 4, 6])
def test_two_networks(data_dir, tmp_path, monkeypatch, capsys, step):
    """The same in the warm-up, at a split and between two."""
    signal_in_step(monkeypatch, advance.TwoNetworks, step, signal.SIGTERM)
    run = {"method": "mwnet_pseudo_clean", "estimator": {"kind": "all_layers"}}
    stops_and_goes_on(config(data_dir, run), tmp_path, capsys, signal.SIGTERM, step)
