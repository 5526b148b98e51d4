"""Two networks as one: who reads what, and that they draw apart."""

import jax
import jax.numpy as jnp
import numpy as np
import reference as ref

from famus_jax.forward import pair


def test_each_is_the_network_alone(x64):
    """Outputs and running statistics of each by itself, and the mean of the logits.

    Fails if a network reads the other's parameters, state or images.
    """
    params = tuple(ref.bn_params(jax.random.key(k))[0] for k in (1, 2))
    states = tuple(ref.bn_params(jax.random.key(k))[1] for k in (1, 2))
    given = [ref.classification_batch(k, 6) for k in (5, 6)]
    batch = {"label": given[0]["label"], "each": tuple({"x": one["x"]} for one in given)}
    outputs, after = pair(ref.bn_mlp)(params, states, None, batch)
    alone = [ref.bn_mlp(params[k], states[k], None, given[k]) for k in (0, 1)]
    np.testing.assert_allclose(outputs["logits"], (alone[0][0] + alone[1][0]) / 2, rtol=1e-12)
    for k in (0, 1):
        np.testing.assert_array_equal(outputs["pair"][:, k], alone[k][0])
        for a, b in zip(jax.tree.leaves(after[k]), jax.tree.leaves(alone[k][1]), strict=True):
            np.testing.assert_array_equal(a, b)


def test_they_draw_apart(x64):
    """Equal networks with dropout differ. Fails if both are given one key."""
    params = ref.mlp_params(jax.random.key(1))
    batch = ref.classification_batch(2, 6)
    outputs, _ = pair(ref.dropout_mlp)((params, params), ((), ()), jax.random.key(3), batch)
    assert not jnp.array_equal(outputs["pair"][:, 0], outputs["pair"][:, 1])


def test_networks_that_give_features():
    """A dict of outputs: its logits count."""

    def forward(w, state, rng, batch):
        return {"logits": batch["x"] @ w, "features": batch["x"]}, state

    w = jnp.ones((2, 3))
    outputs, _ = pair(forward)((w, 2 * w), ((), ()), None, {"x": jnp.ones((1, 2))})
    assert outputs["pair"].tolist() == [[[2, 2, 2], [4, 4, 4]]]
    assert pair(forward) == pair(forward)
    assert hash(pair(forward)) == hash(pair(forward))
