"""The ranked list of labels, by hand."""

import csv

import matplotlib.image
import numpy as np
import pytest

from famus_jax.train.label_issues import draw, find_label_issues, list_content, score_of

NAN = np.nan
IDS = np.array(["a", "b", "c", "d"])


def test_the_least_trusted_comes_first():
    """Means over the seeds that have a score; no score, no place. By hand: a 0.4, c 0.1, d 0.9."""
    found = find_label_issues([np.array([0.2, NAN, 0.1, NAN]), np.array([0.6, NAN, NAN, 0.9])])
    assert found.positions.tolist() == [2, 0, 3]
    np.testing.assert_allclose(found.scores, [0.1, 0.4, 0.9])
    assert found.seeds.tolist() == [1, 2, 1]


def test_ties_keep_the_order_of_the_data():
    assert find_label_issues([np.array([0.5, 0.1, 0.5, 0.1])]).positions.tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("values", "first"),
    [
        ({"weights": np.array([2.0, 0.0])}, 2.0),
        ({"weights": np.array([2.0, 0.0]), "clean_probability": np.array([0.1, 0.7])}, 0.1),
        ({"weights": np.array([1.0, 1.0, NAN])}, None),  # nothing was weighed
        ({"weights": np.array([NAN, NAN])}, None),
        ({"ids": IDS}, None),
    ],
    ids=["weights", "probability first", "all alike", "never drawn", "neither"],
)
def test_what_a_run_tells(values, first):
    score = score_of(values)
    assert first is None if score is None else score[0] == first


def test_the_list_is_a_table():
    found = find_label_issues([np.array([0.25, NAN, 1.5, 0.125])])
    labels = np.array([0, 0, 1, 1])
    named = list_content(found, IDS, labels, ("cat", "a, dog")).decode()
    rows = list(csv.DictReader(named.splitlines()))
    assert [(r["rank"], r["id"], r["label"], r["score"], r["seeds"]) for r in rows] == [
        ("1", "d", "a, dog", "0.125", "1"),
        ("2", "a", "cat", "0.25", "1"),
        ("3", "c", "a, dog", "1.5", "1"),
    ]
    assert list_content(found, IDS, labels, ()).decode().splitlines()[1] == "1,d,1,0.125,1"


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_shows_the_first_ones(tmp_path, channels):
    """Fails if it read images of which it shows none: reading may mean opening files."""
    asked = []

    class Images:
        def __getitem__(self, position):
            asked.append(position)
            return np.full((6, 6, channels), 200, np.uint8)

    found = find_label_issues([np.linspace(1, 0, 100)])
    draw(tmp_path / "label_issues.png", found, Images(), np.zeros(100, int), ("cat",))
    assert asked == list(range(99, 59, -1))
    assert matplotlib.image.imread(tmp_path / "label_issues.png").std() > 0.05
