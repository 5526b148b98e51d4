"""Every method as a row of an experiment, and the objectives that configs stand for."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref

from famus_jax import l2r
from famus_jax.train.config import parse_config
from famus_jax.train.data_setup import SeedData
from famus_jax.train.experiment import run_experiment
from famus_jax.train.method_values import Facts
from famus_jax.train.methods import METHODS, MethodSpec

EXACT = {"kind": "all_layers", "examples": 4}
HEAD = {"kind": "last_layers", "k": 1, "virtual_step": "active"}
ROWS = (
    {"method": "ce"},
    {"method": "cb_focal"},
    {"method": "mlc_after_ce", "estimator": HEAD},
    {"method": "meta_label_correction", "estimator": HEAD},
)
PLAIN = ("ce", "cb_focal")
LDAM_ROWS = (
    {"method": "ldam_drw"},
    {"method": "mwnet_ldam_drw", "estimator": HEAD},
)


def tiny(data_dir, rows, **overrides):
    return {
        "data": {
            "noise_rate": 0.4,
            "validation_per_class": 5,
            "data_dir": data_dir,
            "max_test": 100,
        },
        "model": {"name": "mlp", "overrides": {"hidden": (8,), **overrides}},
        "schedule": {
            "steps": 4,
            "batch_size": 16,
            "meta_batch_size": 8,
            "finetune_steps": 4,
            "eval_every": 2,
            "checkpoint_every": 4,
        },
        "runs": list(rows),
    }


@pytest.mark.slow
def test_rows(tmp_path):
    """Each trains, and says how far it believed the labels if it has a say in that.

    Fails if a method's loss is dropped on the way (two plain rows would be one, bit for bit), if the
    step's number does not reach a deferred loss, or a dict of outputs the metrics.
    """
    rows = run_experiment(tiny(str(tmp_path), ROWS), tmp_path / "a", show=str)["rows"]
    rows += run_experiment(
        tiny(str(tmp_path), LDAM_ROWS, cosine_head=True), tmp_path / "b", show=str
    )["rows"]
    assert [row["method"] for row in rows] == [run["method"] for run in ROWS + LDAM_ROWS]
    auroc = {row["method"]: row["weight_auroc"] for row in rows}
    assert auroc["mlc_after_ce"] is None
    assert 0 <= auroc["meta_label_correction"] <= 1
    assert 0 <= auroc["mwnet_ldam_drw"] <= 1
    assert {row["method"]: row["steps"] for row in rows}["mlc_after_ce"] == 4
    metrics = [tmp_path / "a" / "runs" / m / "seed_0" / "metrics.jsonl" for m in PLAIN]
    losses = {json.loads(path.read_text().splitlines()[0])["loss"] for path in metrics}
    assert len(losses) == len(PLAIN)


def test_a_class_without_labels_is_found_before_the_first_run(tmp_path, monkeypatch):
    """Fails if it were found when the second row starts."""
    monkeypatch.setattr(SeedData, "class_counts", property(lambda data: (0, *range(1, 10))))
    with pytest.raises(ValueError, match=r"every class needs at least one.*\(0, 1,"):
        run_experiment(tiny(str(tmp_path), ROWS[:2]), tmp_path / "a", show=str)
    assert not (tmp_path / "a" / "runs").exists()


def objective(method, **sections):
    parsed = parse_config({"runs": [{"method": "ce"}], "schedule": {"steps": 1000}, **sections})
    return METHODS[method].made(parsed, Facts(3, (16, 4, 1), 4, 21))


def test_objectives_of_a_config():
    """Settings reach the losses; DRW starts after 80 % of the steps. Numbers by hand."""
    logits, batch = jnp.asarray([[0.5, 0.0, 0.0]]), {"label": jnp.asarray([0])}
    p = float(np.exp(0.5) / (np.exp(0.5) + 2))
    focal = objective("focal", long_tail={"gamma": 2.0})
    assert float(focal.loss((), logits, batch)[0]) == pytest.approx(
        -((1 - p) ** 2) * np.log(p), rel=1e-5
    )
    small = {"long_tail": {"scale": 2.0}}
    expected = np.log(1 + 2 * np.exp(-0.5))  # margin 1/4
    assert float(objective("ldam", **small).loss((), logits, batch)[0]) == pytest.approx(
        expected, rel=1e-5
    )
    two = jnp.concatenate([logits, logits])
    drw, weights = objective("ldam_drw", **small), []
    for step in (799, 800):
        labels = {"label": jnp.asarray([0, 2]), "step": jnp.asarray(step, jnp.int32)}
        losses = drw.example_loss(two, labels)
        plain = objective("ldam", **small).example_loss(two, labels)
        weights.append(np.asarray(losses / plain))
    np.testing.assert_allclose(weights[0], [1, 1], rtol=1e-6)
    rare = (1 - 0.9999**16) / (1 - 0.9999)  # how much more the class of 1 counts than that of 16
    np.testing.assert_allclose(weights[1], [2 / (1 + rare), 2 * rare / (1 + rare)], rtol=1e-4)
    learned = objective("mwnet_ldam_drw", **small)
    expected = float(ref.cross_entropy(2 * logits, batch).mean())
    assert float(learned.l_val(logits, batch)) == pytest.approx(expected, rel=1e-5)
    assert not objective("mlc", transition={"carry": True}).reset_each_batch
    theta = objective("meta_label_correction", label_correction={"hidden": 7}).init(
        jax.random.key(0), 5
    )
    assert theta["dense_1"]["kernel"].shape == (4 + 128, 7)


def test_every_method_can_be_built():
    """Fails if a row says that it learns and does not, or two share a compiled step
    (which goes by the method's name) that should not."""
    names = {}
    for method, row in METHODS.items():
        if row.batches == "mixed":  # made where two networks train
            continue
        made = objective(method)
        assert made.has_theta == row.learns
        assert (made.memory is not None and made.memory.per_example) == row.remembers
        names.setdefault(made.name, set()).add(row.build)
    assert all(len(kinds) == 1 for kinds in names.values())


def test_a_new_method_is_one_row(tmp_path, monkeypatch):
    """Fails if a method has to be named anywhere else in train."""
    built = []

    def build(values, facts):
        built.append((values.meta.hidden, facts.num_classes))
        return l2r()._replace(name="mine")

    monkeypatch.setitem(METHODS, "mine", MethodSpec("mine", build=build, learns=True))
    rows = ({"method": "mine", "estimator": HEAD},)
    with pytest.raises(ValueError, match="'mine' learns weights: give it an estimator"):
        parse_config(tiny(str(tmp_path), ({"method": "mine"},)))
    result = run_experiment(tiny(str(tmp_path), rows), tmp_path / "a", show=str)
    assert [row["method"] for row in result["rows"]] == ["mine"]
    assert set(built) == {(100, 10)}
