"""Bounds of the share of wrong labels by trusted ones, against counts where the truth is known."""

import numpy as np
import pytest

from famus_jax.evidence import Evidence, label_issues
from famus_jax.evidence.margins import log_margin
from famus_jax.evidence.trusted_share import bounds_by_trusted


def test_by_hand():
    """90 of 100 agree with the given labels, 30 of 50 with the trusted: at least 0.9 - 0.6 are wrong,
    at most 0.1 + 0.4. The spread is of (92/104, 104) and (32/54, 54). Fails for a spread of 0."""
    found = bounds_by_trusted(np.arange(100) < 90, np.arange(50) < 30)
    reach = 1.96 * np.sqrt(92 * 12 / 104**3 + 32 * 22 / 54**3)
    assert found.least == pytest.approx(0.3)
    assert found.low == pytest.approx(0.3 - reach)
    assert found.high == pytest.approx(0.5 + reach)
    assert (found.agrees_given, found.agrees_trusted) == pytest.approx((0.9, 0.6))


def test_a_network_that_is_right_bounds_nothing():
    """It agrees with more of the trusted labels than of the given ones. Fails for a negative share."""
    found = bounds_by_trusted(np.arange(100) < 70, np.arange(50) < 50)
    assert (found.least, found.low) == (0, 0)
    assert found.high < 0.5


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("learned", [0.0, 0.5, 1.0])
def test_the_true_share_lies_between_the_bounds(rate, learned):
    """Whatever part of the wrong labels the network has learned, and with mistakes of its own."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, 4000)
    wrong = generator.random(4000) < rate
    given = np.where(wrong, (truth + 1) % 4, truth)
    by_heart = wrong & (generator.random(4000) < learned)
    said = np.where(by_heart, given, truth)
    said = np.where(generator.random(4000) < 0.1, generator.integers(0, 4, 4000), said)
    # Trusted ones are drawn alike: what the network says of them is wrong as often.
    found = bounds_by_trusted((said == given)[:3000], (said == truth)[3000:])
    assert found.low <= wrong[:3000].mean() <= found.high


@pytest.mark.parametrize("empty", [0, 1])
def test_nothing_to_compare_is_refused(empty):
    some = [np.ones(3, bool), np.ones(3, bool)]
    some[empty] = np.ones(0, bool)
    with pytest.raises(ValueError, match="one or more of each"):
        bounds_by_trusted(*some)


def by_a_rule(count=1000, trusted=100):
    """Labels that a network has learned, right in only a half; trusted examples behind them."""
    generator = np.random.default_rng(1)
    total = count + trusted
    truth = generator.integers(0, 3, total)
    rule = np.where(generator.random(total) < 0.5, truth, (truth + 1) % 3)
    labels = np.where(np.arange(total) < count, rule, truth)
    logits = 3 * np.eye(3)[rule] + generator.normal(size=(total, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    margin = log_margin(p, labels)
    return Evidence({"held_out": margin}, p), labels, labels != truth, np.arange(total) >= count


def test_trusted_labels_raise_a_share_that_is_too_low():
    """Half of the labels are wrong and look right. Fails if the share stays what the mixture says, or
    if the reader is not told."""
    evidence, labels, wrong, added = by_a_rule()
    before = label_issues(evidence, labels, trusted=added).summary
    after = label_issues(evidence, labels, trusted=added, added=added).summary
    true = wrong.mean()
    assert before.share_high < 0.5 * true
    assert after.share_wrong > 0.75 * true
    assert after.share_low <= true <= after.share_high
    assert any("At least about" in said and "trusted" in said for said in after.warnings)
    assert not any("At least about" in said for said in before.warnings)


def test_few_trusted_labels_or_networks_that_have_seen_them_bound_nothing():
    evidence, labels, _, added = by_a_rule()
    few = np.flatnonzero(added)[:19]
    some = np.isin(np.arange(len(labels)), few)
    for kinds, flagged in ((evidence, some), (evidence._replace(seen=True), added)):
        if kinds.seen:
            kinds = kinds._replace(kinds={"aum": kinds.kinds["held_out"]})
        expected = label_issues(kinds, labels, trusted=flagged)
        found = label_issues(kinds, labels, trusted=flagged, added=flagged)
        assert found.summary.share_wrong == expected.summary.share_wrong


def test_added_examples_are_no_decisions():
    """A hundred trusted examples and twenty decisions, half of which say wrong: fitted to the twenty
    alone. Fails if the trusted ones count as decisions that labels are right."""
    evidence, labels, wrong, added = by_a_rule()
    own = np.flatnonzero(~added)
    at = np.isin(np.arange(len(labels)), own[np.random.default_rng(2).permutation(len(own))[:20]])
    assert 6 <= wrong[at].sum() <= 14
    trusted, bad = added | (at & ~wrong), at & wrong
    found = label_issues(evidence, labels, trusted=trusted, known_wrong=bad, added=added)
    taken = label_issues(evidence, labels, trusted=trusted, known_wrong=bad)
    share = found.p_wrong[~added].mean()
    assert abs(share - wrong[~added].mean()) < 0.15
    assert taken.p_wrong[~added].mean() < share - 0.15


def test_what_is_added_must_be_trusted():
    evidence, labels, _, added = by_a_rule()
    with pytest.raises(ValueError, match="position 1000 is added but not trusted"):
        label_issues(evidence, labels, added=added)
