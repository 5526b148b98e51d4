"""Rows of two networks that are trained as one: what a config says of them, and what a run leaves."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax import parallel
from famus_jax.predictor import load_predictor
from famus_jax.train.config import parse_config
from famus_jax.train.experiment import run_experiment
from famus_jax.train.method_values import Facts
from famus_jax.train.methods import METHODS
from famus_jax.train.placement import Placement


def config(data_dir, method, **sections):
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
        "schedule": {"steps": 4, "batch_size": 16, "eval_every": 2, "checkpoint_every": 4},
        "runs": [{"method": method}],
        **sections,
    }


@pytest.mark.parametrize(
    ("section", "kept"),
    [({}, 6), ({"noise_rate": 0.2}, 8), ({"noise_rate": 0.2, "ramp": 0.1}, 9)],
)
def test_co_teaching_of_a_config(section, kept):
    """At step 50 of 1,000: of ten examples as many as the noise of the data, or the one given, leaves,
    after a ramp of 5 % of the steps, or half-way through one of 10 %."""
    parsed = parse_config(config("", "co_teaching", co_teaching=section, schedule={"steps": 1000}))
    method = METHODS["co_teaching"].build(parsed, Facts(2, noise_rate=parsed.data.made_noise))
    batch = {"label": jnp.zeros(10, jnp.int32), "step": np.int32(50)}
    rising = jnp.stack([jnp.zeros(10), jnp.arange(10.0)], 1)  # losses
    logits = jnp.stack([rising, rising], 1)
    weights = method.loss((), {"pair": logits}, batch)[1]
    assert (np.asarray(weights) > 0).tolist() == [i < kept for i in range(10)]


@pytest.mark.parametrize("data", [{"noise": "none"}, {"noise_table": "labels.csv"}])
def test_co_teaching_must_know_the_noise(data):
    with pytest.raises(ValueError, match=r"set co_teaching\.noise_rate to their share"):
        parse_config(config("", "co_teaching", data=data))
    given = {"co_teaching": {"noise_rate": 0.1}}
    assert parse_config(config("", "co_teaching", data=data, **given)).co_teaching.noise_rate == 0.1


@pytest.mark.parametrize(
    ("method", "cost"),
    [pytest.param("co_teaching", 2, marks=pytest.mark.slow), ("elr_plus", 2 + 2 / 3)],
)
def test_two_networks_decide(method, cost, tmp_path):
    """Both are in the predictor, and differ; the loss is one network's, the cost that of both.

    Fails if one network is evaluated alone, or both started from one draw.
    """
    run_experiment(config(str(tmp_path / "data"), method), tmp_path / "work", show=str)
    run = tmp_path / "work" / "runs" / method / "seed_0"
    one, two = load_predictor(run / "predictor").members
    kernels = [x for x in jax.tree.leaves(jax.tree.map(np.ndim, one[0])) if x == 2]
    assert kernels
    same = jax.tree.map(lambda a, b: np.ndim(a) == 2 and np.array_equal(a, b), one[0], two[0])
    assert not any(jax.tree.leaves(same))
    first = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    assert first["cost"] == pytest.approx(cost)
    assert 1.5 < first["loss"] < 3.5  # a guess has log 10 = 2.3


@pytest.mark.slow
@pytest.mark.parametrize("method", ["co_teaching", "elr_plus", "m_correction"])
def test_on_many_devices(method, tmp_path):
    """Losses of four devices are those of one, with a moving average kept; also of the row of one
    network whose mixture is fitted to the whole training set.

    Fails if devices choose, mix or average each for itself.
    """
    told = []
    for devices in (1, 4):
        mesh = parallel.data_mesh(jax.devices()[:devices])
        small = config(str(tmp_path / "data"), method)
        small["schedule"]["ema"] = 0.997
        work = tmp_path / f"{devices}"
        run_experiment(small, work, show=str, placement=Placement(mesh))
        lines = (work / "runs" / method / "seed_0" / "metrics.jsonl").read_text().splitlines()
        told.append([[json.loads(line)[key] for key in ("loss", "cost")] for line in lines])
    np.testing.assert_allclose(told[0], told[1], rtol=1e-4)
