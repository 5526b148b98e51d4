"""The configs of the paper's tables: all load, say what the paper says, and their rows run."""

import pathlib
import runpy

import pytest

from famus_jax.data.long_tail import exponential_profile
from famus_jax.train.config import parse_config
from famus_jax.train.experiment import run_experiment

FOLDER = pathlib.Path(__file__).parents[2] / "configs"
TABLES = {
    name: runpy.run_path(str(FOLDER / f"{name}.py"))
    for name in ("table1", "table2", "table5", "table8", "methods", "accelerator")
}


def config(table, variant):
    return TABLES[table]["get_config"](variant).to_dict()


@pytest.mark.parametrize("table", TABLES)
def test_every_variant_loads(table):
    """Fails if a row names a method, an estimator or an argument that is not there."""
    module = TABLES[table]
    assert f"configs/{table}.py:" in module["__doc__"]
    for variant in module["VARIANTS"]:
        parsed = parse_config(config(table, variant))
        if table == "methods":
            tuning = variant.endswith(("_low", "_mid", "_high"))
            expected = (100,) if tuning else (0,) if variant == "smoke" else (0, 1, 2)
            assert parsed.seeds == expected  # tuned on a seed that no table has
            continue
        if not variant.startswith(("smoke", "tune")):
            assert parsed.seeds == (0, 1, 2)
            if variant.endswith("_mentormix"):
                assert not any(run.estimator for run in parsed.runs)
                continue
            kinds = {run.estimator["kind"] for run in parsed.runs if run.estimator}
            assert ("last_layers" if variant.startswith("digits") else "learned_gates") in kinds
            assert "all_layers" in kinds or variant == "mixmatch"
    with pytest.raises(ValueError, match="nothing: choose one of"):
        module["get_config"]("nothing")


def test_published_settings():
    """Numbers of the paper's supplement, written down apart from the configs."""
    mwnet, l2r = (parse_config(config("table1", f"cifar100_{m}_60")) for m in ("mwnet", "l2r"))
    assert (mwnet.schedule.steps, l2r.schedule.steps) == (20_000, 60_000)
    assert mwnet.schedule.milestones == (18_000, 19_000)
    assert l2r.schedule.milestones == (40_000, 50_000)
    assert (mwnet.data.noise_rate, mwnet.data.trusted_per_class) == (0.6, 10)
    assert (mwnet.model.overrides, l2r.model.overrides) == ({}, {"dropout": 0.3})
    mlc = parse_config(config("table2", "30"))
    assert (mlc.schedule.steps, mlc.schedule.finetune_steps) == (30_000, 50_000)
    assert mlc.schedule.finetune_learning_rate == pytest.approx(64 * 1e-4)
    assert (mlc.data.noise_rate, mlc.data.trusted_per_class) == (0.3, 50)
    tail = parse_config(config("table8", "cifar10_100"))
    assert tail.data.imbalance_factor == 100
    assert (tail.meta.learning_rate, tail.long_tail.defer) == (1e-5, 0.8)
    images = exponential_profile(5000 - 100 - 10, 10, 100).sum()
    assert tail.schedule.steps == pytest.approx(200 * images / 100, rel=1e-3)
    assert tail.schedule.milestones == (
        tail.schedule.steps * 8 // 10,
        tail.schedule.steps * 9 // 10,
    )
    pair = parse_config(config("table5", "cifar100_60"))
    epoch = 766  # 49,000 images in batches of 64
    assert (pair.schedule.steps, pair.schedule.milestones) == (
        300 * epoch,
        (200 * epoch, 250 * epoch),
    )
    assert (pair.schedule.learning_rate, pair.model.name) == (0.02, "preact_resnet_18")
    assert (pair.pseudo_clean.lambda_u, pair.pseudo_clean.warm_up_steps) == (150, 30 * epoch)
    assert pair.data.trusted_per_class == 0
    mixed = parse_config(config("table5", "cifar100_60_mentormix"))
    assert (mixed.schedule.steps, mixed.schedule.batch_size) == (200_000, 128)
    assert (mixed.model.name, mixed.data.noise_rate) == ("resnet_32", 0.6)
    assert (mixed.schedule.ema, pair.schedule.ema) == (0.9999, 0)
    read = {
        f"{data}_{noise}": (m.percentile, m.concentration, m.second_reweight)
        for data in ("cifar10", "cifar100")
        for noise in (40, 60)
        for m in [parse_config(config("table5", f"{data}_{noise}_mentormix")).mentormix]
    }
    assert read == {
        "cifar10_40": (0.6, 8, False),
        "cifar10_60": (0.6, 8, True),
        "cifar100_40": (0.5, 8, False),
        "cifar100_60": (0.3, 4, True),
    }
    gates = next(r.estimator for r in tail.runs if r.estimator.get("kind") == "learned_gates")
    assert gates["learning_rate"] == 0.01


SMOKES = [(t, v) for t in TABLES for v in TABLES[t]["VARIANTS"] if v.startswith("smoke")]


def shortened(table, variant, data_dir):
    small = config(table, variant)
    small["data"].update(data_dir=data_dir, max_test=50)
    small["pseudo_clean"].update(warm_up_steps=1, split_every=1)
    small["schedule"].update(
        steps=2, finetune_steps=2, eval_every=2, checkpoint_every=2, milestones=(1, 2)
    )
    return small


@pytest.mark.parametrize(("table", "variant"), SMOKES)
@pytest.mark.slow
def test_two_steps(table, variant, tmp_path):
    """Every row of every smoke variant, for two steps. Fails if one does not run at all."""
    small = shortened(table, variant, str(tmp_path / "data"))
    result = run_experiment(small, tmp_path / "work", show=str)
    assert len(result["rows"]) == len(small["runs"])
    assert all(row["steps"] <= 2 for row in result["rows"])
