"""The answer to "which labels are wrong?", per example and for the whole set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Planted(NamedTuple):
    """Labels that were corrupted on purpose before a training, and how each kind of evidence saw them.

    Attributes:
      positions: int [P], the examples.
      labels: int [P], what their labels were changed to.
      evidence: name -> float64 [P], for the changed labels.
    """

    positions: np.ndarray
    labels: np.ndarray
    evidence: Mapping[str, np.ndarray]


class Evidence(NamedTuple):
    """What a training tells of N labels.

    Attributes:
      kinds: name -> float64 [N], higher where the label looks right; NaN where there is none. The names
        in `score.SCORED` count; others are shown.
      probabilities: float [N, C], of each class, best of networks that have not seen the label; rows of
        NaN where there are none.
      planted: of the self-test; None if no label was corrupted on purpose.
      duplicates: groups of positions of near-duplicates.
      unlike_all: bool [N], far from every other example; None if that was not looked at.
      seen: the networks of `probabilities` were trained on the labels; their `aum` then tells how many
        are wrong (`seen`).
    """

    kinds: Mapping[str, np.ndarray]
    probabilities: np.ndarray
    planted: Planted | None = None
    duplicates: tuple[tuple[int, ...], ...] = ()
    unlike_all: np.ndarray | None = None
    seen: bool = False


class SelfTest(NamedTuple):
    """How one kind of evidence ranked labels that are known, or sure, to be wrong.

    Attributes:
      name: of the evidence.
      auroc: the chance that a wrong label looks worse than another; 0.5 is a coin's. NaN: not tested.
      low: lower end of its 95 % interval.
      weight: of the evidence in the score, in [0, 1]; 0: it counts for nothing.
    """

    name: str
    auroc: float
    low: float
    weight: float


class Summary(NamedTuple):
    """The answer for a whole set of N labeled examples and C classes.

    Attributes:
      share_wrong: estimated share of wrong labels, in [0, 1].
      share_low, share_high: its 95 % interval.
      num_issues: the recommended cut: so many examples of the lowest ranks are label issues.
      confusion: float64 [C, C], estimated number of examples of true class (row) and label (column).
      duplicates: groups of positions of near-duplicates whose labels differ.
      self_tests: of each kind of evidence.
      warnings: what the reader must know before trusting the list, the gravest first; () if nothing.
    """

    share_wrong: float
    share_low: float
    share_high: float
    num_issues: int
    confusion: np.ndarray
    duplicates: tuple[tuple[int, ...], ...]
    self_tests: tuple[SelfTest, ...]
    warnings: tuple[str, ...]


class LabelIssues(NamedTuple):
    """What is known of each of N examples, in the data's order.

    Attributes:
      p_wrong: float64 [N], the probability that the label is wrong; NaN without a label.
      rank: int64 [N], 1 for the label that is most likely wrong, no ties; 0 without a label.
      suggested_label: int32 [N], the most probable class, never the given one where the label is an
        issue.
      p_suggested: float64 [N], the probability that it is right.
      fits_no_class: bool [N], it is unlike all other examples.
      is_label_issue: bool [N], within the recommended cut.
      probabilities: float32 [N, C], of the true class.
      evidence: name -> float64 [N], higher where the label looks right; NaN where there is none.
      summary: of the whole set.
    """

    p_wrong: np.ndarray
    rank: np.ndarray
    suggested_label: np.ndarray
    p_suggested: np.ndarray
    fits_no_class: np.ndarray
    is_label_issue: np.ndarray
    probabilities: np.ndarray
    evidence: Mapping[str, np.ndarray]
    summary: Summary
