"""Nearest neighbors against scikit-learn, votes, near-duplicates and loners."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from famus_jax.evidence import neighbors as module
from famus_jax.evidence.neighbors import (
    Neighbors,
    near_duplicates,
    nearest_neighbors,
    unlike_all,
    votes,
)


def features(n=200, d=40, seed=0):
    return np.random.default_rng(seed).normal(3.0, 1.0, size=(n, d))


@pytest.mark.parametrize("block", [7, 1024])
def test_many_features_as_scikit_learn_with_the_cosine(monkeypatch, block):
    """Fails without centering, if a row is its own neighbor, or if a block's rows are shifted."""
    monkeypatch.setattr(module, "_BLOCK", block)
    x = features()
    found = nearest_neighbors(x, 5)
    centered = x - x.mean(0)
    unit = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    distances, positions = NearestNeighbors(n_neighbors=5).fit(unit).kneighbors()
    np.testing.assert_array_equal(found.positions, positions)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-4)


@pytest.mark.parametrize("d", [1, 2, 16])
def test_few_features_as_scikit_learn_with_the_distance(d):
    """A direction alone says nothing of one feature, and little of two."""
    x = features(d=d)
    found = nearest_neighbors(x, 5)
    distances, positions = NearestNeighbors(n_neighbors=5).fit(x).kneighbors()
    scale = np.sqrt(((x - x.mean(0)) ** 2).sum(1).mean())
    np.testing.assert_allclose(found.distances, distances / scale, rtol=1e-3, atol=1e-6)
    assert (found.positions == positions).mean() > 0.99  # float32 may swap two that are as near


def test_images_are_taken_flat():
    x = features(20, 48)
    np.testing.assert_array_equal(
        nearest_neighbors(x.reshape(20, 4, 4, 3), 3).positions, nearest_neighbors(x, 3).positions
    )


def test_fewer_rows_than_neighbors():
    assert nearest_neighbors(features(3), 10).positions.tolist()[0] in ([1, 2], [2, 1])


@pytest.mark.parametrize(("n", "k"), [(1, 3), (0, 3), (5, 0)])
def test_no_neighbor_is_refused(n, k):
    with pytest.raises(ValueError, match=f"{n} rows and k = {k}"):
        nearest_neighbors(np.ones((n, 30)), k)


def test_votes_by_hand():
    """Example 0 has labels 1, 1, none; example 2 has neighbors without labels only."""
    near = Neighbors(np.array([[1, 2, 3], [2, 0, 3], [3, 3, 3], [0, 1, 2]]), np.zeros((4, 3)))
    found = votes(near, np.array([0, 1, 1, -1]), 3)
    third = 1 / 3
    np.testing.assert_allclose(
        found, [[0, 1, 0], [0.5, 0.5, 0], [third, third, third], [third, 2 * third, 0]]
    )


def test_votes_as_a_loop_over_the_classes():
    generator = np.random.default_rng(0)
    labels = generator.integers(-1, 7, 50)
    near = nearest_neighbors(features(50), 10)
    found = votes(near, labels, 7)
    for row, positions in zip(found, near.positions, strict=True):
        given = [y for y in labels[positions] if y >= 0]
        np.testing.assert_allclose(row, [given.count(c) / len(given) for c in range(7)])


def test_near_duplicates_are_found_and_others_are_not():
    """Copies with a little noise, and one of three; likenesses (a tenth of the spread) don't count."""
    x = features()
    generator = np.random.default_rng(1)
    x[7], x[150] = x[3] + 1e-3 * generator.normal(size=40), x[3]
    x[20] = x[21]
    x[30] = x[31] + 0.3 * generator.normal(size=40)
    assert near_duplicates(nearest_neighbors(x, 10)) == ((3, 7, 150), (20, 21))


def test_near_duplicates_in_a_set_of_copies():
    """The median distance is 0 then; a pair that differs by noise must be found all the same."""
    x = np.repeat(features(100), 2, axis=0)
    x[1] += 1e-3
    # A row of its own keeps the two from being the only ones that are apart.
    x = np.concatenate([x, features(30, seed=5)])
    groups = near_duplicates(nearest_neighbors(x, 10))
    assert groups == tuple((i, i + 1) for i in range(0, 200, 2))


def test_more_copies_than_neighbors_are_one_group():
    x = features(100)
    x[10:50] = x[10]
    groups = near_duplicates(nearest_neighbors(x, 10))
    assert groups == (tuple(range(10, 50)),)


@pytest.mark.parametrize("d", [1, 2, 40])
def test_identical_rows(d):
    """All of them are copies of each other, and none is far from the others."""
    near = nearest_neighbors(np.full((9, d), 0.1), 4)
    assert np.isfinite(near.distances).all()
    assert near_duplicates(near) == (tuple(range(9)),)
    assert not unlike_all(near).any()


def test_unlike_all_finds_the_one_that_is_far():
    generator = np.random.default_rng(0)
    x = np.tile(generator.normal(size=64), (200, 1)) + 0.3 * generator.normal(size=(200, 64))
    x += np.outer(generator.integers(0, 2, 200) * 20, np.ones(64))  # two groups
    x[5] = 10 * generator.normal(size=64)
    assert np.flatnonzero(unlike_all(nearest_neighbors(x, 10))).tolist() == [5]


def test_unlike_all_in_a_set_of_copies():
    """Where most have copies, those without are not far from everything for that."""
    x = np.concatenate([np.repeat(features(30), 12, axis=0), features(60, seed=1)])
    near = nearest_neighbors(x, 10)
    assert np.median(near.distances.mean(1)) < 1e-6
    assert not unlike_all(near).any()
