"""The self-test: AUROC against scikit-learn, its interval by hand, and what counts."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from famus_jax.evidence.self_test import _standard_error, auroc, self_tests
from famus_jax.evidence.types import Planted

N = 400
GENERATOR = np.random.default_rng(0)
WRONG = GENERATOR.random(N) < 0.2
GOOD = np.where(WRONG, -2.0, 2.0) + GENERATOR.normal(size=N)
ALSO = np.where(WRONG, -2.0, 2.0) + GENERATOR.normal(size=N)
NOISE = GENERATOR.normal(size=N)
EVERYONE = np.ones(N, bool)


def weights(tests):
    return {test.name: test.weight for test in tests}


def test_auroc_as_scikit_learn_with_ties():
    generator = np.random.default_rng(1)
    wrong, right = generator.integers(0, 6, 30) * 1.0, generator.integers(2, 9, 50) * 1.0
    expected = roc_auc_score(np.repeat([0, 1], [30, 50]), np.concatenate([wrong, right]))
    assert auroc(wrong, right) == pytest.approx(expected, abs=1e-12)


def test_standard_error_by_hand():
    """Area 3/4, 10 wrong, 20 right. Q1 = .75/1.25 = .6, Q2 = 1.125/1.75 = 9/14, area² = .5625;
    (.1875 + 9 · .0375 + 19 · .0803571) / 200 = .0102589."""
    assert _standard_error(0.75, 10, 20) == pytest.approx(0.0102589286**0.5, rel=1e-6)
    assert _standard_error(1.0, 10, 20) == 0.0


def planted(kinds):
    at = np.arange(0, N, 10)
    return Planted(at, np.zeros(len(at), int), {name: v(len(at)) for name, v in kinds.items()})


def test_planted_labels_decide():
    """By hand: four planted below all others is AUROC 1; the weight is (2 AUROC - 1)²."""
    kinds = {"aum": np.arange(10.0), "held_out": np.arange(10.0)}
    evidence = {"aum": np.full(4, -1.0), "held_out": np.array([2.5, 2.5, 6.5, 0.5])}
    tests = self_tests(kinds, list(kinds), Planted(np.arange(4), np.zeros(4, int), evidence),
                       np.ones(10, bool))  # fmt: skip
    assert tests[0].auroc == tests[0].weight == tests[0].low == 1.0
    assert tests[1].auroc == pytest.approx((7 + 7 + 3 + 9) / 40)
    assert tests[1].weight == 0.0  # 0.65 of four labels may be a coin's


def test_upside_down_and_noise_count_for_nothing():
    kinds = {"aum": GOOD, "weight": -GOOD, "neighbors": NOISE}
    marks = {
        "aum": lambda n: np.linspace(-4, 0, n),
        "weight": lambda n: np.linspace(0, 4, n),
        "neighbors": lambda n: np.quantile(NOISE, np.linspace(0, 1, n)),
    }
    found = weights(self_tests(kinds, list(kinds), planted(marks), EVERYONE))
    assert found["aum"] > 0.5
    assert found["weight"] == found["neighbors"] == 0


@pytest.mark.parametrize("names", [("aum", "weight"), ("aum", "probability", "weight")])
def test_without_planted_labels_the_probabilities_say_which_is_upside_down(names):
    """One against one the kinds alone can't tell; the probabilities can."""
    kinds = {"aum": GOOD, "probability": ALSO, "weight": -GOOD}
    reference = np.where(WRONG, -1.0, 1.0) + np.random.default_rng(1).normal(size=N)
    found = weights(self_tests(kinds, names, None, EVERYONE, reference))
    assert found.pop("weight") == 0
    assert min(found.values()) > 0.3


@pytest.mark.parametrize("reference", [None, np.zeros(N)])
def test_without_probabilities_the_other_kinds_are_asked(reference):
    kinds = {"aum": GOOD, "probability": ALSO, "held_out": GOOD + ALSO, "weight": -GOOD}
    found = weights(self_tests(kinds, list(kinds), None, EVERYONE, reference))
    assert found["weight"] == 0
    assert found["held_out"] > 0.3


def test_one_kind_alone_is_not_tested():
    (test,) = self_tests({"aum": GOOD}, ["aum"], None, EVERYONE)
    assert np.isnan(test.auroc)
    assert test.weight == 1


def test_what_can_not_be_tested_does_not_count_beside_what_was():
    kinds = {"aum": GOOD, "trusted": np.where(np.arange(N) < 3, GOOD, np.nan)}
    marks = planted({"aum": lambda n: np.linspace(-4, 0, n)})
    found = weights(self_tests(kinds, list(kinds), marks, EVERYONE))
    assert found["aum"] > 0
    assert found["trusted"] == 0


def test_not_compared_and_nan_are_left_out():
    compared = EVERYONE.copy()
    compared[:100] = False
    spoiled = GOOD.copy()
    spoiled[:100], spoiled[100:110] = 1e9, np.nan
    marks = {"aum": np.array([-2.0, -1.0, np.nan])}
    (test,) = self_tests({"aum": spoiled}, ["aum"], Planted(np.arange(3), np.zeros(3, int), marks),
                         compared)  # fmt: skip
    assert test.auroc == auroc(np.array([-2.0, -1.0]), GOOD[110:])
