"""Weights & Biases, offline, and what is said without it."""

import sys

import pytest

from famus_jax.train.experiment import run_experiment
from famus_jax.train.wandb_writer import wandb_writer


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    """Fails if the package is asked for when nobody wants it, or only after the config was read."""
    monkeypatch.setitem(sys.modules, "wandb", None)  # its import fails
    with wandb_writer("", "ce", 0, tmp_path, {}) as log:
        log({"step": 1, "loss": 0.5})
    with pytest.raises(ValueError, match=r"pip install 'famus_jax\[wandb\]'"):
        run_experiment({}, tmp_path / "work", wandb="project")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_offline_runs_hold_what_was_logged(tmp_path, monkeypatch):
    """Fails for a lost number, or a text among them, or the newest kept back."""
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with wandb_writer("project", "ce", 0, tmp_path, {"schedule": {"steps": 2}}) as log:
        log({"step": 5, "loss": 0.53125, "warnings": ["no"]})
        log({"step": 9, "loss": 0.28125, "meta_loss": None})
        assert dict(wandb.run.config)["schedule"] == {"steps": 2}
        assert wandb.run.summary["loss"] == 0.28125
        logged = {key for key in wandb.run.summary.keys() if not key.startswith("_")}  # noqa: SIM118
        assert logged == {"loss"}
    (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    content = kept.read_bytes()
    assert b"0.53125" in content
    assert b"0.28125" in content
    assert b"warnings" not in content
