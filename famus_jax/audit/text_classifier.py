"""A classifier of texts that is one matrix: what an audit of texts leaves for `famus predict`.

The audit's own features know all texts at once and can't be made of a new one. This is a logistic
regression on hashed counts, which can (`data.hashed_texts`): logits = counts K + k.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from famus_jax.audit.items import UNLABELED
from famus_jax.data.hashed_texts import BUCKETS, hashed_texts

# scikit-learn's own. Rows have length 1, so this holds the weights small: right where labels are noisy.
_STRENGTH = 1.0
_STEPS = 300


class TextClassifier(NamedTuple):
    """logits = hashed_texts(texts, buckets) @ kernel + bias.

    Attributes:
      kernel: float32 [2 B, C].
      bias: float32 [C].
      buckets: B.
      seconds: that the training took.
    """

    kernel: np.ndarray
    bias: np.ndarray
    buckets: int
    seconds: float


def train_text_classifier(
    texts: Sequence[str] | np.ndarray, labels: np.ndarray, num_classes: int
) -> TextClassifier:
    """Fits to the texts that have a label; a convex problem, so that no seed is needed.

    Args:
      texts: N.
      labels: int [N] in [0, C); -1: leave it out. A class that no text has is as good as never said.
      num_classes: C.

    Raises:
      ValueError: no label at all.
      ModuleNotFoundError: no scikit-learn.
    """
    start, labels = time.monotonic(), np.asarray(labels)
    kept = np.flatnonzero(labels != UNLABELED)
    if not len(kept):
        raise ValueError("no text has a label: there is nothing to train on")
    counts = hashed_texts([str(texts[int(i)]) for i in kept])
    there, often = np.unique(labels[kept], return_counts=True)
    kernel = np.zeros((counts.shape[1], num_classes), np.float32)
    # Of those that there are, the shares; of the others less than half of one text.
    bias = np.full(num_classes, np.log(0.5 / (len(kept) + 1)), np.float32)
    bias[there] = np.log(often / len(kept))
    if len(there) > 1:
        weights, offsets = _fitted(counts, labels[kept])
        kernel[:, there], bias[there] = weights, offsets
        others = np.setdiff1d(np.arange(num_classes), there)
        bias[others] += offsets.min()
    return TextClassifier(kernel, bias, BUCKETS, time.monotonic() - start)


def _fitted(counts: Any, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[2 B, c] and [c] for the c >= 2 classes that occur."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():  # the last digits decide nothing
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = LogisticRegression(C=_STRENGTH, max_iter=_STEPS).fit(counts, labels)
    weights, offsets = np.asarray(found.coef_), np.asarray(found.intercept_)
    if len(weights) == 1:  # of two classes: what speaks for the second
        weights, offsets = np.concatenate([-weights, weights]) / 2, np.array([-0.5, 0.5]) * offsets
    return weights.T.astype(np.float32), offsets.astype(np.float32)
