"""What can't work on many devices is refused when traced, with the way out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref
from jax.sharding import PartitionSpec as P

from famus_jax import (
    all_layers,
    mwnet,
    parallel,
    problem,
    reweighter,
    stateless_forward,
)
from famus_jax.train.placement import Placement
from famus_jax.train.two_networks.runs import TwoNetworkRuns

PARAMS = ref.mlp_params(jax.random.key(1), dtype=jnp.float32)
BATCH = ref.classification_batch(2, 16, dtype=jnp.float32)
META = ref.classification_batch(3, 8, dtype=jnp.float32)


def scalar(params, batch):
    logits = ref.mlp(params, (), None, batch)[0]
    return {"logits": logits, "penalty": (logits**2).sum()}


def traced(estimator=None, forward=ref.mlp, axis="data", mapped=True):
    named = problem(forward, mwnet(hidden=3, start="random", monotone=False), axis=axis)
    weigh = reweighter(named, estimator or all_layers(), step_size=0.1)
    state = weigh.init(jax.random.key(0), PARAMS, (), BATCH, META)

    def run(state, params, batch, meta_batch):
        return weigh.update(state, params, (), batch, meta_batch)[1]

    if mapped:
        mesh = parallel.data_mesh(jax.devices()[:4])
        specs = (P(), P(), P("data"), P("data"))
        run = jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=P())
    jax.eval_shape(run, state, PARAMS, BATCH, META)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axis": None}, "pass axis='data'"),
        ({"mapped": False}, "inside jax.shard_map or jax.pmap"),
        ({"estimator": all_layers(examples=2)}, "use examples=4"),
        ({"forward": stateless_forward(scalar)}, "one number per example"),
    ],
    ids=["axis forgotten", "axis without devices", "uneven part", "scalar output"],
)
def test_steps(options, message):
    """Fails if devices silently learn from their own share alone, or an error names no way out."""
    with pytest.raises(ValueError, match=message):
        traced(**options)


def test_a_network_per_device_is_no_mistake():
    """Parameters that are a device's own need no axis. Fails if they are refused."""
    weigh = reweighter(
        problem(ref.mlp, mwnet(hidden=3, start="random", monotone=False)),
        all_layers(),
        step_size=0.1,
    )
    state = weigh.init(jax.random.key(0), PARAMS, (), BATCH, META)

    def run(params, batch, meta_batch):
        params = jax.tree.map(lambda x: x[0], params)
        return weigh.update(state, params, (), batch, meta_batch)[0]

    stacked = jax.tree.map(lambda x: jnp.stack([x] * 4), PARAMS)
    mesh = parallel.data_mesh(jax.devices()[:4])
    mapped = jax.shard_map(run, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    assert jax.eval_shape(mapped, stacked, BATCH, META).shape == (16,)


def test_batches():
    """Fails if an uneven batch reaches the devices."""
    mesh = parallel.data_mesh(jax.devices()[:4])
    with pytest.raises(ValueError, match="a multiple of 4"):
        parallel.shard_batch(np.zeros((6, 2)), mesh)
    with pytest.raises(ValueError, match="among 4 devices"):
        parallel.stacked(np.zeros((6, 2)), 4)
    with pytest.raises(ValueError, match="schedule.batch_size = 6"):
        Placement(mesh).check({"schedule.batch_size": 6})


def test_two_networks():
    """Fails if they start on many devices and end somewhere inside."""

    class Setting:
        placement = Placement(parallel.data_mesh())

    class Run:
        method = "famus"

    with pytest.raises(ValueError, match="--devices"):
        TwoNetworkRuns(Setting()).check(Run())


def test_sharded_state():
    """Large arrays along their largest axis that the devices divide; the others, and keys, copied.

    Fails if an axis is chosen that they do not divide.
    """
    mesh = parallel.data_mesh(jax.devices()[:4])
    shapes = {"kernel": (3, 3, 64, 128), "square": (64, 64), "odd": (129, 127), "small": (4, 4)}
    tree = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    specs = {k: v.spec for k, v in parallel.sharded(tree, mesh, min_size=100).items()}
    assert specs == {
        "kernel": P(None, None, None, "data"), "square": P(None, "data"), "odd": P(), "small": P(),
    }  # fmt: skip
    state = {"w": jnp.zeros((64, 8)), "key": jax.random.key(0)}
    placed = parallel.place(state, parallel.sharded(state, mesh, min_size=100))
    assert placed["w"].addressable_shards[0].data.shape == (16, 8)
    assert optax.tree.get(placed, "key").sharding.is_fully_replicated
