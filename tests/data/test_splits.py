"""Splits: disjoint, balanced, independent of order."""

import numpy as np
import pytest

from famus_jax.data.splits import split_examples

LABELS = np.repeat(np.arange(5), [30, 40, 50, 60, 70])
IDS = np.array([f"x{i:04d}" for i in range(250)])
ASK = {"trusted_per_class": 3, "validation_per_class": 7}


def test_parts_are_disjoint_complete_and_balanced():
    # Fails for MW-Net's bug: two draws with different seeds overlap.
    parts = split_examples(LABELS, IDS, seed=4, **ASK)
    together = np.concatenate(parts)
    np.testing.assert_array_equal(np.sort(together), np.arange(250))
    assert all(p.dtype == np.int64 for p in parts)
    np.testing.assert_array_equal(np.bincount(LABELS[parts.trusted]), [3] * 5)
    np.testing.assert_array_equal(np.bincount(LABELS[parts.validation]), [7] * 5)


def test_independent_of_order():
    # Also the order within a part: batches are built from it.
    order = np.random.default_rng(1).permutation(250)
    first = split_examples(LABELS, IDS, seed=4, **ASK)
    second = split_examples(LABELS[order], IDS[order], seed=4, **ASK)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(IDS[a], IDS[order][b])
        assert sorted(IDS[a].tolist()) == IDS[a].tolist()  # the documented order


def test_larger_trusted_set_contains_the_smaller():
    small = split_examples(LABELS, IDS, trusted_per_class=2, validation_per_class=0, seed=4)
    large = split_examples(LABELS, IDS, trusted_per_class=9, validation_per_class=0, seed=4)
    assert set(small.trusted) < set(large.trusted)
    assert small.validation.shape == (0,)


def test_seeds_differ_and_sizes_do_not():
    draws = [split_examples(LABELS, IDS, seed=s, **ASK) for s in range(3)]
    assert len({tuple(d.trusted) for d in draws}) == 3
    assert len({tuple(len(p) for p in d) for d in draws}) == 1


def test_every_example_is_trusted_equally_often():
    # Fails if the draw prefers low ids: 400 draws of 10 % of class 0.
    hits = np.zeros(30)
    for seed in range(400):
        parts = split_examples(LABELS, IDS, trusted_per_class=3, validation_per_class=0, seed=seed)
        chosen = parts.trusted[parts.trusted < 30]
        hits[chosen] += 1
    assert abs(hits - 40).max() < 5 * np.sqrt(400 * 0.1 * 0.9)


@pytest.mark.parametrize(
    ("labels", "ask", "words"),
    [
        (LABELS, {"trusted_per_class": 31}, "class 0 has 30 examples"),
        (LABELS, {"trusted_per_class": 20, "validation_per_class": 10}, "at least one"),
        (LABELS, {"trusted_per_class": -1}, "trusted_per_class = -1"),
        (LABELS, {"validation_per_class": 1.5}, "validation_per_class = 1.5"),
        (LABELS * 2, {}, "class 1 has no examples"),
        (LABELS[:249], {}, "250 ids for 249 labels"),
        (LABELS / 2, {}, "integers"),
        (LABELS[:0], {}, "no examples to split"),
    ],
)
def test_bad_input_is_named(labels, ask, words):
    with pytest.raises(ValueError, match=words):
        split_examples(labels, IDS, seed=0, **{**ASK, **ask})
