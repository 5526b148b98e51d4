"""The weighted mean of ranks."""

import numpy as np
import pytest

from famus_jax.evidence.score import SCORED, mean_rank, scored_kinds


def test_by_hand_with_weights_ties_and_nan():
    """a: ranks 0, ½, 1, ½ (a tie has the mean); b: 0, ½, 1, and nothing of the second."""
    kinds = {"a": np.array([1.0, 2.0, 9.0, 2.0]), "b": np.array([5.0, np.nan, 6.0, 7.0])}
    found = mean_rank(kinds, [("a", 1.0), ("b", 3.0)], 4)
    np.testing.assert_allclose(found, [0, 0.5, (1 + 1.5) / 4, (0.5 + 3) / 4])


def test_units_do_not_matter():
    values = np.random.default_rng(0).normal(size=50)
    one, other = (mean_rank({"a": v}, [("a", 2.0)], 50) for v in (values, np.exp(5 * values)))
    np.testing.assert_array_equal(one, other)


def test_nothing_known_is_the_middle():
    kinds = {"a": np.array([np.nan, 1.0, 2.0]), "b": np.array([3.0, 1.0, 2.0])}
    assert mean_rank(kinds, [("a", 1.0), ("b", 0.0)], 3).tolist() == [0.5, 0.0, 1.0]


@pytest.mark.parametrize(
    "values", [np.full(5, 3.0), np.full(5, np.nan), np.array([np.nan] * 4 + [1])]
)
def test_what_tells_nothing_is_not_scored(values):
    fine = np.arange(5.0)
    assert scored_kinds({"aum": values, "held_out": fine, "mine": fine}) == ("held_out",)


def test_order_is_that_of_the_table():
    fine = np.arange(5.0)
    assert scored_kinds(dict.fromkeys(reversed(SCORED), fine)) == SCORED
