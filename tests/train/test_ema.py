"""`schedule.ema`: what is evaluated and kept is the average, and a checkpoint has it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.predictor import load_predictor
from famus_jax.train import loop
from famus_jax.train.config import parse_config
from famus_jax.train.experiment import run_experiment

STEPS, DECAY = 6, 0.6


def config(data_dir, method, ema=DECAY):
    return {
        "data": {
            "noise_rate": 0.4,
            "trusted_per_class": 0,
            "validation_per_class": 5,
            "data_dir": data_dir,
            "max_train": 400,
            "max_test": 100,
        },
        "model": {"name": "mlp", "overrides": {"hidden": (8,)}},
        "schedule": {
            "steps": STEPS,
            "batch_size": 16,
            "meta_batch_size": 8,
            "eval_every": 2,
            "checkpoint_every": 2,
            "ema": ema,
        },
        "pseudo_clean": {"warm_up_steps": 2, "split_every": 2},
        "runs": [{"method": method}],
    }


class Watched:
    """An `Advance` that keeps what every step has made of the networks."""

    def __init__(self, advance, seen):
        self.advance, self.seen = advance, seen

    @property
    def compilations(self):
        return self.advance.compilations

    def __call__(self, state, t):
        state, taken = self.advance(state, t)
        self.seen[t] = jax.device_get([(n.params, n.model_state) for n in networks(state)])
        return state, taken


def networks(state):
    return getattr(state, "networks", (state,))


def leaves(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("method", ["ce", pytest.param("dividemix", marks=pytest.mark.slow)])
def test_what_is_evaluated_and_kept(method, tmp_path, monkeypatch):
    """Of one network and of two: the mean of three steps, then 0.6 of it and 0.4 of the step.

    Fails if a warm-up is left out of the average, an interruption begins it anew, or accuracies or the
    predictor are of the last parameters.
    """
    train, seen = loop.train, {}

    def interrupted(run, folder, on_progress, clock):
        def stop(taken, newest):
            stop.taken += taken
            if stop.taken == 4:
                raise InterruptedError

        stop.taken = 0
        run = run._replace(advance=Watched(run.advance, seen))
        start = run._replace(state=jax.tree.map(lambda x: jnp.copy(x), run.state))
        if method != "ce":  # numpy's own stay numpy's
            start = run._replace(
                state=run.state._replace(networks=jax.tree.map(jnp.copy, run.state.networks))
            )
        with pytest.raises(InterruptedError):
            train(start, folder, stop, clock)
        done = train(run, folder, on_progress, clock)
        kept.append((run, done))
        return done

    kept = []
    monkeypatch.setattr(loop, "train", interrupted)
    run_experiment(config(str(tmp_path / "data"), method), tmp_path / "work", show=str)
    (run, done) = kept[0]
    expected = None
    for t in range(STEPS):
        share = max(1 - DECAY, 1 / (t + 1))
        step = [x.astype(np.float64) for x in leaves(seen[t])]
        expected = step if expected is None else expected
        expected = [a + share * (w - a) for a, w in zip(expected, step, strict=True)]
    predictor = load_predictor(tmp_path / "work" / "runs" / method / "seed_0" / "predictor")
    assert len(predictor.members) == len(networks(done.state))
    for found in (predictor.members, run.members(done.state)):
        for a, b in zip(leaves(found), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)

    def without(name):
        """Accuracy when a part of the networks is gone."""
        gone = [
            n._replace(**{name: jax.tree.map(jnp.zeros_like, getattr(n, name))})
            for n in networks(done.state)
        ]
        state = gone[0] if method == "ce" else done.state._replace(networks=tuple(gone))
        return run.evaluate(state)["test_accuracy"]

    assert without("params") == done.history[-1]["test_accuracy"] != without("average")


@pytest.mark.parametrize("decay", [1.0, -0.5])
def test_decays_that_cannot_be(decay):
    with pytest.raises(ValueError, match=r"schedule\.ema must lie in \[0, 1\)"):
        parse_config(config("/nowhere", "ce", decay))


def test_off_by_default():
    assert parse_config({"runs": [{"method": "ce"}]}).schedule.ema == 0
