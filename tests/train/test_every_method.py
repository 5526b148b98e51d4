"""Every method of `famus methods` trains on digits, and goes on after an interruption bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.train import loop
from famus_jax.train.experiment import run_experiment
from famus_jax.train.methods import METHODS

HEAD = {"kind": "last_layers", "k": 1, "virtual_step": "active"}
HEAD_LABEL = "last_layers_1_active_step"
STEPS, STOP, SAVED = 20, 15, 10
QUICK = ("elr", "sop", "mwnet_small_loss")


def row(method):
    return {"method": method, **({"estimator": HEAD} if METHODS[method].learns else {})}


def config(data_dir, methods, cosine=False):
    needed = [METHODS[m].needs for m in methods if METHODS[m].needs]
    rows = [row(method) for method in dict.fromkeys([*needed, *methods])]
    return {
        "data": {
            "noise_rate": 0.4,
            "trusted_per_class": 2,
            "validation_per_class": 5,
            "data_dir": data_dir,
            "max_train": 600,
            "max_test": 100,
        },
        "model": {
            "name": "mlp",
            "overrides": {"hidden": (8,), **({"cosine_head": True} if cosine else {})},
        },
        "schedule": {
            "steps": STEPS,
            "batch_size": 16,
            "meta_batch_size": 8,
            "finetune_steps": STEPS,
            "eval_every": 5,
            "checkpoint_every": SAVED,
        },
        "pseudo_clean": {"warm_up_steps": 4, "split_every": 8},
        "runs": rows,
    }


def groups():
    """Rows that go into one experiment: LDAM's want cosines, the others don't."""
    for quick in (True, False):
        for cosine in (False, True):
            chosen = [
                name
                for name, method in METHODS.items()
                if (name in QUICK) == quick
                and method.scales_logits == cosine
                and not method.early_stop  # trains nothing of its own
            ]
            if chosen:
                yield pytest.param(chosen, cosine, marks=[] if quick else [pytest.mark.slow])


def copied(run):
    """The run once more: a step donates its state."""
    return run._replace(state=jax.tree.map(jnp.copy, run.state))


def bits(tree):
    """Every leaf's bytes, keys as their data."""
    dtypes = jax.dtypes
    return [
        np.asarray(
            jax.random.key_data(x) if dtypes.issubdtype(x.dtype, dtypes.prng_key) else x
        ).tobytes()
        for x in jax.tree.leaves(tree)
    ]


@pytest.mark.parametrize(("methods", "cosine"), list(groups()))
def test_trains_and_resumes(methods, cosine, tmp_path, monkeypatch):
    """Stopped after step 15, which is 5 after the last checkpoint, and resumed.

    Fails if a part of what a method carries (its memory, say) is not in the checkpoint, or is made of
    something that is not.
    """
    train, seen = loop.train, []

    def three_times(run, folder, on_progress, clock):
        def stop(taken, newest):
            stop.taken += taken
            if stop.taken == STOP:
                raise InterruptedError

        stop.taken = 0
        whole = train(copied(run), tmp_path / "whole" / run.name, lambda *_: None, clock)
        with pytest.raises(InterruptedError):
            train(copied(run), folder, stop, clock)
        done = train(run, folder, on_progress, clock)
        assert bits(done.state) == bits(whole.state), run.name
        assert done.history == whole.history
        seen.append(run.name.split()[0].split("-")[0])
        return done

    monkeypatch.setattr(loop, "train", three_times)
    result = run_experiment(
        config(str(tmp_path / "data"), methods, cosine), tmp_path / "work", show=lambda text: None
    )
    assert set(methods) <= set(seen)
    for found in result["rows"]:
        assert found["steps"] == STEPS
        assert 0 <= found["acc_last"] <= 1
    for run in result["config"]["runs"]:
        method = METHODS[run["method"]]
        name = "-".join([run["method"], *([HEAD_LABEL] if run["estimator"] else [])])
        left = tmp_path / "work" / "runs" / name / "seed_0" / "weights.npz"
        if method.batches in ("noisy", "noisy+m_correction"):
            assert "aum" in np.load(left), f"{run['method']} leaves no evidence on labels"


def test_no_row_is_left_out():
    """Every method of the table is in a group above, or trains nothing."""
    grouped = {name for group in groups() for name in group.values[0]}
    assert grouped == {name for name, method in METHODS.items() if not method.early_stop}
