"""The beta mixture of losses: numbers worked by hand, and scipy's densities."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from famus_jax.methods.beta_mixture import (
    first_mixture,
    fit_beta_mixture,
    moments,
    responsibilities,
    wrong_probability,
)


def two_clusters(seed=0):
    """Losses whose normalized values are of two overlapping beta distributions, and which is which."""
    draw = np.random.default_rng(seed)
    losses = 4 * np.concatenate([draw.beta(2, 8, 700), draw.beta(6, 3, 300)])
    order = draw.permutation(1000)
    return losses[order], order >= 700


def test_m_step_by_hand():
    """Responsibilities 3 and 1 for 0.2 and 0.6: mean 0.3, variance (3 · 0.01 + 0.09) / 4 = 0.03, so
    a = 0.3 (0.21 / 0.03 − 1) = 1.8 and b = 1.8 · 0.7 / 0.3 = 4.2; the density's moments are those.

    Fails if the responsibilities don't weight both moments, or the variance is of n − 1.
    """
    a, b = moments(np.array([0.2, 0.6]), np.array([3.0, 1.0]))
    assert (a, b) == pytest.approx((1.8, 4.2), rel=1e-12)
    assert stats.beta(a, b).stats() == pytest.approx((0.3, 0.03), rel=1e-12)


def test_e_step_is_bayes_rule():
    """Fails if a weight is left out, or a normalizer."""
    x = np.linspace(0.01, 0.99, 50)
    a, b, weight = np.array([0.8, 5.0]), np.array([6.0, 2.0]), np.array([0.7, 0.3])
    r = responsibilities(x, a, b, weight)
    dense = np.stack([weight[k] * stats.beta.pdf(x, a[k], b[k]) for k in (0, 1)])
    np.testing.assert_allclose(r, dense / dense.sum(0), rtol=1e-9)


def test_ten_iterations_written_out():
    """The same recipe with scipy's densities and weighted averages; then w at some losses, from them.

    Fails if losses beyond the percentiles are in the fit, or percentiles or iterations are others.
    """
    losses, _ = two_clusters()
    low, high = np.percentile(losses, 5), np.percentile(losses, 95)
    x = (losses[(losses >= low) & (losses <= high)] - low) / (high - low)
    x = x.clip(1e-4, 1 - 1e-4)
    a, b, weight = [1.0, 2.0], [2.0, 1.0], [0.5, 0.5]
    for _ in range(10):
        dense = np.stack([weight[k] * stats.beta.pdf(x, a[k], b[k]) for k in (0, 1)]).clip(1e-12)
        r = dense / dense.sum(0)
        mean = [np.average(x, weights=r[k]) for k in (0, 1)]
        var = [np.average((x - mean[k]) ** 2, weights=r[k]) for k in (0, 1)]
        a = [m * (m * (1 - m) / v - 1) for m, v in zip(mean, var)]
        b = [p * (1 - m) / m for p, m in zip(a, mean)]
        weight = r.mean(1)
    mixture = fit_beta_mixture(losses)
    for found, expected in zip(mixture, (a, b, weight, low, high), strict=False):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    some = np.array([0.3, 1.0, 1.5, 2.0, 2.4])
    dense = [weight[k] * stats.beta.pdf((some - low) / (high - low), a[k], b[k]) for k in (0, 1)]
    np.testing.assert_allclose(
        wrong_probability(mixture, jnp.asarray(some)), dense[1] / (dense[0] + dense[1]), atol=2e-5
    )


def test_it_tells_the_clusters_apart():
    losses, high = two_clusters(1)
    w = np.asarray(wrong_probability(fit_beta_mixture(losses), jnp.asarray(losses)))
    assert ((w > 0.5) == high).mean() > 0.93
    assert w.min() >= np.float32(1e-4)
    assert w.max() <= np.float32(1 - 1e-4)


def test_w_does_not_fall_for_the_largest_losses():
    """A component of small losses with a long tail would take the largest back; w stays at its peak.

    Fails without the peak.
    """
    mixture = first_mixture()._replace(
        a=np.array([0.9, 6.0]), b=np.array([1.1, 4.0]), peak=np.float64(0.7)
    )
    dense = [0.5 * stats.beta.pdf([0.7, 0.99], mixture.a[k], mixture.b[k]) for k in (0, 1)]
    by_density = dense[1] / (dense[0] + dense[1])
    assert by_density[1] < by_density[0]
    w = wrong_probability(mixture, jnp.array([0.7, 0.99, 50.0]))
    np.testing.assert_allclose(w, by_density[[0, 0, 0]], rtol=1e-4)


def test_scale_does_not_matter():
    losses, _ = two_clusters(2)
    one, two = (
        np.asarray(wrong_probability(fit_beta_mixture(x), jnp.asarray(x)))
        for x in (losses, 7 + 3 * losses)
    )
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_equal_losses_say_nothing():
    mixture = fit_beta_mixture(np.full(9, 1.3))
    np.testing.assert_allclose(
        wrong_probability(mixture, jnp.array([0.1, 1.3, 9.0])), 0.5, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([0.1, np.nan, 2.0], "1 of 3 training losses are not finite.*learning rate"),
        ([0.1], r"N >= 2; got \(1,\)"),
    ],
)
def test_losses_that_cannot_be(losses, message):
    with pytest.raises(ValueError, match=message):
        fit_beta_mixture(np.array(losses))
