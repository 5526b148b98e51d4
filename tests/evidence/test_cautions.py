"""What is said to the reader of a list."""

import numpy as np
import pytest

from famus_jax.evidence import Evidence, label_issues
from famus_jax.evidence.cautions import decided_of
from famus_jax.evidence.decisions import fitted_to_decisions, interval_by_decisions
from famus_jax.evidence.margins import log_margin


def test_decisions_beside_what_was_expected():
    """Of ten labels 1 + 4 x 0.25 = 2 are expected to be wrong, give or take √(4 x 3/16)."""
    prior = np.array([1.0] + [0.25] * 4 + [0.0] * 5)
    score = np.linspace(0, 1, 10)
    found = decided_of(prior, score, np.arange(10) < 9, np.linspace(0, 1, 100))
    assert (found.decisions, found.wrong, found.elsewhere) == (10, 9, 5)
    assert found.expected == pytest.approx(2)
    assert found.spread == pytest.approx(np.sqrt(0.75))
    assert found.contradicts
    assert not found.one_sided


@pytest.mark.parametrize(("wrong", "contradicts"), [(50, False), (59, False), (75, True)])
def test_chance_is_no_contradiction(wrong, contradicts):
    """A hundred labels, of which fifty are expected to be wrong, give or take five."""
    found = decided_of(np.full(100, 0.5), np.ones(100), np.arange(100) < wrong, np.zeros(2))
    assert found.contradicts is contradicts


def rule_made(n=1000):
    """Half of the labels are wrong by a rule that the network has learned, with much doubt."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, n)
    wrong = generator.random(n) < 0.5
    labels = np.where(wrong, (truth + 1) % 3, truth)
    logits = (2.5 - 0.7 * wrong)[:, None] * np.eye(3)[labels] + generator.normal(size=(n, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return Evidence({"held_out": log_margin(p, labels)}, p), labels, wrong


def test_decisions_drawn_at_random_give_the_share_and_its_interval():
    """Fails if the share is the mixture's, if the interval is (it ends far below), or if nothing is
    said."""
    evidence, labels, wrong = rule_made()
    before = label_issues(evidence, labels)
    assert before.summary.share_high < 0.4
    at = np.isin(np.arange(1000), np.random.default_rng(1).permutation(1000)[:100])
    found = label_issues(evidence, labels, trusted=at & ~wrong, known_wrong=at & wrong).summary
    assert found.share_wrong == pytest.approx(0.5, abs=0.1)
    assert found.share_low < 0.5 < found.share_high
    assert found.share_high - found.share_low < 0.3
    assert any("now follow the decisions" in said for said in found.warnings)


def test_decisions_about_the_head_alone_leave_the_rest_open():
    """The interval reaches as far as the share among the decided ones, and the reader is told."""
    evidence, labels, wrong = rule_made()
    at = label_issues(evidence, labels).rank <= 60
    found = label_issues(evidence, labels, trusted=at & ~wrong, known_wrong=at & wrong).summary
    assert any("drawn at random" in said for said in found.warnings)
    assert found.share_high > wrong[at].mean() * 0.9


def test_interval_by_decisions_is_as_wide_as_chance():
    """Evidence that tells nothing: the share is that of the decided ones, ± 1.96 √(p q / n), drawn a
    little to the probability before (0.3). Fails for a bootstrap over examples instead."""
    generator = np.random.default_rng(0)
    prior, features = np.full(500, 0.3), np.zeros((500, 1))
    decided = np.arange(100)
    wrong = generator.permutation(100) < 30
    low, high = interval_by_decisions(features, prior, decided, wrong, np.arange(100, 500))
    assert low < 0.3 < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.21 / 100), rel=0.25)
    middle = fitted_to_decisions(features, prior, decided, wrong)[100:].mean()
    assert low < middle < high
