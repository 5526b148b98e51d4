"""Folds and labels that are corrupted on purpose."""

import numpy as np
import pytest

from famus_jax.audit.folds import make_folds


def ids(n):
    return np.array([f"x{i}" for i in range(n)])


def made(labels, classes=5, **options):
    labels = np.asarray(labels, np.int32)
    return make_folds(labels, ids(len(labels)), classes, **options)


LABELS = np.random.default_rng(0).integers(-1, 5, 2000)


@pytest.mark.parametrize("count", [3, 4, 7])
def test_each_labeled_example_is_left_out_once_and_each_class_alike(count):
    found = made(LABELS, count=count)
    labeled = LABELS >= 0
    assert ((~found.seen)[:, labeled].sum(0) == 1).all()
    assert not found.seen[:, ~labeled].any()
    for c in range(5):
        left_out = (~found.seen)[:, c == LABELS].sum(1)
        assert left_out.max() - left_out.min() <= 1
    left_out = (~found.seen)[:, labeled].sum(1)
    assert left_out.max() - left_out.min() <= 1


def test_a_twentieth_is_corrupted_each_in_one_network_that_sees_it():
    found = made(LABELS)
    labeled = (LABELS >= 0).sum()
    assert found.planted.sum() == labeled // 20
    assert found.planted.any(0).sum() == found.planted.sum()
    assert found.seen[found.planted].all()
    np.testing.assert_array_equal(found.labels != LABELS, found.planted)
    assert found.labels[found.planted].min() >= 0
    assert found.labels[found.planted].max() < 5
    per_network = found.planted.sum(1)
    assert per_network.min() > 0.5 * per_network.mean()


def test_every_other_class_is_planted_alike():
    """A chi-square of 4 degrees of freedom is below 18.5 in 999 of 1000 seeds, for each class."""
    found = made(np.arange(20000) % 5)
    network, at = np.nonzero(found.planted)
    step = (found.labels[network, at] - at % 5) % 5
    assert (step > 0).all()
    counts = np.bincount(step, minlength=5)[1:]
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 18.5


@pytest.mark.parametrize(
    ("n", "planted"), [(8, 2), (10, 3), (59, 17), (100, 30), (200, 60), (1200, 60)]
)
def test_how_many_are_planted_in_small_sets(n, planted):
    """At least sixty, but at most three in ten."""
    assert made(np.arange(n) % 2, 2).planted.sum() == planted


def test_planted_are_of_classes_that_there_are():
    """Two classes of three hundred have labels: a label that nobody has is found at once."""
    labels = np.where(np.arange(300) % 3 == 0, 17, 250)
    found = made(labels, 300)
    assert set(found.labels[found.planted].tolist()) == {17, 250}
    assert (found.labels != labels)[found.planted].all()


def test_spared_are_never_corrupted():
    spared = np.arange(2000) % 2 == 0
    found = made(LABELS, spared=spared)
    assert found.planted.any()
    assert not found.planted[:, spared].any()
    assert not made(LABELS, spared=np.ones(2000, bool)).planted.any()


def test_the_same_for_each_id_in_any_order():
    order = np.random.default_rng(1).permutation(2000)
    judged = np.where(np.arange(2000) % 9 == 0, 3, -1)
    one = make_folds(LABELS, ids(2000), 5, judged=judged)
    other = make_folds(LABELS[order], ids(2000)[order], 5, judged=judged[order])
    for a, b in zip(one, other, strict=True):
        assert a is not None
        np.testing.assert_array_equal(a[:, order], b)


def test_another_seed_is_another_draw():
    one, other = made(LABELS), made(LABELS, seed=1)
    assert (one.seen != other.seen).any()
    assert (one.planted != other.planted).any()


def test_classes_of_one_example_do_not_share_a_fold():
    """Labels 0, 4, 8, … once each: no network is left without examples."""
    found = made(np.arange(8) * 4, 32)
    assert found.seen.sum(1).tolist() == [6, 6, 6, 6]


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 1], {"count": 2}, r"count = 2 networks; .* 3 or more"),
        ([1, 1, -1], {}, r"1 classes have labels"),
        ([-1, -1], {}, r"0 classes have labels"),
        ([0, 5], {}, r"label 5 is none of 5 classes"),
    ],
)
def test_bad_input_is_refused(labels, options, message):
    with pytest.raises(ValueError, match=message):
        made(labels, **options)


def test_a_label_that_is_known_to_be_wrong_is_learned_by_one_network():
    """Also where nobody knows the right one (-1), and never by the network that leaves it out.

    Fails if all networks are taught what a person has corrected, or none.
    """
    judged = np.where(np.arange(2000) % 10 == 0, (LABELS + 1) % 5, -1)
    found, before = made(LABELS, judged=judged), made(LABELS)
    assert found.asked is not None
    at = judged >= 0
    assert (found.asked.sum(0) == at).all()
    network = found.asked.argmax(0)[at]
    rows = np.flatnonzero(at)
    assert found.seen[network, rows].all()
    np.testing.assert_array_equal(found.labels[network, rows], judged[at])
    known = rows[LABELS[rows] >= 0]
    assert ((~found.seen)[:, known].sum(0) == 1).all()
    assert (found.seen[:, rows[LABELS[rows] < 0]].sum(0) == 1).all()
    others = ~found.asked
    np.testing.assert_array_equal(found.labels[others], before.labels[others])
    assert before.asked is None
