"""A tiny experiment end to end: what it leaves behind, and that interruptions leave no trace."""

import json
import math

import jax
import numpy as np
import pytest

from famus_jax.train import loop, one_network
from famus_jax.train.experiment import run_experiment
from famus_jax.uses import train_step as train_step_module

GATES = {"kind": "learned_gates", "preset": "paper", "target": 2.0, "lag": 2, "max_programs": 2}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def tiny(data_dir, *runs, steps=8, **schedule):
    return {
        "data": {
            "noise": "pair_flip",
            "trusted_per_class": 2,
            "validation_per_class": 5,
            "data_dir": data_dir,
            "max_test": 100,
            "augment": "shift",
        },
        "model": {"name": "mlp", "overrides": {"hidden": (16, 16)}},
        "schedule": {
            "steps": steps,
            "batch_size": 16,
            "meta_batch_size": 8,
            "finetune_steps": 4,
            "eval_every": 2,
            "checkpoint_every": 4,
            **schedule,
        },
        "runs": list(runs),
        "seeds": [0, 1],
    }


ALL = (
    {"method": "ce"},
    {"method": "ce_early_stop"},
    {"method": "trusted_only"},
    {"method": "noisy_plus_trusted"},
    {"method": "finetune"},
    {"method": "mwnet", "estimator": {"kind": "all_layers"}},
    {"method": "l2r", "estimator": {"kind": "last_layers", "k": 1, "virtual_step": "active"}},
    {"method": "clean"},
)


@pytest.fixture(scope="module")
def finished(data_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("work")
    shown = []
    result = run_experiment(tiny(data_dir, *ALL), workdir, show=shown.append)
    return workdir, result, "\n".join(shown)


def test_summary_has_a_row_per_run_and_seed(finished):
    workdir, result, _ = finished
    rows = json.loads((workdir / "summary.json").read_text())["rows"]
    assert rows == json.loads(json.dumps(result["rows"]))
    assert [(r["method"], r["seed"]) for r in rows] == [
        (run["method"], seed) for run in ALL for seed in (0, 1)
    ]
    for row in rows:
        assert 0 <= row["acc_last"] <= row["acc_best"] <= 1
        assert 0 <= row["acc_selected"] <= row["acc_best"]
        assert 0.3 < row["noise_rate_realized"] < 0.5
        assert row["seconds"] > 0
        assert ("last_layers" in row["estimator"]) == (row["method"] == "l2r")
    assert result["provenance"]["versions"]["jax"] == jax.__version__


def test_rows_follow_from_the_histories(finished):
    """Fails if `selected` reads the test set, or early stopping keeps later evaluations."""
    workdir, result, _ = finished
    rows = {(r["method"], r["seed"]): r for r in result["rows"]}
    for seed in (0, 1):
        lines = (workdir / "runs" / "ce" / f"seed_{seed}" / "metrics.jsonl").read_text()
        history = [json.loads(line) for line in lines.splitlines()]
        assert [record["step"] for record in history] == [2, 4, 6, 8]
        test = [record["test_accuracy"] for record in history]
        validation = [record["validation_accuracy"] for record in history]
        best = validation.index(max(validation))
        assert rows["ce", seed]["acc_last"] == test[-1]
        assert rows["ce", seed]["acc_best"] == max(test)
        assert rows["ce", seed]["acc_selected"] == test[best]
        assert rows["ce_early_stop", seed]["acc_last"] == test[best]
        assert rows["ce_early_stop", seed]["acc_best"] == max(test[: best + 1])


def test_same_noise_for_every_method_of_a_seed(finished):
    _, result, _ = finished
    for seed in (0, 1):
        digests = {r["noise_digest"] for r in result["rows"] if r["seed"] == seed}
        assert len(digests) == 1
    assert len({r["noise_digest"] for r in result["rows"]}) == 2


def test_table_picture_and_events_are_there(finished):
    workdir, _, shown = finished
    assert "L2R" in shown
    assert "±" in shown
    assert (workdir / "summary.png").read_bytes().startswith(b"\x89PNG")
    assert list((workdir / "runs" / "ce" / "seed_0" / "tensorboard").glob("events*"))
    assert not list(workdir.rglob("*.part"))


def test_suspicious_labels_are_listed_for_each_seed(finished):
    """Each seed has a noise of its own, so that a common list would be of different labels."""
    workdir, _, _ = finished
    found = sorted(
        str(path.relative_to(workdir)) for path in workdir.glob("runs/**/label_issues.csv")
    )
    run = "runs/l2r-last_layers_1_active_step"
    assert [f"{run}/seed_{seed}/label_issues.csv" for seed in (0, 1)] == [
        path for path in found if "l2r" in path
    ]
    for method, lists in (("ce", 2), ("mwnet-all_layers", 2), ("noisy_plus_trusted", 2)):
        assert len([path for path in found if f"/{method}/" in path]) == lists
    for method in ("clean", "trusted_only", "finetune"):  # trained on none of the given labels
        assert not [path for path in found if f"/{method}/" in path]
    assert (workdir / run / "seed_0" / "label_issues.png").exists()


def test_finished_runs_are_not_trained_again(finished, data_dir, monkeypatch):
    workdir, result, _ = finished
    monkeypatch.setattr(loop, "train", lambda *a, **k: pytest.fail("trained again"))
    again = run_experiment(tiny(data_dir, *ALL), workdir, show=lambda text: None)
    assert again["rows"] == result["rows"]


def test_a_work_directory_belongs_to_one_experiment(finished, data_dir):
    workdir, _, _ = finished
    with pytest.raises(ValueError, match="differs in schedule.*--workdir"):
        run_experiment(tiny(data_dir, *ALL, steps=6), workdir)


def test_an_estimator_that_does_not_fit_is_refused_before_the_first_run(data_dir, tmp_path):
    """Fails if it were found only after the runs before it; and nothing is left behind."""
    bad = {"method": "l2r", "estimator": {"kind": "last_layers", "k": 9}}
    with pytest.raises(ValueError, match=r"last_layers\(9\) needs k between 1 and 3"):
        run_experiment(tiny(data_dir, {"method": "ce"}, bad), tmp_path / "new")
    gates = {**GATES, "preset": "budget", "target": 9.0}
    bad = {"method": "mwnet", "estimator": gates}
    with pytest.raises(ValueError, match=r"budget of 9.0 plain steps can't be met"):
        run_experiment(tiny(data_dir, {"method": "ce"}, bad), tmp_path / "new")
    assert not (tmp_path / "new").exists()


class Interrupted(Exception):
    pass


@pytest.mark.slow
def test_resumes_bit_for_bit(data_dir, tmp_path, monkeypatch):
    """Interrupted after step 6 (the checkpoint is of step 4) and resumed: the same bits.

    Fails if any of parameters, momentum, θ, samplers, gates under way, keys or the position in the
    data is not restored.
    """
    run = {"method": "mwnet", "estimator": GATES}
    steps = []  # the three runs share one compiled step, to save time
    make = one_network.train_step
    monkeypatch.setattr(
        one_network,
        "train_step",
        lambda *a, **k: (steps or ([steps.append(make(*a, **k))] and steps))[0],
    )
    kept = {}
    train = loop.train

    def keep(run, folder, on_progress, clock):
        kept[folder.parent.parent.parent.name, folder.name] = done = train(
            run, folder, on_progress, clock
        )
        return done

    monkeypatch.setattr(loop, "train", keep)
    config = tiny(data_dir, run)
    config["seeds"] = [0]
    run_experiment(config, tmp_path / "whole", show=lambda text: None)

    def interrupt(run, folder, on_progress, clock):
        taken = []

        def stop(count, newest):
            taken.append(count)
            if sum(taken) == 6:
                raise Interrupted

        return train(run, folder, stop, clock)

    monkeypatch.setattr(loop, "train", interrupt)
    with pytest.raises(Interrupted):
        run_experiment(config, tmp_path / "parts", show=lambda text: None)
    assert not (tmp_path / "parts" / "summary.json").exists()
    monkeypatch.setattr(loop, "train", keep)
    run_experiment(config, tmp_path / "parts", show=lambda text: None)

    whole, parts = (
        jax.tree.leaves(
            jax.tree.map(
                lambda x: (
                    jax.random.key_data(x)
                    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
                    else x
                ),
                kept[name, "seed_0"].state,
            )
        )
        for name in ("whole", "parts")
    )
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    np.testing.assert_array_equal(kept["whole", "seed_0"].weights, kept["parts", "seed_0"].weights)
    name = next(path.name for path in (tmp_path / "whole" / "runs").iterdir())
    texts = [
        (tmp_path / w / "runs" / name / "seed_0" / "metrics.jsonl").read_text()
        for w in ("whole", "parts")
    ]
    assert texts[0] == texts[1]


def test_weights_average_to_one(finished):
    """Sum-normalized weights times n average to 1 in every batch. Fails if n is the wrong one."""
    workdir, _, _ = finished
    lines = (workdir / "runs" / "mwnet-all_layers" / "seed_0" / "metrics.jsonl").read_text()
    last = json.loads(lines.splitlines()[-1])
    assert math.isclose(0.6 * last["weight_clean"] + 0.4 * last["weight_wrong"], 1, abs_tol=0.1)


def test_non_finite_loss_stops_with_a_message(data_dir, tmp_path):
    config = tiny(data_dir, {"method": "ce"}, learning_rate=1e6, steps=16)
    with pytest.raises(FloatingPointError, match=r"ce seed 0: the loss has grown to .*Lower"):
        run_experiment(config, tmp_path, show=lambda text: None)
    assert not (tmp_path / "summary.json").exists()


def test_checkpoint_of_another_network_is_refused(data_dir, tmp_path):
    """Also where nothing but the checkpoint is left to tell."""
    config = tiny(data_dir, {"method": "ce"}, steps=4)
    config["seeds"] = [0]
    run_experiment(config, tmp_path, show=lambda text: None)
    (tmp_path / "runs" / "ce" / "seed_0" / "result.json").unlink()
    (tmp_path / "config.json").unlink()
    config["model"]["overrides"]["hidden"] = (16, 17)
    with pytest.raises(ValueError, match=r"it differs in model\).*--workdir"):
        run_experiment(config, tmp_path, show=lambda text: None)


def test_one_compilation_per_method(data_dir, tmp_path, monkeypatch):
    """Two seeds share the compiled step; plain methods with equal batches share one.

    Counts how often a step is traced. Fails if anything recompiles for a new seed or method.
    """
    traced, original = [], train_step_module.meta_update

    def count(problem, *args, **kwargs):
        traced.append(problem.method.name)
        return original(problem, *args, **kwargs)

    monkeypatch.setattr(train_step_module, "meta_update", count)
    runs = (
        {"method": "ce"},
        {"method": "clean"},
        {"method": "l2r", "estimator": {"kind": "last_layers", "k": 1}},
    )
    run_experiment(tiny(data_dir, *runs, steps=2), tmp_path, show=lambda text: None)
    assert traced == ["cross_entropy", "l2r"]


def test_warnings_are_said_recorded_and_shown_below_the_table(data_dir, tmp_path, capsys):
    """A learning rate at which the loss jumps, though it stays finite. Fails if the run ends without a
    word, or the word is gone from the table that is read a week later."""
    config = tiny(data_dir, {"method": "ce"}, learning_rate=30.0, steps=2)
    config["seeds"], shown = [0], []
    result = run_experiment(config, tmp_path, show=shown.append)
    assert "warning: ce seed 0, step 2: loss reached" in capsys.readouterr().err
    assert "it may be diverging" in result["rows"][0]["warnings"][0]
    assert "warning: ce none seed 0: loss reached" in "\n".join(shown)
    lines = (tmp_path / "runs" / "ce" / "seed_0" / "metrics.jsonl").read_text().splitlines()
    assert "loss reached" in json.loads(lines[0])["warnings"][0]


def test_a_warning_that_stays_is_said_once(data_dir, tmp_path, capsys):
    """V that hardly moves, at all four evaluations. Fails if progress is a wall of one sentence; how
    often it was so is for the table."""
    estimator = {"kind": "last_layers", "k": 1}
    config = tiny(data_dir, {"method": "mwnet", "estimator": estimator})
    config["meta"], config["seeds"], shown = {"learning_rate": 1e-9}, [0], []
    run_experiment(config, tmp_path, show=shown.append)
    said = "all examples got the same weight in every step"
    assert capsys.readouterr().err.count(said) == 1
    assert "(4 of 4 evaluations)" in "\n".join(shown)
