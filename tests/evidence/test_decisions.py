"""What decisions make of the probabilities: evidence is heard where it helps."""

import numpy as np
import pytest

from famus_jax.evidence import Evidence, label_issues
from famus_jax.evidence.decisions import by_decisions, evidence_helps


def cases(strength, n=2000, decided=100, seed=0):
    """Evidence that tells wrong from right labels by so much beyond the probability before."""
    generator = np.random.default_rng(seed)
    wrong = generator.random(n) < 0.4
    features = (generator.normal(size=n) - strength * wrong)[:, None]
    prior = np.clip(0.4 + 0.1 * generator.normal(size=n), 0.05, 0.95)
    return features, prior, np.arange(decided), wrong


@pytest.mark.parametrize("seed", range(5))
def test_evidence_is_heard_where_it_helps(seed):
    """Fails if one of the two is decided by a coin, or by how well the fit tells what it has seen."""
    for strength, helps in ((2.0, True), (0.0, False)):
        features, prior, decided, wrong = cases(strength, seed=seed)
        assert evidence_helps(features, prior, decided, wrong[decided]) is helps


def test_where_it_does_not_help_the_list_keeps_its_order():
    features, prior, decided, wrong = cases(0.0)
    rows = np.arange(100, 2000)
    fit = by_decisions([features[:, 0]], prior, decided, wrong[decided], rows)
    assert not fit.heard
    assert (np.diff(fit.p[np.argsort(prior)]) >= 0).all()
    assert fit.low < wrong[rows].mean() < fit.high


def test_evidence_that_is_silent_on_wrong_labels_is_left_out():
    """What was mended has no evidence of its own: its zeros would teach that wrong labels look average.

    Fails if such evidence is taken for the mean.
    """
    features, prior, decided, wrong = cases(2.0)
    told = np.where(np.isin(np.arange(2000), decided) & wrong, np.nan, features[:, 0])
    rows = np.arange(100, 2000)
    fit = by_decisions([told], prior, decided, wrong[decided], rows)
    assert not fit.heard
    assert by_decisions([features[:, 0]], prior, decided, wrong[decided], rows).heard


def test_ties_keep_the_order_of_the_score():
    """Probabilities before decisions are equal in places; the score tells what comes first there."""
    generator = np.random.default_rng(0)
    margin, n = generator.normal(size=400), 400
    wrong = generator.random(n) < 0.5
    of_label = 1 / (1 + np.exp(-margin))
    p, labels = np.column_stack([of_label, 1 - of_label]), np.zeros(n, int)
    labels[::2] = 1
    p[::2] = p[::2, ::-1]
    evidence, at = Evidence({"held_out": margin}, p), np.arange(n) < 60
    before = label_issues(evidence, labels)
    after = label_issues(evidence, labels, trusted=at & ~wrong, known_wrong=at & wrong)
    np.testing.assert_array_equal(np.argsort(before.rank[60:]), np.argsort(after.rank[60:]))
