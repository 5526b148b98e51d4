"""ELR+ of a run: whose average says what, and what is mixed with what."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.train.config import parse_config
from famus_jax.train.peer_targets import PeerTargets

N, CLASSES = 8, 3


def forward(params, model_state, rng, batch):
    """Logits that tell whose they are: of the parameters and of the unmixed images."""
    return params[None] * batch["image"].sum(1, keepdims=True), model_state + 1


def state():
    averages = jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 2.0, 0.0])
    last = jax.tree.map(lambda x: x + 50, averages)
    return SimpleNamespace(
        params=last, model_state=(jnp.zeros(()),) * 2, average=(averages, (jnp.zeros(()),) * 2)
    )


def batch(step=0):
    return {
        "image": jnp.eye(N),
        "label": jnp.arange(N, dtype=jnp.int32) % CLASSES,
        "index": jnp.arange(N) + 10,
        "step": np.int32(step),
    }


def test_the_peers_average_speaks():
    """Of the unmixed images. Fails if a network is told what its own average says, or the last
    parameters do, or the mixed images are looked at."""
    each = PeerTargets(forward, CLASSES, 1.0, seed=3)(state(), batch())["each"]
    for k, logits in ((0, [0.0, 2.0, 0.0]), (1, [1.0, 0.0, 0.0])):
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(each[k]["peer"], np.tile(expected, (N, 1)), rtol=1e-6)


def test_each_has_a_mixture_of_its_own():
    """s x_i + (1 − s) x_j of images and of labels, s ≥ ½, j and s as they are told; row i of the
    mixed unit images is how much of each example is in it.

    Fails if labels are mixed otherwise than images, or both networks share partners.
    """
    made = PeerTargets(forward, CLASSES, 1.0, seed=3)(state(), batch())
    labels = np.eye(CLASSES)[np.arange(N) % CLASSES]
    for own in made["each"]:
        share, partner = float(own["share"]), np.asarray(own["partner"])
        assert 0.5 <= share <= 1
        assert sorted(partner) == list(range(N))
        mixture = share * np.eye(N) + (1 - share) * np.eye(N)[partner]
        np.testing.assert_allclose(own["image"], mixture, atol=1e-6)
        np.testing.assert_allclose(own["target"], mixture @ labels, atol=1e-6)
    one, two = made["each"]
    assert not np.array_equal(one["partner"], two["partner"])
    assert "image" not in made
    np.testing.assert_array_equal(made["index"], batch()["index"])


def test_step_and_seed_decide():
    """Asked again: the same bits; at another step or by another seed: others."""
    first, again, step, seed = (
        np.asarray(PeerTargets(forward, CLASSES, 1.0, s)(state(), batch(t))["each"][0]["image"])
        for s, t in ((3, 4), (3, 4), (3, 5), (4, 4))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, step)
    assert not np.array_equal(first, seed)


def test_shapes_before_there_is_a_state():
    """Fails if a step would be compiled twice."""
    maker, start = PeerTargets(forward, CLASSES, 1.0, 3), state()
    said = maker.first(start.params, start.model_state, batch())
    made = maker(start, batch())
    assert jax.tree.map(lambda x: (x.shape, x.dtype), said) == jax.tree.map(
        lambda x: (x.shape, x.dtype), made
    )


def test_there_is_one_average():
    """The published networks are evaluated themselves; with `schedule.ema`, their averages are."""
    runs = {"runs": [{"method": "elr_plus"}]}
    assert parse_config(runs).average_decay("elr_plus") == 0.997
    assert parse_config({**runs, "schedule": {"ema": 0.997}}).average_decay("elr_plus") == 0.997
    with pytest.raises(ValueError, match=r"schedule\.ema = 0\.9, but.*set both alike"):
        parse_config({**runs, "schedule": {"ema": 0.9}})
