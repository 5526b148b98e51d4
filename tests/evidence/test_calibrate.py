"""Probabilities from scores, against scikit-learn and roots that were sought otherwise."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture

from famus_jax.evidence.calibrate import falling, mixture_posterior, with_mean
from famus_jax.evidence.decisions import fitted_to_decisions


def two_groups(n=4000, share=0.2, apart=6.0, seed=0):
    generator = np.random.default_rng(seed)
    wrong = generator.random(n) < share
    return np.where(wrong, 0.0, apart) + generator.normal(size=n), wrong


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_mixture_as_scikit_learn(share):
    """Also in other units, since values are standardized first."""
    values, wrong = two_groups(share=share)
    model = GaussianMixture(2, random_state=0, tol=1e-8, max_iter=1000).fit(values[:, None])
    expected = model.predict_proba(values[:, None])[:, np.argmin(model.means_[:, 0])]
    for scale in (1.0, 1e-4):
        found = mixture_posterior(scale * values + 7)
        assert (
            np.abs(found - expected).max() < 0.15
        )  # near the crossing, for the floor of the spread
        assert np.abs(found - expected).mean() < 2e-3
        assert ((found > 0.5) == wrong).mean() > 0.99


def test_known_right_labels_fix_the_upper_distribution():
    """Nearly all labels are wrong: without the known ones the groups would be drawn elsewhere."""
    values, wrong = two_groups(share=0.9)
    right = values[~wrong][:30]
    found = mixture_posterior(values, right)
    assert ((found > 0.5) == wrong).mean() > 0.99


@pytest.mark.parametrize("spread", [0.0, 1e-12])
def test_known_right_labels_of_one_value(spread):
    values, wrong = two_groups()
    found = mixture_posterior(values, np.full(25, 6.0) + spread * np.arange(25))
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert found[wrong].mean() > found[~wrong].mean()


def test_known_right_labels_below_the_others_turn_nothing_upside_down():
    """Trusted examples may be the hardest. Lower values must still look worse."""
    values, _ = two_groups(share=0.1)
    found = mixture_posterior(values, np.random.default_rng(0).normal(-1.0, 0.3, 30))
    assert np.corrcoef(found, values)[0, 1] < 0


@pytest.mark.parametrize("values", [np.zeros(5), np.array([0.0, 1.0]), np.array([0, 0, 0, 0, 1e6])])
def test_small_and_odd_values_give_probabilities(values):
    found = mixture_posterior(values)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= 1).all()


@pytest.mark.parametrize("mean", [0.01, 0.3, 0.9])
def test_with_mean_by_bisection(mean):
    p = np.random.default_rng(0).random(100)
    low, high = -50.0, 50.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(logit(p) + middle).mean() < mean else (low, middle)
    np.testing.assert_allclose(with_mean(p, mean), expit(logit(p) + low), rtol=1e-6)


@pytest.mark.parametrize("p", [[0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0]])
@pytest.mark.parametrize("mean", [0.0, 0.4, 1.0])
def test_with_mean_at_the_edges(p, mean):
    found = with_mean(np.array(p), mean)
    assert abs(found.mean() - mean) < 1e-5
    assert (np.diff(found) * np.diff(p) >= 0).all()


def test_falling_as_scikit_learn_with_ties():
    """Equal scores have one probability; none rises; the mean is kept."""
    generator = np.random.default_rng(0)
    score = generator.integers(0, 30, 200) / 30
    p = np.clip(1 - score + 0.3 * generator.normal(size=200), 0, 1)
    found = falling(p, score, score)
    fit = IsotonicRegression(increasing=False, y_min=0, y_max=1).fit_transform(score, p)
    np.testing.assert_allclose(found, fit, atol=1e-12)
    assert (np.diff(found[np.argsort(score, kind="stable")]) <= 1e-12).all()
    assert found.mean() == pytest.approx(p.mean())


def decisions(n=20000, seed=0):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, 2))
    prior = expit(generator.normal(-1, 1.5, n))
    odds = 0.7 + 1.3 * logit(prior) - features @ [0.8, 0.3]
    return features, prior, generator.random(n) < expit(odds)


def test_many_decisions_as_scikit_learn():
    """The penalty is nothing beside twenty thousand decisions."""
    features, prior, wrong = decisions()
    x = np.column_stack([logit(prior), -features])
    expected = LogisticRegression(C=1e9, tol=1e-8).fit(x, wrong).predict_proba(x)[:, 1]
    found = fitted_to_decisions(features, prior, np.arange(len(wrong)), wrong)
    assert np.abs(found - expected).max() < 0.01


def test_few_decisions_change_little():
    features, prior, wrong = decisions(200)
    found = fitted_to_decisions(features, prior, np.arange(2), wrong[:2])
    assert np.abs(found - prior).max() < 0.2
    none = fitted_to_decisions(features, prior, np.arange(0), wrong[:0])
    np.testing.assert_allclose(none, prior, atol=1e-4)


def test_more_evidence_never_makes_a_label_look_worse():
    """Decisions that say the opposite of the evidence: the weights stop at 0."""
    features, prior, wrong = decisions(2000)
    found = fitted_to_decisions(features, prior, np.arange(2000), ~wrong)
    better = fitted_to_decisions(
        np.concatenate([features, features + 1]),
        np.concatenate([prior, prior]),
        np.arange(2000),
        ~wrong,
    )[2000:]
    assert (better <= found + 1e-12).all()


def test_right_labels_at_the_head_do_not_make_the_rest_look_worse():
    """All that was decided is at the head of the list, and half of it is right: fewer are wrong than
    was thought, there and everywhere. Fails for a slope that gives way before the height does."""
    prior = np.concatenate([np.full(20, 0.98), np.full(80, 0.02)])
    wrong = np.arange(20) % 2 == 0
    found = fitted_to_decisions(np.zeros((100, 1)), prior, np.arange(20), wrong)
    assert (found[:20] < 0.75).all()
    assert (found[20:] <= 0.02).all()
