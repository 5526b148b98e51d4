"""Evidence on labels: what a training tells of each of them, and the issues that follow from it.

    margins             how much better the given label looks than any other class
    sums                evidence gathered in any training loop: init, update, read
    neighbors           what the nearest examples say
    self_test           whether the evidence ranks wrong labels low
    score, confident, calibrate    one score; how many labels are wrong; a probability for each
    seen                how many are wrong, by networks that were trained on them
    label_issues        all of it, a pure function of arrays
    table               the answer as columns, and as a CSV

>>> import jax.numpy as jnp
>>> from famus_jax import evidence
>>> sums = evidence.init(num_examples=4, num_classes=2)
>>> logits = jnp.array([[2.0, 0.0], [0.0, 3.0], [0.0, 2.0], [2.5, 0.0]])
>>> labels = jnp.array([0, 1, 0, 0])
>>> sums = evidence.update(sums, jnp.arange(4), logits, labels)
>>> int(evidence.label_issues(evidence.read(sums), labels).rank.argmin())
2
"""

from famus_jax.evidence.label_issues import label_issues
from famus_jax.evidence.sums import Sums, init, read, update
from famus_jax.evidence.types import Evidence, LabelIssues, Planted, SelfTest, Summary

__all__ = [
    "Evidence",
    "LabelIssues",
    "Planted",
    "SelfTest",
    "Summary",
    "Sums",
    "init",
    "label_issues",
    "read",
    "update",
]
