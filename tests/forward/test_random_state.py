"""NNX keeps its random streams in the model state; every forward pass still draws its own numbers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

import famus_jax as famus
from famus_jax.differentiate.collectives import on_all_devices
from famus_jax.differentiate.linearize import linearize
from famus_jax.differentiate.micro_batches import micro_batched

WIDTH, N, M, HEARD = 512, 8, 6, 4
BATCH = {"image": jnp.ones((N, 3)), "label": jnp.arange(N) % 3}
META = {"image": jnp.ones((M, 3)), "label": jnp.arange(M) % 3}
KEY = jax.random.key(3)


class Net(nnx.Module):
    """Its mask is one of [WIDTH], the same for all examples, so that passes of all sizes compare."""

    def __init__(self, see=lambda *_: None):
        rngs = nnx.Rngs(0)
        self.body = nnx.Linear(3, WIDTH, rngs=rngs)
        self.drop = nnx.Dropout(0.5, broadcast_dims=(0,), rngs=rngs)
        self.head = nnx.Linear(WIDTH, 3, rngs=rngs)
        self.see = see

    def __call__(self, x):
        mask = self.drop(jnp.ones((x.shape[0], WIDTH)))
        self.see(mask)
        return self.head(self.body(x) * mask)


def test_each_pass_has_its_own_mask():
    """The training batch, the examples that are heard and the meta batch of one update: half of their
    masks agree, as of any two that were drawn independently.

    Fails if the streams are used as they are in the model state (all of it would agree).
    """
    seen = {}

    def see(mask):
        jax.debug.callback(lambda row, n=mask.shape[0]: seen.update({n: np.asarray(row)}), mask[0])

    forward, params, state = famus.nnx_forward(Net(see))
    problem = famus.problem(forward, famus.mwnet(hidden=3, start="random", monotone=False))
    weights_for = famus.reweighter(problem, famus.all_layers(examples=HEARD), step_size=0.1)
    meta = weights_for.init(KEY, params, state, BATCH, META)
    update = jax.jit(lambda meta: weights_for.update(meta, params, state, BATCH, META))
    weights, meta = update(meta)
    jax.block_until_ready(weights)
    jax.effects_barrier()
    assert set(seen) == {N, M, HEARD}
    for a, b in ((N, M), (N, HEARD), (M, HEARD)):
        assert np.mean(seen[a] == seen[b]) == pytest.approx(0.5, abs=0.12)
    before = seen[N]
    jax.block_until_ready(update(meta)[0])
    jax.effects_barrier()
    assert np.mean(seen[N] == before) == pytest.approx(0.5, abs=0.12)  # and so has each step


class Masks(nnx.Module):
    """Returns its masks: one of dropout, and one of each of three stacked streams."""

    def __init__(self):
        self.drop = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
        self.stacked = nnx.Rngs(1)["dropout"].split(3)
        self.scale = nnx.Param(jnp.ones(()))

    def __call__(self, x):
        draw = jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, (WIDTH,)))
        stacked = draw(self.stacked.key[...]).T.astype(jnp.float32)
        return {"drop": self.drop(jnp.ones((x.shape[0], WIDTH))) * self.scale, "stacked": stacked}


def values(state):
    return jax.tree.map(
        lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x,
        nnx.to_pure_dict(state),
    )


@pytest.mark.parametrize(
    "key",
    [jax.random.key, jax.random.PRNGKey, partial(jax.random.key, impl="rbg")],
    ids=["typed", "plain", "rbg"],
)
def test_by_key(key):
    """Equal `rng`, equal numbers; another one, other numbers, in stacked streams too; the state's keys
    stay and its counts advance.

    Fails if `rng` is not mixed in, replaces the streams' own keys (all would be one), or is left in
    the state, where the next step's would pile up on it.
    """
    forward, params, state = famus.nnx_forward(Masks())
    first, after = forward(params, state, key(1), BATCH)
    again, _ = jax.jit(forward)(params, state, key(1), BATCH)
    other, _ = forward(params, state, key(2), BATCH)
    later, _ = forward(params, after, key(1), BATCH)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    for name in first:
        assert np.mean(first[name] == other[name]) == pytest.approx(0.5, abs=0.12)
    assert np.mean(first["drop"] == later["drop"]) == pytest.approx(0.5, abs=0.12)
    a, b, c = first["stacked"].T
    assert np.mean(a == b) == pytest.approx(0.5, abs=0.12)
    assert np.mean(b == c) == pytest.approx(0.5, abs=0.12)
    before, now = values(state), values(after)
    np.testing.assert_array_equal(now["drop"]["rngs"]["key"], before["drop"]["rngs"]["key"])
    np.testing.assert_array_equal(now["stacked"]["key"], before["stacked"]["key"])
    assert int(now["drop"]["rngs"]["count"]) == int(before["drop"]["rngs"]["count"]) + 1


def test_without_a_key_the_streams_are_as_they_are():
    """rng None is the module's own call. Fails if None is taken for a key."""
    model = Net()
    forward, params, state = famus.nnx_forward(model)
    x = jnp.ones((N, 3))
    first, after = forward(params, state, None, BATCH)
    second, _ = forward(params, after, None, BATCH)
    np.testing.assert_allclose(first, model(x), rtol=1e-6)
    np.testing.assert_allclose(second, model(x), rtol=1e-6)  # its streams have advanced


def test_restored_and_bare_arrays():
    """A state of numpy's arrays, as checkpoints give it, and one without NNX's variables, as
    `nnx.Optimizer` hands on: the same numbers, and back in the form that went in.

    Fails if NNX writes into numpy's arrays, or variables come back in place of arrays.
    """
    forward, params, state = famus.nnx_forward(Net())
    expected, new = forward(params, state, KEY, BATCH)

    def restored(x):
        return x if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else np.asarray(x)

    for given in (jax.tree.map(restored, state), nnx.as_pure(state)):
        outputs, after = forward(params, given, KEY, BATCH)
        np.testing.assert_array_equal(outputs, expected)
        assert jax.tree.structure(after) == jax.tree.structure(given)
        assert int(jax.tree.leaves(after)[0]) == int(jax.tree.leaves(new)[0])


def linear_in_the_head(how, forward, params, state):
    """Checks J v and Jᵀ c of the head, in which the network is linear, by its own outputs."""
    layers = famus.find_layers(forward, params, state, KEY, BATCH)
    head = (layers.names.index("head"),)
    lin = how(forward, params, state, KEY, BATCH, layers)
    v = jax.tree.map(jnp.cos, layers.part(params, head))
    moved = layers.place(tuple(a + b for a, b in zip(layers.part(params, head), v)), params, head)
    expected = how(forward, moved, state, KEY, BATCH, layers).f[0] - lin.f[0]
    np.testing.assert_allclose(lin.jvp(v, head)[0], expected, rtol=1e-3, atol=1e-3)
    c = [jnp.sin(jnp.arange(3.0 * N)).reshape(N, 3)]
    pulled = sum(map(jnp.vdot, lin.vjp_part(c, head), v))
    np.testing.assert_allclose(pulled, jnp.vdot(c[0], expected), rtol=1e-3)


@pytest.mark.parametrize("count", [1, 4])
def test_products_see_the_masks_of_the_outputs(count):
    """Fails if a product runs its forward pass with other masks than the outputs had."""
    forward, params, state = famus.nnx_forward(Net())
    linear_in_the_head(micro_batched(linearize, count), forward, params, state)


def test_each_device_has_its_own_mask():
    """Two devices under `shard_map`; the state comes back alike on both.

    Fails if the streams, which lie in the model state, are alike on every device.
    """
    forward, params, state = famus.nnx_forward(Masks())
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    layers = famus.layers_by(params, lambda path: 0)
    batch = jax.tree.map(lambda x: x[:2], BATCH)  # one example each

    def drop_only(*args):
        outputs, new = forward(*args)
        return outputs["drop"], new

    @jax.jit
    @partial(jax.shard_map, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
    def run(state, batch):
        how = on_all_devices(linearize, "data")
        lin = how(drop_only, params, state, KEY, batch, layers)
        return lin.outputs, lin.model_state

    masks, new = run(state, batch)
    assert np.mean(masks[0] == masks[1]) == pytest.approx(0.5, abs=0.12)
    before, now = values(state), values(new)
    np.testing.assert_array_equal(now["drop"]["rngs"]["key"], before["drop"]["rngs"]["key"])
    assert int(now["drop"]["rngs"]["count"]) == int(before["drop"]["rngs"]["count"]) + 1
