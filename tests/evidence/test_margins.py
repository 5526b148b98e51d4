"""Margins of the given label, in NumPy and in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.evidence.margins import log_margin, margin

SCORES = np.array([[2.0, 0.5, 1.0], [2.0, 0.5, 1.0], [-3.0, -np.inf, -5.0]])
LABELS = np.array([0, 1, 2])
BY_HAND = [1.0, -1.5, -2.0]  # 2 - 1, 0.5 - 2, -5 - -3


def test_by_hand():
    """Fails if the given class takes part in the maximum, or a class at minus infinity spoils a row."""
    np.testing.assert_array_equal(margin(SCORES, LABELS), BY_HAND)


def test_jax_gives_the_same_jitted():
    """Under strict ranks, as every test runs: the classes meet [n, C] as [1, C]."""
    np.testing.assert_array_equal(
        jax.jit(margin)(jnp.asarray(SCORES), jnp.asarray(LABELS)), BY_HAND
    )


@pytest.mark.parametrize("xp", [np, jnp])
def test_leading_axes_share_the_labels(xp):
    """[K, n, C], one label for each of n: as K calls."""
    scores = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
    together = margin(xp.asarray(scores), LABELS)
    assert together.shape == (4, 3)
    np.testing.assert_array_equal(together, [margin(one, LABELS) for one in scores])


def test_log_margin_by_hand():
    """log(0.201 / 0.801): the floor is added to each probability, before the logarithm."""
    found = log_margin(np.array([[0.2, 0.8], [1.0, 0.0]]), np.array([0, 1]))
    np.testing.assert_allclose(found, [np.log(0.201 / 0.801), np.log(0.001 / 1.001)], rtol=1e-12)


def test_log_margin_of_float32_is_float64():
    assert log_margin(np.full((1, 2), 0.5, np.float32), np.array([0])).dtype == np.float64
