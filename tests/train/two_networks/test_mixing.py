"""Soft targets and MixUp, against numbers worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.train.two_networks.mixing import (
    co_guess,
    co_refine,
    mix_training_batch,
    mixup,
    sharpen,
)


def test_sharpen_by_hand():
    """(0.6, 0.4) at T = 1/2: 0.36 and 0.16 over 0.52. Fails if the power is T."""
    np.testing.assert_allclose(sharpen(jnp.array([[0.6, 0.4]]), 0.5), [[9 / 13, 4 / 13]], rtol=1e-6)
    for temperature in (0.1, 0.02, 0.001):  # fails if 0.01^50 underflows and 0 / 0 is NaN
        even = sharpen(jnp.full((1, 100), 0.01), temperature)
        np.testing.assert_allclose(even, np.full((1, 100), 0.01), rtol=1e-4)
    np.testing.assert_allclose(sharpen(jnp.array([[0.6, 0.4]]), 1.0), [[0.6, 0.4]], rtol=1e-6)


def test_co_refine_by_hand():
    """w = 1: the label; w = 0: the prediction; w = 1/2 of (1, 0) and (.2, .8): (.6, .4)."""
    labels = jnp.array([[1.0, 0.0]] * 3)
    predictions = jnp.array([[0.2, 0.8]] * 3)
    targets = co_refine(labels, jnp.array([1.0, 0.0, 0.5]), predictions, 1.0)
    np.testing.assert_allclose(targets, [[1, 0], [0.2, 0.8], [0.6, 0.4]], atol=1e-6)
    halved = co_refine(labels[2:], jnp.array([0.5]), predictions[2:], 0.5)
    np.testing.assert_allclose(halved, [[9 / 13, 4 / 13]], rtol=1e-6)


def test_co_guess_by_hand():
    parts = [jnp.array([[0.9, 0.1]]), jnp.array([[0.3, 0.7]])]
    np.testing.assert_allclose(co_guess(parts, 0.5), [[9 / 13, 4 / 13]], rtol=1e-6)


def test_mixup_is_one_convex_combination_that_keeps_the_larger_half():
    """The same λ >= 1/2 and the same partner for images and targets. Fails if they differ."""
    n = 6
    images, targets = jnp.eye(n)[:, :, None], 10 * jnp.eye(n)
    for seed in range(5):
        mixed, target = mixup(jax.random.key(seed), images, targets, 1.0)
        np.testing.assert_allclose(target, 10 * mixed[:, :, 0], rtol=1e-5)
        np.testing.assert_allclose(mixed.sum((1, 2)), 1, rtol=1e-5)
        own = np.diagonal(np.asarray(mixed[:, :, 0]))
        assert (own >= 0.5).all()
        alone = own[own < 1 - 1e-6]
        np.testing.assert_allclose(alone, np.full(len(alone), own.min()), rtol=1e-5)


def test_mixup_of_zero_does_not_mix():
    images, targets = jnp.ones((3, 2)), jnp.eye(3)
    assert mixup(jax.random.key(0), images, targets, 0.0) == (images, targets)
    nearly, _ = mixup(jax.random.key(0), jnp.eye(3), targets, 1e-4)  # Beta(a -> 0): λ -> 0 or 1
    np.testing.assert_allclose(nearly, jnp.eye(3), atol=1e-3)


def test_one_view_after_the_other():
    """Images, targets and what is labeled, in one order. Fails if they are put together in another, or
    a view gets another one's targets."""
    x, u = [jnp.full((2, 1), 1.0), jnp.full((2, 1), 2.0)], [jnp.full((2, 1), 3.0)]
    targets = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[0.5, 0.5], [0.25, 0.75]])
    batch = mix_training_batch(jax.random.key(0), x, targets[0], u, targets[1], 0.0)
    assert batch["image"][:, 0].tolist() == [1, 1, 2, 2, 3, 3]
    assert batch["labeled"].tolist() == [1, 1, 1, 1, 0, 0]
    np.testing.assert_array_equal(batch["target"][::2], [[1, 0], [1, 0], [0.5, 0.5]])
    np.testing.assert_array_equal(batch["target"][1::2], [[0, 1], [0, 1], [0.25, 0.75]])
