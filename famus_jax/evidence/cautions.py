"""What the reader of a list must know before trusting it, the gravest first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from famus_jax.evidence.trusted_share import Bounds
from famus_jax.evidence.types import SelfTest

_GAP = 0.1  # of decided labels; a smaller difference is no reason to warn
_FAR = 3.0  # standard deviations


class Decided(NamedTuple):
    """Decisions beside what was thought before them.

    Attributes:
      decisions: how many there are.
      wrong: how many of them say that the label is wrong.
      expected: how many would be by the probabilities without decisions.
      spread: the standard deviation of that number, if those probabilities were right.
      elsewhere: how many are about the less suspicious half of the labels.
    """

    decisions: int
    wrong: int
    expected: float
    spread: float
    elsewhere: int

    @property
    def contradicts(self) -> bool:
        """Whether the decisions are not what the probabilities had led to expect."""
        far = abs(self.wrong - self.expected)
        return far > _GAP * self.decisions and far > _FAR * max(self.spread, 0.5)

    @property
    def one_sided(self) -> bool:
        """Whether nearly all are about the more suspicious half of the labels."""
        return self.elsewhere < max(5, 0.1 * self.decisions)


def decided_of(prior: np.ndarray, score: np.ndarray, wrong: np.ndarray, all_scores: np.ndarray):
    """`Decided` of M decisions.

    Args:
      prior: float [M], the probability of a wrong label without decisions.
      score: float [M], low where the label looks wrong.
      wrong: bool [M], what was decided.
      all_scores: float [N], of all labels.
    """
    return Decided(
        len(prior),
        int(wrong.sum()),
        float(prior.sum()),
        float(np.sqrt((prior * (1 - prior)).sum())),
        int((score > np.median(all_scores)).sum()),
    )


def cautions(
    tests: tuple[SelfTest, ...],
    failed: bool,
    share: float,
    high: float,
    decided: Decided | None = None,
    bounds: Bounds | None = None,
) -> tuple[str, ...]:
    """Sentences; () if nothing is to be said.

    Args:
      tests: of each kind of evidence.
      failed: no evidence passed.
      share, high: the estimated share of wrong labels, and the upper end of its interval.
      decided: None: no decisions, or not of both kinds.
      bounds: by trusted labels, where the share is theirs; None: it isn't.
    """
    said = []
    tried = [test for test in tests if np.isfinite(test.auroc)]
    if failed:
        best = max(tried, key=lambda test: test.auroc)
        said.append(
            "This list may be no better than chance: no evidence ranked wrong labels low in the "
            f"self-test (the best, {best.name}, had AUROC {best.auroc:.2f}; a coin has 0.50)."
        )
    elif not tried:
        said.append("No evidence could be tested on labels that are known to be wrong.")
    for test in () if failed or not tried else tests:
        if not np.isfinite(test.auroc):
            said.append(f"The evidence {test.name!r} could not be tested and does not count.")
        elif test.weight == 0:
            said.append(
                f"The evidence {test.name!r} failed the self-test (AUROC {test.auroc:.2f}) and does "
                "not count."
            )
    if bounds is not None:
        said.append(_by_trusted(bounds))
    if decided is not None and decided.contradicts:
        said.append(_by_decisions(decided))
    if share > 0.5 or (high > 0.7 and bounds is None):
        said.append(
            f"About {share:.0%} of the labels look wrong. Above a half it is hard to know which side "
            "is right: tick some labels (--propose-trusted) before you trust this list."
        )
    return tuple(said)


def _by_trusted(bounds: Bounds) -> str:
    return (
        f"The networks agree with {bounds.agrees_given:.0%} of the given labels, and with "
        f"{bounds.agrees_trusted:.0%} of the trusted ones: they learn the wrong labels as if they were "
        f"right (labels that are wrong by a rule do that). At least about {bounds.least:.0%} are "
        f"wrong, perhaps up to {bounds.high:.0%}, and many of these look right: decide some labels "
        "of --propose-trusted."
    )


def _by_decisions(decided: Decided) -> str:
    said = (
        f"Of the {decided.decisions} labels that were decided {decided.wrong} are wrong; without "
        f"the decisions {decided.expected:.0f} were expected. "
    )
    if decided.wrong > decided.expected:
        said += "Wrong labels look right here, as those do that are wrong by a rule. "
    if not decided.one_sided:
        return said + "The probabilities now follow the decisions."
    return said + (
        "All but a few decisions are about the more suspicious half of the labels, so that the share "
        "of wrong ones in the other half is not known: decide those of --propose-trusted, half of "
        "which are drawn at random."
    )
