"""Agreement along runs: numbers by hand, and what an interruption must not change."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.agreement import runs
from experiments.agreement.__main__ import main
from experiments.agreement.config import parse_agreement
from experiments.agreement.gates import input_effect, program_shares
from experiments.agreement.gradients import Agreement
from experiments.agreement.lines import Lines
from experiments.agreement.measure import Compared, summarized
from experiments.agreement.report import accuracies
from experiments.agreement.study import run_agreement
from famus_jax.files import write_json
from famus_jax.sealed import Damaged
from famus_jax.train import fingerprint, kept
from famus_jax.train.config import default_config

# ml_collections reads config files with a loader method that Python is about to remove.
pytestmark = pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")

SAME = ({"kind": "all_layers"}, {"kind": "second_order"}, {"kind": "all_layers", "route": "vjp"})
DRAWN = {"kind": "random_layers", "s": 1}
BUDGET = {
    "kind": "learned_gates",
    "preset": "budget",
    "target": 1.4,
    "lag": 2,
    "virtual_step": "active",
}


def _silent(text):
    del text


def tiny(estimators=({"kind": "last_layers", "k": 1},), runs=({"kind": "all_layers"},)):
    """A config of seconds: an MLP on digits."""
    config = default_config()
    config.data.update({"noise": "symmetric", "noise_rate": 0.6, "validation_per_class": 5})
    config.model.update({"name": "mlp", "overrides": {"hidden": (8,)}})
    config.schedule.update({"steps": 6, "batch_size": 8, "meta_batch_size": 4})
    config.runs = tuple({"method": "mwnet", "estimator": dict(spec)} for spec in runs)
    values = config.to_dict()
    values["agreement"] = {
        "estimators": tuple(estimators),
        "points": 2,
        "batches": 2,
        "draws": 2,
        "rounds": 2,
    }
    return values


def test_input_effect_by_hand():
    """One hidden unit, PReLU slope 0.25: fails if p(0) is not taken off, or closed and open swap."""
    eta = {
        "kernels": [jnp.array([[[2.0]], [[1.0]]]), jnp.array([[[0.0, 1.0]], [[0.0, 0.0]]])],
        "biases": [jnp.array([[0.0], [0.0]]), jnp.array([[0.0, 0.5], [0.0, 3.0]])],
        "slopes": [jnp.array([0.25, 0.25])],
    }
    # Γ_0(1): hidden 2, logits (0, 2.5); Γ_0(0): (0, 0.5). Γ_0(−1): hidden −0.5, logits (0, 0).
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    up = input_effect(eta, jnp.array([[1.0], [5.0]]))
    down = input_effect(eta, jnp.array([[-1.0], [5.0]]))
    np.testing.assert_allclose(up, [sigmoid(2.5) - sigmoid(0.5), 0], atol=1e-6)
    np.testing.assert_allclose(down, [0.5 - sigmoid(0.5), 0], atol=1e-6)


def test_program_shares_leave_the_burn_in_out():
    shares = program_shares([0, 0, 1, 2, 2, 2], 1 / 3)
    assert shares == {1: 0.25, 2: 0.75}


def test_summary_of_samples_by_hand():
    """Fails if the variance is over entries instead of samples, or not relative to the mean."""

    def sample(cosine, theta):
        close = Agreement(jnp.float32(cosine), jnp.float32(1), jnp.float32(0))
        return Compared(close, jnp.array(theta, jnp.float32))

    found = summarized([sample(0.5, [1, 0]), sample(1, [3, 0])], np.array([1.0, 0.0]))
    assert found["cosine"] == 0.75
    assert found["cosine_sd"] == pytest.approx(0.5 / 2**0.5)
    assert found["theta_variance"] == pytest.approx(2 / 4)  # ((1−2)² + (3−2)²) / (2−1) over 2²
    assert found["theta_bias"] == pytest.approx(1)


def test_a_torn_line_is_dropped(tmp_path):
    path = tmp_path / "lines.jsonl"
    lines = Lines(path)
    lines.append({"kind": "a", "step": 1, "x": 2})
    lines.append({"kind": "a", "step": 1, "x": 3})  # of the same thing: known already
    path.write_text(path.read_text() + '{"kind": "a", "st')
    again = Lines(path)
    assert again.records == [{"kind": "a", "step": 1, "x": 2}]
    again.append({"kind": "a", "step": 2})
    assert len(path.read_text().splitlines()) == 2


def test_a_damaged_line_is_named(tmp_path):
    """Fails if a record that is not what was measured is taken for it."""
    path = tmp_path / "lines.jsonl"
    for step in (1, 2):
        Lines(path).append({"kind": "a", "step": step, "x": 25})
    path.write_text(path.read_text().replace('"step": 2, "x": 25', '"step": 2, "x": 35'))
    with pytest.raises(Damaged, match=r"line 2 of .*lines\.jsonl is damaged"):
        Lines(path)


@pytest.mark.slow
def test_a_run_from_end_to_end(tmp_path):
    config = tiny(
        (*SAME, {"kind": "all_layers", "examples": 4}, DRAWN), ({"kind": "all_layers"}, BUDGET)
    )
    table = []
    result = run_agreement(config, tmp_path, show=table.append)
    rows = {row["estimator"]: row for row in result["rows"]}
    for name in ("all_layers", "all_layers_second_order", "all_layers_vjp"):
        assert rows[name]["cosine"] >= 0.999999
        assert rows[name]["relative_error"] < 1e-4
    assert 0 < rows["random_layers_1"]["cosine"] < 0.9999
    gates = "gates_budget_target=1.4_lag=2_active_step"
    assert {gates, f"{gates}_without_L_g"} <= set(rows)
    [price] = result["gate_prices"].values()
    assert sum(price["shares"].values()) == pytest.approx(1)
    assert price["budget"] == 1.4
    by_hand = sum(price["shares"][b] * price["analytic"][b] for b in price["shares"])
    assert price["analytic_mean"] == pytest.approx(by_hand)
    assert rows[gates]["cost"] == price["analytic_mean"]
    windows = [r for r in result["measurements"] if r["kind"] == "window" and "open" in r]
    assert [len(w["programs"]) for w in windows] == [3, 3]
    assert all(w["open"][-1] == 1 for w in windows)  # the budget preset's head has no gate
    assert result["provenance"]["command"]
    assert json.loads((tmp_path / "agreement.json").read_text()) == json.loads(json.dumps(result))
    assert (tmp_path / "agreement.png").stat().st_size > 10_000
    assert "declared budget 1.4" in "\n".join(table)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The measurements of a run without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    run_agreement(tiny((*SAME[:1], DRAWN)), folder, show=_silent)
    return (folder / "measurements.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("after", [2, 8])
def test_an_interruption_changes_nothing(tmp_path, monkeypatch, after, whole):
    """Stopped in the middle of the first or the second pause: the same file in the end."""
    config = tiny((*SAME[:1], DRAWN))
    append = Lines.append

    def stop(self, record):
        append(self, record)
        if len(self.records) == after:
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(Lines, "append", stop)
        with pytest.raises(InterruptedError):
            run_agreement(config, tmp_path, show=_silent)
    path = tmp_path / "measurements.jsonl"
    assert len(path.read_bytes().splitlines()) == after
    first = run_agreement(config, tmp_path, show=_silent)
    assert path.read_bytes() == whole
    # Two pauses with weights, two estimators and accuracy; two windows; the accuracy at the end.
    assert len(whole.splitlines()) == 11
    if after == 8:  # finished: only read from here on
        monkeypatch.setattr(runs, "_advance", None)
        assert run_agreement(config, tmp_path, show=_silent)["rows"] == first["rows"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["agreement"].update(points=7), "points = 7"),
        (lambda c: c["agreement"].update(batches=1), "batches"),
        (lambda c: c["agreement"].update(drawz=1), "drawz"),
        (lambda c: c["agreement"].update(estimators=()), "estimators is empty"),
        (lambda c: c["agreement"].update(estimators=(BUDGET,)), "a run of their own"),
        (
            lambda c: c["agreement"].update(
                estimators=({"kind": "all_layers", "update_every": 2},)
            ),
            "update_every",
        ),
        (
            lambda c: c["agreement"].update(estimators=({"kind": "last_layers", "k": 9},)),
            "last_layers",
        ),
        (lambda c: c.update(runs=({"method": "ce"},)), "'ce'"),
    ],
)
def test_a_wrong_config_is_refused_before_anything_is_written(tmp_path, change, message):
    config = tiny()
    change(config)
    with pytest.raises(ValueError, match=message):
        run_agreement(config, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_released_gates_are_of_tensors():
    """Fails if the preset's gates are drawn per module: the authors' code has one per tensor."""
    released = {"kind": "learned_gates", "preset": "released", "candidates": 1, "lag": 2}
    study = runs.Study(parse_agreement(tiny(runs=(BUDGET, released))))
    budget, per_tensor = (study.layers_of(e) for e in study.estimators.values())
    assert len(budget) == 2  # layers
    assert len(per_tensor) == 4  # their kernels and biases
    run = study.plan.experiment.runs[1]
    assert study.step(run).problem.layers == per_tensor


def test_pauses_and_checkpoints():
    """Fails if the pauses reach the end (α is 0 there), or a checkpoint between them is forgotten."""
    config = tiny()
    config["schedule"].update(steps=10, eval_every=4, checkpoint_every=4)
    plan = parse_agreement(config)
    assert plan.steps == [0, 5]
    assert plan.stops == [0, 4, 5, 8, 10]


def test_another_config_in_the_same_folder_is_refused(tmp_path):
    plan = parse_agreement(tiny())
    kept.write_config(tmp_path, {}, fingerprint.of_config(plan.as_dict()))
    other = tiny()
    other["schedule"]["steps"] = 8
    with pytest.raises(ValueError, match="differs in schedule"):
        run_agreement(other, tmp_path)


def test_accuracy_beside_cost_by_hand(tmp_path):
    path = tmp_path / "summary.json"
    row = {"method": "mwnet", "estimator": "all_layers", "step_cost": 2.5}
    write_json(path, {"rows": [{**row, "acc_last": 0.5}, {**row, "acc_last": 0.7}]})
    [entry] = accuracies(path)
    assert (entry["name"], entry["cost"]) == ("mwnet all_layers", 2.5)
    assert entry["mean"] == pytest.approx(0.6)
    assert entry["sd"] == pytest.approx(0.2 / 2**0.5)
    with pytest.raises(ValueError, match="no such file"):
        run_agreement(tiny(), tmp_path / "other", accuracy=tmp_path / "nowhere.json")
    write_json(path, {"rows": [{}]})
    with pytest.raises(ValueError, match="method"):
        accuracies(path)


def test_the_command_names_what_is_wrong(tmp_path, capsys):
    assert main([f"--workdir={tmp_path}"]) == 2
    assert "config" in capsys.readouterr().err
    flags = ["--config=configs/agreement.py:smoke", f"--workdir={tmp_path / 'new'}"]
    assert main([*flags, "--config.agreement.points=100"]) == 1
    assert "points = 100" in capsys.readouterr().err
