"""The answer to "which labels are wrong?", per example and for the whole set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class SelfTest(NamedTuple):
    """How one kind of evidence ranked labels that were corrupted on purpose.

    Attributes:
      name: of the evidence.
      auroc: the chance that a corrupted label looks worse than one left alone; 0.5 is a coin's.
      low: lower end of its 95 % interval.
      used: whether the evidence counts in the score.
    """

    name: str
    auroc: float
    low: float
    used: bool


class Summary(NamedTuple):
    """The answer for a whole set of N labelled examples and C classes.

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
      fits_no_class: bool [N], no class is probable.
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
