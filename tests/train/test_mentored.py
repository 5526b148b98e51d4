"""MentorMix of a run: what is mixed with what, by which curriculum; state and step decide it."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.methods.mentormix import Curriculum
from famus_jax.train.mentored import MentorMixer
from famus_jax.train.method_values import MentorMixConfig

N, CLASSES = 8, 2
# Image i is the unit vector i, and the network takes these for its loss: -log of the label's share.
LOSSES = np.array([0.1, 2.0, 0.2, 3.0, 0.3, 4.0, 0.4, 5.0])
COLD = MentorMixConfig(percentile=0.5, temperature=1e-3)


def forward(params, model_state, rng, batch):
    """Logits whose cross-entropy at label 0 is the example's number; what it changes must be lost."""
    p = jnp.exp(-batch["image"] @ params)
    return jnp.log(jnp.stack([p, 1 - p], 1)), model_state + 1


def batch(step):
    return {
        "image": jnp.eye(N),
        "label": jnp.zeros(N, jnp.int32),
        "index": jnp.arange(N) + 10,
        "step": np.int32(step),
    }


def state(average=0.0, steps=0):
    given = Curriculum(jnp.float32(average), jnp.int32(steps))
    memory = SimpleNamespace(given=given)
    return SimpleNamespace(
        params=jnp.asarray(LOSSES, jnp.float32),
        model_state=jnp.zeros(()),
        meta=SimpleNamespace(memory=memory),
    )


def mixer(seed=3, burn_in=0, config=COLD):
    return MentorMixer(forward, CLASSES, config, burn_in, seed)


def test_the_small_losses_are_taken_and_are_the_partners():
    """The median is 0.4 or 2, the average 0.45 or 1.25 with it: every second example is taken.

    Fails if partners are drawn from what the curriculum leaves out, the larger share is the other's, or
    label and index don't go with it.
    """
    mixed = mixer()(state(average=0.5), batch(0))
    shares = np.asarray(mixed["image"], np.float64)  # row i: how much of each example
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    assert 0.4 < float(mixed["curriculum"].average) < 2
    taken = LOSSES < 1
    own = np.diagonal(shares)
    assert (own[taken] >= 0.5).all()
    assert (own[~taken] < 0.5).all()
    partners = shares - np.diag(own)
    assert partners[:, ~taken].max() == 0
    larger = shares.argmax(1)
    np.testing.assert_array_equal(mixed["index"], larger + 10)
    assert set(larger) <= set(np.flatnonzero(taken))


def test_targets_are_mixed_as_images_are():
    """Fails if the labels get other partners or shares."""
    given = {**batch(0), "label": jnp.arange(N, dtype=jnp.int32) % CLASSES}
    mixed = mixer()(state(average=0.5), given)
    expected = np.asarray(mixed["image"]) @ np.eye(CLASSES)[np.arange(N) % CLASSES]
    np.testing.assert_allclose(mixed["target"], expected, atol=1e-6)
    np.testing.assert_array_equal(mixed["label"], (np.asarray(mixed["index"]) - 10) % CLASSES)


def test_the_burn_in_is_mixup():
    """All are taken: each counts for at least half of its mixture, whatever its loss.

    Fails if the burn-in is counted by anything but the curriculum's own steps.
    """
    for steps, all_taken in ((1, True), (2, False)):
        mixed = mixer(burn_in=2)(state(0.5, steps), batch(7))
        own = np.diagonal(np.asarray(mixed["image"]))
        assert (own >= 0.5).all() == all_taken
        assert int(mixed["curriculum"].steps) == steps + 1


def test_step_and_seed_decide():
    """Asked again: the same bits; at another step or by another seed: others."""
    first, again, step, seed = (
        np.asarray(m(state(0.5), batch(t))["image"])
        for m, t in ((mixer(), 4), (mixer(), 4), (mixer(), 5), (mixer(seed=4), 4))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, step)
    assert not np.array_equal(first, seed)


def test_shapes_before_there_is_a_state():
    """What `first` says is what a mixed batch is. Fails if a step would be compiled twice."""
    one, start = mixer(), state()
    said = one.first(start.params, start.model_state, batch(0))
    made = one(start, batch(0))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), said) == jax.tree.map(
        lambda x: (x.shape, x.dtype), made
    )


@pytest.mark.parametrize("value", [{"percentile": 70}, {"concentration": 0}, {"burn_in": 10}])
def test_settings_that_cannot_be(value):
    from famus_jax.train.config import parse_config

    name = next(iter(value))
    config = {"runs": [{"method": "mentormix"}], "mentormix": value}
    with pytest.raises(ValueError, match=rf"mentormix\.{name} must"):
        parse_config(config)
