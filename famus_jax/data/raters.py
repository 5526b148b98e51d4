"""Several labels per example: what raters or rules said, as one target for each.

    v_ia   in {-1, 0, ..., C-1}: what rater a said of example i; -1: nothing
    T_ic   the probability that i is of class c              (`probabilities`)
    p_c    the share of class c                              (`prior`)
    π_ack  how often a says k where c is right               (`confusion`)

Dawid and Skene (1979), "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
Applied Statistics 28(1), 20-28, https://doi.org/10.2307/2346806. T begins with the shares of the votes:

    p_c = mean_i T_ic,   π_ack = Σ_i T_ic [v_ia = k] / Σ_ik T_ic [v_ia = k]
    T_ic ∝ p_c Π_a π_{a, c, v_ia}

Where a rater was not asked, silence tells nothing, and the product is over those who spoke. A rule is
asked about every example: its silence is an outcome (k = C), which speaks against the classes it votes
for. A rule that votes for one class alone would otherwise tell nothing: all that it says is the same.

The raters are taken to be independent, given the class. Where several rules look for the same word,
or one rule speaks nearly always, this can be worse than a plain majority: look at `prior` first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SILENT = -1


class Rated(NamedTuple):
    """What votes tell of examples and raters.

    Attributes:
      probabilities: float64 [N, C], rows sum to 1: soft targets; their argmax is a label.
      prior: float64 [C], sums to 1.
      confusion: float64 [A, C, K], rows sum to 1 (or are 0 for a class of which the rater never spoke,
        without `smoothing`). K is C, or C + 1 where silence is an outcome, the last one.
      reliability: float64 [A], the expected share of a rater's votes that are right; nan without votes.
      votes: int64 [A], how many each gave.
      steps: of EM, that were taken.
    """

    probabilities: np.ndarray
    prior: np.ndarray
    confusion: np.ndarray
    reliability: np.ndarray
    votes: np.ndarray
    steps: int


def vote_shares(votes: np.ndarray, num_classes: int) -> np.ndarray:
    """The share of an example's votes that each class has; equal shares where nobody voted.

    Args:
      votes: int [N, A] in [-1, C).
      num_classes: C.

    Returns:
      float64 [N, C], rows sum to 1.

    Raises:
      ValueError: votes that are no whole numbers in [-1, C), or not [N, A].

    >>> vote_shares(np.array([[0, 1, 1], [-1, 2, -1]]), 3).round(2)
    array([[0.33, 0.67, 0.  ],
           [0.  , 0.  , 1.  ]])
    """
    counts = _counts(_checked(votes, num_classes), num_classes)
    total = counts.sum(1, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), 1 / num_classes)


def majority(votes: np.ndarray, num_classes: int) -> np.ndarray:
    """The class with most votes; of several the first; -1 where nobody voted.

    Args:
      votes: int [N, A] in [-1, C).
      num_classes: C.

    Returns:
      int32 [N] in [-1, C).

    Raises:
      ValueError: see `vote_shares`.

    >>> majority(np.array([[0, 1, 1], [2, -1, 0], [-1, -1, -1]]), 3)
    array([ 1,  0, -1], dtype=int32)
    """
    counts = _counts(_checked(votes, num_classes), num_classes)
    return np.where(counts.any(1), counts.argmax(1), SILENT).astype(np.int32)


def dawid_skene(
    votes: np.ndarray,
    num_classes: int,
    *,
    silence_is_an_outcome: bool = False,
    smoothing: float = 1.0,
    steps: int = 100,
    tolerance: float = 1e-6,
) -> Rated:
    """How right each rater is, and so how right each label.

    Args:
      votes: int [N, A] in [-1, C); -1: nothing was said.
      num_classes: C, 2 or more.
      silence_is_an_outcome: whether all raters saw all examples, as rules do.
      smoothing: added to every count of p and π, so that no class is ruled out by a few votes; 0 is the
        paper's maximum likelihood.
      steps: of EM at most, 1 or more.
      tolerance: ends it when no probability moves by more.

    Returns:
      See `Rated`. An example without a vote has the prior as its row, unless silence is an outcome.

    Raises:
      ValueError: see `vote_shares`; no vote at all; fewer than two classes, no step, a
        negative smoothing.

    >>> votes = np.array([[0, 0, 1], [1, 1, 1], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
    >>> rated = dawid_skene(votes, 2)
    >>> rated.probabilities.argmax(1), bool(rated.reliability[0] > rated.reliability[2])
    (array([0, 1, 0, 1, 0]), True)
    """
    if num_classes < 2 or steps < 1 or not smoothing >= 0:
        raise ValueError(
            f"num_classes = {num_classes}, steps = {steps}, smoothing = {smoothing}; "
            "at least 2, 1 and 0"
        )
    votes = _checked(votes, num_classes)
    if not (votes != SILENT).any():
        raise ValueError(f"no vote in {votes.shape[0]} rows of {votes.shape[1]} raters")
    said = _outcomes(votes, num_classes, silence_is_an_outcome)
    found = vote_shares(votes, num_classes)
    prior, confusion = _rates(said, found, smoothing)
    taken, moved = 0, np.inf
    while taken < steps and moved > tolerance:
        if taken:
            prior, confusion = _rates(said, found, smoothing)
        before, found = found, _posterior(said, prior, confusion)
        taken, moved = taken + 1, float(np.abs(found - before).max())
    spoken = said[:, :, :num_classes].sum(0)  # [A, C]
    right = np.einsum("iac,ic->a", said[:, :, :num_classes], found)
    given = spoken.sum(1)
    reliability = np.divide(right, given, out=np.full(len(given), np.nan), where=given > 0)
    return Rated(found, prior, confusion, reliability, given.astype(np.int64), taken)


def _rates(said: np.ndarray, found: np.ndarray, smoothing: float) -> tuple[np.ndarray, np.ndarray]:
    """p [C] and π [A, C, K], equations 2.3 and 2.4."""
    weight = found.sum(0) + smoothing
    n, raters, kinds = said.shape
    counts = (found.T @ said.reshape(n, -1)).reshape(-1, raters, kinds).swapaxes(0, 1) + smoothing
    total = counts.sum(2, keepdims=True)
    return weight / weight.sum(), np.divide(
        counts, total, out=np.zeros_like(counts), where=total > 0
    )


def _posterior(said: np.ndarray, prior: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """T [N, C], equation 2.5, by logarithms: a product over many raters would be 0."""
    tiny = np.finfo(np.float64).tiny
    rates = np.log(np.maximum(confusion, tiny)).swapaxes(1, 2).reshape(-1, len(prior))
    logs = np.log(np.maximum(prior, tiny)) + said.reshape(len(said), -1) @ rates
    scaled = np.exp(logs - logs.max(1, keepdims=True))
    return scaled / scaled.sum(1, keepdims=True)


def _outcomes(votes: np.ndarray, num_classes: int, silence: bool) -> np.ndarray:
    """One-hot float64 [N, A, K]; zeros for a silence that is no outcome."""
    kinds = num_classes + 1 if silence else num_classes
    place = np.where(votes == SILENT, num_classes, votes)
    return (place[:, :, None] == np.arange(kinds)).astype(np.float64)


def _counts(votes: np.ndarray, num_classes: int) -> np.ndarray:
    return (votes[:, :, None] == np.arange(num_classes)).sum(1)


def _checked(votes: np.ndarray, num_classes: int) -> np.ndarray:
    votes = np.asarray(votes)
    if votes.ndim != 2 or not np.issubdtype(votes.dtype, np.integer):
        raise ValueError(
            f"votes are {votes.dtype} {list(votes.shape)}; expected whole numbers [examples, raters]"
        )
    if votes.size and (votes.min() < SILENT or votes.max() >= num_classes):
        row, rater = np.argwhere((votes < SILENT) | (votes >= num_classes))[0]
        raise ValueError(
            f"row {row}, rater {rater}: vote {votes[row, rater]} is no class below {num_classes}; "
            "write -1 where nothing was said"
        )
    return votes
