"""The confident joint by a plain loop over its definition, and the share of wrong labels."""

import numpy as np
import pytest

from famus_jax.evidence import confident
from famus_jax.evidence.confident import confident_joint, share_wrong


def by_definition(p, given):
    """Equations 1 and 3 of Northcutt et al. (2021), one example at a time."""
    n, classes = p.shape
    t = {c: np.mean([p[i, c] for i in range(n) if given[i] == c]) for c in set(given.tolist())}
    joint = np.zeros((classes, classes))
    for i in range(n):
        above = [c for c in t if p[i, c] >= t[c]]
        if above:
            joint[max(above, key=lambda c: p[i, c]), given[i]] += 1
    for c in range(classes):
        if joint[:, c].sum() == 0:
            joint[c, c] = 1
        joint[:, c] *= (given == c).sum() / joint[:, c].sum()
    return joint


def noisy(n=2000, classes=4, rate=0.2, seed=0, sharp=4.0):
    """Labels, wrong ones, and calibrated probabilities of a fair network that has not seen them."""
    generator = np.random.default_rng(seed)
    true = generator.integers(0, classes, n)
    wrong = generator.random(n) < rate
    labels = np.where(wrong, (true + generator.integers(1, classes, n)) % classes, true)
    logits = generator.normal(size=(n, classes))
    logits[np.arange(n), true] += sharp
    p = np.exp(logits)
    return p / p.sum(1, keepdims=True), labels, wrong


@pytest.mark.parametrize("seed", range(3))
def test_as_defined(seed):
    """Fails for a threshold of the row, the true class in columns, or scaled rows."""
    p, labels, _ = noisy(200, seed=seed, sharp=1.0)
    found = confident_joint(p, labels)
    np.testing.assert_allclose(found, by_definition(p, labels))
    np.testing.assert_allclose(found.sum(0), np.bincount(labels, minlength=4))


def test_a_class_that_nobody_is_labeled():
    """It has no threshold: nothing is counted for it, and there is no 0 / 0."""
    p, labels, _ = noisy(200, seed=3)
    labels[labels == 2] = 1
    found = confident_joint(p, labels)
    np.testing.assert_allclose(found, by_definition(p, labels))
    assert not found[2].any()
    assert not found[:, 2].any()


def test_a_mean_of_equal_numbers_is_not_above_them():
    """The mean of three times 0.1 is above 0.1 in floating point; the example counts all the same."""
    p = np.array([[0.1, 0.9]] * 3 + [[0.05, 0.95]] * 3)
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert p[:3, 0].sum() / 3 > 0.1
    assert confident._confident(p, labels)[1].all()


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3])
def test_share_of_symmetric_noise(rate):
    p, labels, wrong = noisy(rate=rate)
    share, low, high = share_wrong(p, labels)
    assert abs(share - wrong.mean()) < 0.03
    assert 0 <= low <= share <= high <= 1
    assert high - low < 0.06


def test_share_is_that_of_the_joint_where_it_is_the_lesser():
    """One minus the trace over the sum of the whole joint, by the other function."""
    p, labels, _ = noisy(rate=0.4, sharp=8.0, classes=10)
    joint = confident_joint(p, labels)
    share = share_wrong(p, labels)[0]
    assert share <= 1 - np.trace(joint) / joint.sum() + 1e-12
    assert abs(share - (1 - np.trace(joint) / joint.sum())) < 0.01


def test_the_networks_own_mistakes_are_not_all_counted():
    """Clean labels and a weak network: the joint alone would say a quarter."""
    p, labels, _ = noisy(rate=0.0, sharp=1.0)
    joint = confident_joint(p, labels)
    assert 1 - np.trace(joint) / joint.sum() > 0.25
    share = share_wrong(p, labels)[0]
    assert share < 1 - np.trace(joint) / joint.sum()


def test_interval_is_that_of_a_bootstrap():
    """By whole joints of drawn rows: the shortcut of the share must say the same."""
    p, labels, _ = noisy(300, rate=0.3, sharp=6.0)
    true, counted = confident._confident(p, labels)
    margins = confident.log_margin(p, labels)
    bad = margins <= confident._looks_corrupted(p, labels, margins, 5)
    generator, drawn = np.random.default_rng(5), []
    for _ in range(50):
        rows = generator.integers(0, 300, 300)
        kept = rows[counted[rows]]
        joint = confident._scaled(true[kept], labels[kept], labels[rows], 4)
        drawn.append(min(1 - np.trace(joint) / joint.sum(), bad[rows].mean() / 0.75))
    low, high = np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose(share_wrong(p, labels, draws=50, seed=5)[1:], (low, high))


@pytest.mark.parametrize("seed", [0, -3, 2**70])
def test_any_seed_and_the_same_again(seed):
    p, labels, _ = noisy(100)
    assert share_wrong(p, labels, seed=seed) == share_wrong(p, labels, seed=seed)


@pytest.mark.parametrize(
    ("p", "labels"),
    [
        (np.full((6, 3), 1 / 3), [0, 1, 2, 0, 1, 2]),
        (np.eye(3)[[0, 1, 2]], [0, 1, 2]),
        (np.eye(300)[[5, 9, 5]], [5, 9, 9]),
        (np.array([[1.0, 0.0], [1.0, 0.0]]), [0, 1]),
    ],
)
def test_small_and_odd_ones_are_shares(p, labels):
    share, low, high = share_wrong(p, np.array(labels))
    assert 0 <= low <= share <= high <= 1
    assert np.isfinite(confident_joint(p, np.array(labels))).all()
