"""What all runs of an experiment share: the number format goes into every forward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.files import read_json
from famus_jax.train.config import parse_config
from famus_jax.train.experiment import run_experiment
from famus_jax.train.setting import make_setting


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return {
        "data": {"data_dir": str(tmp_path_factory.mktemp("tfds")), "max_test": 50},
        "model": {"name": "mlp", "overrides": {"hidden": (8,)}},
        "schedule": {"steps": 4, "batch_size": 16, "meta_batch_size": 8, "eval_every": 2},
        "runs": [{"method": "mwnet", "estimator": {"kind": "all_layers"}}],
        "seeds": [0],
    }


def in_dtype(config, dtype):
    schedule = {**config["schedule"], "checkpoint_every": 4}
    return {**config, "model": {**config["model"], "dtype": dtype}, "schedule": schedule}


def product_formats(jaxpr):
    """The dtypes of the factors of every matrix product."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            yield from (str(x.aval.dtype) for x in eqn.invars)
        for inner in eqn.params.values():
            if hasattr(inner, "jaxpr"):
                yield from product_formats(inner.jaxpr)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["forward", "featured", "predict"])
def test_products_are_in_the_chosen_format(config, tmp_path, dtype, name):
    """In training and in evaluation; outputs and gradients are float32 in both."""
    setting = make_setting(parse_config(in_dtype(config, dtype)), tmp_path)
    params, model_state = setting.init(jax.random.key(0))
    batch = {"image": np.zeros((2, *setting.image_shape), np.float32)}

    def outputs(params):
        return getattr(setting, name)(params, model_state, jax.random.key(0), batch)[0]

    formats = list(product_formats(jax.make_jaxpr(outputs)(params).jaxpr))
    assert formats == [dtype, dtype, "float32", "float32"]  # the head is float32 in every network
    told, pull = jax.vjp(outputs, params)
    gradient = pull(jax.tree.map(jnp.ones_like, told))
    assert {x.dtype for x in jax.tree.leaves((told, gradient, params))} == {jnp.dtype("float32")}


def test_an_experiment_in_bfloat16(config, tmp_path):
    """It ends, says so in its rows, and is not the float32 one under another name."""
    losses = {}
    for dtype in ("float32", "bfloat16"):
        result = run_experiment(in_dtype(config, dtype), tmp_path / dtype, show=lambda text: None)
        assert [row["dtype"] for row in result["rows"]] == [dtype]
        finished = read_json(tmp_path / dtype / "runs/mwnet-all_layers/seed_0/result.json")
        losses[dtype] = [record["loss"] for record in finished["history"]]
    # Near, and not the same: bfloat16 has 8 bits of mantissa.
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.05)
    assert losses["bfloat16"] != losses["float32"]
