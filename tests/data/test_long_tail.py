"""Long tails: published class sizes, a disjoint balanced meta set."""

import numpy as np
import pytest

from famus_jax.data.long_tail import exponential_profile, long_tail

IDS = [f"train_{i:05d}" for i in range(50_000)]
LABELS = np.arange(50_000) % 10


def test_published_counts():
    # LDAM's CIFAR-10-LT with factor 100 has 12,406 images; MW-Net's profile starts at 4,990.
    # Fails if the exponent is i / C.
    cui = exponential_profile(5000, 10, 100)
    assert cui.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert cui.sum() == 12_406
    assert exponential_profile(500, 100, 100).sum() == 10_847
    assert exponential_profile(4990, 10, 1).tolist() == [4990] * 10


@pytest.mark.parametrize(("formula", "largest"), [("mwnet", 4990), ("cui", 5000)])
def test_sizes_and_meta_set(formula, largest):
    found = long_tail(LABELS, IDS, imbalance_factor=50, formula=formula, seed=0)
    expected = [int(largest * 50 ** (-i / 9) + 1e-9) for i in range(10)]
    expected[0] = 4990  # with "cui" the largest class gives ten images to the meta set
    assert found.class_counts.tolist() == expected
    assert np.bincount(LABELS[found.train]).tolist() == expected
    assert np.bincount(LABELS[found.trusted]).tolist() == [10] * 10
    assert not set(found.train) & set(found.trusted)
    whole = long_tail(LABELS, IDS, imbalance_factor=50, formula=formula, meta_per_class=0, seed=0)
    assert whole.class_counts[0] == 5000


def test_independent_of_order():
    order = np.random.default_rng(0).permutation(1000)
    ids, labels = np.array(IDS[:1000]), LABELS[:1000]
    a = long_tail(labels, ids, imbalance_factor=10, seed=1)
    b = long_tail(labels[order], ids[order], imbalance_factor=10, seed=1)
    np.testing.assert_array_equal(ids[a.train], ids[order][b.train])
    np.testing.assert_array_equal(ids[a.trusted], ids[order][b.trusted])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"imbalance_factor": 0.01}, "for 0.01 write 100"),
        ({"formula": "exp"}, "formula = 'exp'"),
        ({"meta_per_class": -1}, "meta_per_class = -1"),
        ({"imbalance_factor": 1e6}, "asked for"),
        ({"labels": LABELS * 2}, "class 1 has no examples"),
        ({"labels": LABELS * 0}, "at least 2 classes"),
        ({"labels": LABELS / 2}, "must be integers"),
    ],
)
def test_bad_input_is_named(change, words):
    good = {"labels": LABELS, "ids": IDS, "imbalance_factor": 10, "seed": 0}
    with pytest.raises(ValueError, match=words):
        long_tail(**{**good, **change})
