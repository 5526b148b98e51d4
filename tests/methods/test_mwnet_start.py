"""Where MW-Net starts, and that a monotone one never prefers large losses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from famus_jax.methods import mwnet, mwnet_weight
from famus_jax.methods.mwnet import kept_monotone

GRID = jnp.linspace(0.0, 12.0, 200)


def drawn(theta, t):
    """A meta gradient at random that asks for smaller weights of larger losses, then for larger."""
    rng = np.random.default_rng(t)
    sign = 1 if t < 15 else -1
    ends = jnp.array([0.5, 5.0])
    asked = jax.grad(lambda theta: sign * jnp.diff(mwnet_weight(theta, ends))[0])(theta)
    return jax.tree.map(
        lambda x: x + jnp.asarray(rng.normal(size=x.shape), jnp.float32) / 20, asked
    )


@pytest.mark.parametrize("start", ["flat", "random"])
@pytest.mark.parametrize(
    "rule", [optax.sgd(0.1, momentum=0.9), optax.adam(0.1)], ids=["sgd", "adam"]
)
def test_v_never_rises(start, rule):
    """V falls or stays, whatever is asked, from the first step on. Fails if one layer's signs
    are left alone or are the wrong ones, if the start is not looked at, or if what is put back is not
    put to exactly 0. A free V rises."""
    method = mwnet(hidden=9, start=start, monotone=True, meta_optimizer=rule)
    theta = method.init(jax.random.key(0), 1)
    free, state, free_state = theta, method.meta_optimizer.init(theta), rule.init(theta)
    rose = fell = False
    for t in range(60):
        slopes = np.diff(np.asarray(mwnet_weight(theta, GRID), np.float64))
        assert slopes.max() <= 1e-6, (t, slopes.max())
        product = np.asarray(theta["kernel_1"][0]) * np.asarray(theta["kernel_2"][:, 0])
        assert product.max() <= 0
        rose |= bool(np.diff(np.asarray(mwnet_weight(free, GRID))).max() > 1e-3)
        fell |= bool(slopes.min() < -1e-3)
        updates, state = method.meta_optimizer.update(drawn(theta, t), state, theta)
        theta = optax.apply_updates(theta, updates)
        updates, free_state = rule.update(drawn(free, 15 + t), free_state)
        free = optax.apply_updates(free, updates)
    assert rose
    assert fell


def test_v_falls_by_either_sign_of_unit():
    """A unit of each sign alone makes V fall: after some loss, and up to some loss. Fails if one of the
    two kinds of unit is shut out."""
    theta = {"bias_1": jnp.array([-2.0, 2.0]), "bias_2": jnp.zeros(1)}
    theta["kernel_1"] = jnp.array([[1.0, -1.0]])
    last = mwnet_weight(
        {**theta, "kernel_2": jnp.array([[-1.0], [0.0]])}, jnp.array([0.0, 2.0, 4.0])
    )
    np.testing.assert_allclose(last, [0.5, 0.5, 1 / (1 + np.exp(2))], rtol=1e-6)
    early = mwnet_weight(
        {**theta, "kernel_2": jnp.array([[0.0], [1.0]])}, jnp.array([0.0, 2.0, 4.0])
    )
    np.testing.assert_allclose(early, [1 / (1 + np.exp(-2)), 0.5, 0.5], rtol=1e-6)
    theta["kernel_2"] = jnp.array([[-1.0], [1.0]])
    kept = kept_monotone(optax.identity())
    none = jax.tree.map(jnp.zeros_like, theta)
    updates, _ = kept.update(none, kept.init(theta), theta)
    assert all(not x.any() for x in jax.tree.leaves(updates))  # both are allowed as they are


@pytest.mark.parametrize("monotone", [True, False])
def test_a_flat_start(monotone):
    """V is exactly 1/2, and moves with the first step that lowers the large losses' weight. Fails if
    only the kernel is 0, or if the first layer starts at 0 too, where nothing could move."""
    method = mwnet(start="flat", monotone=monotone, meta_optimizer=optax.sgd(1.0))
    theta = method.init(jax.random.key(0), 1)
    assert mwnet_weight(theta, GRID).tolist() == [0.5] * len(GRID)
    gradient = jax.grad(lambda theta: mwnet_weight(theta, jnp.array([4.0])).sum())(theta)
    updates, _ = method.meta_optimizer.update(gradient, method.meta_optimizer.init(theta), theta)
    after = mwnet_weight(optax.apply_updates(theta, updates), jnp.array([0.0, 4.0]))
    assert float(after[1]) < 0.3
    assert float(after[1]) < float(after[0])


def test_a_flat_v_that_is_asked_to_rise_stays():
    """The inverse can't be learned: where the trusted examples ask for larger weights at larger losses,
    V stays flat. Fails if the step is mirrored instead of cut off, or if momentum carries V over."""
    method = mwnet(start="flat", monotone=True, meta_optimizer=optax.adam(0.1))
    theta = method.init(jax.random.key(0), 1)
    state = method.meta_optimizer.init(theta)
    for _ in range(20):
        gradient = jax.grad(lambda theta: -jnp.diff(mwnet_weight(theta, jnp.array([0.5, 5.0])))[0])(
            theta
        )
        updates, state = method.meta_optimizer.update(gradient, state, theta)
        theta = optax.apply_updates(theta, updates)
    np.testing.assert_allclose(mwnet_weight(theta, GRID), mwnet_weight(theta, GRID)[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"start": "zero"}, 'mwnet: start must be "flat" or "random"; got \'zero\''),
        ({"hidden": 0}, "mwnet: hidden, a number of units, must be 1 or more; got 0"),
    ],
)
def test_what_cannot_be_is_refused(how, words):
    with pytest.raises(ValueError, match=words):
        mwnet(**how)


def test_the_rule_needs_theta():
    rule = kept_monotone(optax.sgd(1.0))
    with pytest.raises(ValueError, match="pass θ"):
        rule.update({}, rule.init({}))
