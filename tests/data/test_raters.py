"""Several labels per example, against numbers worked by hand."""

import numpy as np
import pytest

from famus_jax.data.raters import dawid_skene, majority, vote_shares

# Shares of class 1: 0, 1/3, 1, 2/3, 1/2; of either class 5/2 in all.
FIVE_BY_THREE = np.array([[0, 0, 0], [0, 0, 1], [1, 1, 1], [1, 1, 0], [0, -1, 1]])


def test_one_step_by_hand():
    """Fails if a silent rater counts in π, or if π is normalized over classes."""
    got = dawid_skene(FIVE_BY_THREE, 2, smoothing=0, steps=1)
    np.testing.assert_allclose(got.prior, [1 / 2, 1 / 2])
    by_hand = [
        [[13 / 15, 2 / 15], [1 / 3, 2 / 3]],
        [[5 / 6, 1 / 6], [1 / 6, 5 / 6]],
        [[8 / 15, 7 / 15], [4 / 15, 11 / 15]],
    ]
    np.testing.assert_allclose(got.confusion, by_hand)
    # Rows 1 and 4: 13·5·7 to 5·1·11, and 13·7 to 5·11.
    np.testing.assert_allclose(got.probabilities[1], [455 / 510, 55 / 510])
    np.testing.assert_allclose(got.probabilities[4], [91 / 146, 55 / 146])
    # Rater 1 said 0, 0, 1, 1: T of what it said.
    t = got.probabilities
    np.testing.assert_allclose(got.reliability[1], (t[0, 0] + t[1, 0] + t[2, 1] + t[3, 1]) / 4)
    assert got.votes.tolist() == [5, 4, 5]


def test_an_unequal_prior_by_hand():
    """Fails if p is left out of T: of three examples two are 0, and a silent row has the prior."""
    votes = np.array([[0], [0], [1], [-1]])
    got = dawid_skene(votes, 2, smoothing=0, steps=1)
    np.testing.assert_allclose(got.prior, [5 / 8, 3 / 8])
    np.testing.assert_allclose(got.probabilities[3], [5 / 8, 3 / 8])


@pytest.mark.parametrize(("outcome", "expected"), [(False, 1 / 2), (True, 2 / 3)])
def test_silence_of_a_rule_by_hand(outcome, expected):
    """Rule 2 votes for class 0 alone: its silence on row 3 speaks for 1, if it is an outcome."""
    votes = np.array([[0, 0, 0], [0, 1, -1], [1, 1, -1], [-1, -1, -1]])
    got = dawid_skene(votes, 2, silence_is_an_outcome=outcome, smoothing=0, steps=1)
    np.testing.assert_allclose(got.probabilities[3, 1], expected)


def test_likelihood_rises_and_raters_are_found():
    """EM never lowers the likelihood, multiplied out here; the bad rater is found out."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 400)
    rates = (0.9, 0.8, 0.7, 0.4)
    votes = np.stack(
        [np.where(rng.random(400) < r, truth, rng.integers(0, 3, 400)) for r in rates], 1
    )
    votes[rng.random(votes.shape) < 0.2] = -1

    def likelihood(rated):
        joint = np.tile(rated.prior, (400, 1))
        for i, a in np.argwhere(votes >= 0):
            joint[i] *= rated.confusion[a, :, votes[i, a]]
        return np.log(joint.sum(1)).sum()

    steps = [dawid_skene(votes, 3, smoothing=0, steps=s, tolerance=0) for s in (1, 2, 5, 20)]
    assert (np.diff([likelihood(one) for one in steps]) > 0).all()
    last = dawid_skene(votes, 3)
    truly = [(truth == votes[:, a])[votes[:, a] >= 0].mean() for a in range(4)]
    np.testing.assert_allclose(last.reliability, truly, atol=0.06)
    assert (last.probabilities.argmax(1) == truth).mean() > (majority(votes, 3) == truth).mean()


def test_shares_and_majority():
    """The tie of the last row goes to the first class; nobody's row is equal shares and -1."""
    votes = np.vstack([FIVE_BY_THREE, [[-1, -1, -1]]])
    np.testing.assert_allclose(vote_shares(votes, 2)[:, 1], [0, 1 / 3, 1, 2 / 3, 1 / 2, 1 / 2])
    assert majority(votes, 2).tolist() == [0, 0, 1, 1, 0, -1]


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        (np.array([[0, 2]]), "row 0, rater 1: vote 2 is no class below 2"),
        (np.array([[0, -2]]), "vote -2"),
        (np.array([0, 1]), r"int64 \[2\]"),
        (np.array([[0.0, 1.0]]), "float64"),
        (np.array([[-1, -1]]), "no vote in 1 rows of 2 raters"),
    ],
)
def test_refuses(votes, message):
    with pytest.raises(ValueError, match=message):
        dawid_skene(votes, 2)
