"""Positions of which every class has equally many."""

import numpy as np

from famus_jax.data import repeated_to_balance


def test_every_class_equally_often_and_nothing_left_out():
    """Fails if examples outside of the positions are drawn, or a large class is cut."""
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 2, 2, 2])
    positions = np.array([9, 0, 1, 2, 3, 5, 6, 7])  # not 4, nor 8
    found = repeated_to_balance(positions, labels)
    assert np.bincount(labels[found]).tolist() == [4, 4, 4]
    assert set(found.tolist()) == set(positions.tolist())
    times = np.bincount(found, minlength=10)
    assert times[[5, 6]].tolist() == [2, 2]
    assert sorted(times[[7, 9]].tolist()) == [2, 2]


def test_balanced_stays_as_it_is():
    positions = np.array([3, 1, 0, 2])
    found = repeated_to_balance(positions, np.array([0, 1, 1, 0]))
    assert sorted(found.tolist()) == [0, 1, 2, 3]


def test_a_class_without_examples_is_left_out():
    assert repeated_to_balance(np.array([0, 1]), np.array([2, 0])).tolist() == [1, 0]
    assert repeated_to_balance(np.array([], int), np.array([2, 0])).tolist() == []
