"""The mixture model of losses, and the split with its fallbacks."""

import numpy as np
import pytest

from famus_jax.train.two_networks.mixture import clean_probability, split_clean


def two_clusters(seed=0):
    rng = np.random.default_rng(seed)
    losses = np.concatenate([rng.normal(0.2, 0.1, 60), rng.normal(3.0, 0.4, 40)])
    order = rng.permutation(100)
    return losses[order], order >= 60


def normal(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def test_probability_is_bayes_rule_on_separated_clusters():
    """Fails if the component is the one with the larger mean, or the losses aren't scaled to [0, 1].

    On clusters this far apart every example belongs to one: the fit is their moments, with 5e-4 on
    the variances of the scaled losses.
    """
    losses, high = two_clusters()
    scaled = (losses - losses.min()) / (losses.max() - losses.min())
    parts = [(part.mean(), part.var() + 5e-4, len(part)) for part in (scaled[~high], scaled[high])]
    low, up = (count * normal(scaled, mean, var) for mean, var, count in parts)
    np.testing.assert_allclose(clean_probability(losses), low / (low + up), atol=1e-4)


def test_probability_does_not_depend_on_scale_or_order():
    losses, _ = two_clusters(1)
    p = clean_probability(losses)
    np.testing.assert_allclose(clean_probability(7 + 3 * losses), p, atol=1e-5)
    assert ((p > 0.01) & (p < 0.99)).sum() < 50


def test_equal_losses_say_nothing():
    assert (clean_probability(np.full(5, 1.3)) == 0.5).all()


def test_losses_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match=r"1 of 3 training losses are not finite.*learning_rate"):
        clean_probability(np.array([0.1, np.nan, 2.0]))


def test_split_keeps_the_threshold_where_it_can():
    p, losses = np.array([0.9, 0.2, 0.6, 0.5]), np.array([1.0, 4.0, 2.0, 3.0])
    split = split_clean(p, losses, threshold=0.5, at_least=2)
    assert split.clean.tolist() == [True, False, True, False]
    assert not split.clamped


@pytest.mark.parametrize(
    ("p", "clean"),
    [
        (
            [0.9, 0.9, 0.9, 0.9, 0.9],
            [True, False, True, True, False],
        ),  # all right: two largest losses go
        (
            [0.1, 0.1, 0.1, 0.1, 0.1],
            [False, False, True, True, False],
        ),  # none: the two smallest stay
    ],
)
def test_degenerate_splits_are_filled_up_by_loss(p, clean):
    """Fails if a part is left empty, or is filled up from the wrong end."""
    losses = np.array([2.0, 9.0, 0.5, 1.0, 3.0])
    split = split_clean(np.array(p), losses, threshold=0.5, at_least=2)
    assert split.clean.tolist() == clean
    assert split.clamped


def test_a_split_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"4 training examples can't be split.*at most 2"):
        split_clean(np.ones(4), np.ones(4), threshold=0.5, at_least=3)
