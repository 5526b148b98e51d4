"""Evidence on labels: what a training tells of each of them, and the issues that follow from it.

margins             how much better the given label looks than any other class
sums                evidence gathered in any training loop
neighbors           what the nearest examples say
self_test           whether the evidence ranks wrong labels low
score, confident, calibrate    one score; how many labels are wrong; a probability for each
label_issues        all of it, as a pure function of arrays
"""

from famus_jax.evidence.types import Evidence, LabelIssues, Planted, SelfTest, Summary

__all__ = ["Evidence", "LabelIssues", "Planted", "SelfTest", "Summary"]
