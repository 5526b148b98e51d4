"""How many labels are wrong, and which classes are taken for which: the confident joint.

Northcutt, Jiang, Chuang: Confident Learning, JAIR 2021, sections 3.1 and 3.2
([arXiv:1911.00068](https://arxiv.org/abs/1911.00068)). Symbols: p̂ probabilities, ỹ given labels, y*
true ones, t_c the mean of p̂_c over the examples that are labeled c.
"""

from __future__ import annotations

import numpy as np

from famus_jax.evidence.margins import log_margin

_RECALL = 0.75


def confident_joint(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Estimated number of examples of true class (row) and given label (column), float64 [C, C].

    An example counts where its most probable class, of those with p̂_c ≥ t_c, is c; then each column is
    scaled to the number of its label.

    Args:
      probabilities: float [N, C], best of networks that have not seen the label.
      labels: int [N] in [0, C).

    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.9, 0.1]])
    >>> confident_joint(p, np.array([0, 0, 1, 1])).tolist()
    [[2.0, 1.0], [0.0, 1.0]]
    """
    true, counted = _confident(probabilities, labels)
    return _scaled(true[counted], labels[counted], labels, probabilities.shape[1])


def share_wrong(
    probabilities: np.ndarray, labels: np.ndarray, *, draws: int = 200, seed: int = 0
) -> tuple[float, float, float]:
    """Estimated share of wrong labels, and a 95 % interval from a bootstrap over examples.

    The lesser of two counts. The confident joint counts the network's own mistakes as wrong labels. The
    other asks how many labels look as bad as three quarters of those do that were corrupted, after the
    fact, in the way of the confident joint; where all look alike, it counts too few.

    The interval is of chance alone: a network that learns the wrong labels as if they were right
    (noise that follows a rule) finds too few, whatever the draw.
    """
    true, counted = _confident(probabilities, labels)
    classes, seed = probabilities.shape[1], seed % 2**63  # a generator takes no number below 0
    margins = log_margin(probabilities, labels)
    bad = margins <= _looks_corrupted(probabilities, labels, margins, seed)
    agrees = counted & (true == labels)

    def share(rows: np.ndarray) -> float:
        # One minus the trace of the joint over its sum: of each label, the share on the diagonal.
        y = labels[rows]
        size = np.bincount(y, minlength=classes)
        of = np.bincount(y[counted[rows]], minlength=classes)
        kept = np.bincount(y[agrees[rows]], minlength=classes)
        right = np.where(of > 0, kept / np.maximum(of, 1), 1.0)
        confident = 1 - (right * size).sum() / len(rows)
        return float(min(max(confident, 0.0), bad[rows].mean() / _RECALL))

    everyone = np.arange(len(labels))
    generator = np.random.default_rng(seed)
    drawn = [share(generator.integers(0, len(labels), len(labels))) for _ in range(draws)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    middle = share(everyone)
    return middle, min(float(low), middle), max(float(high), middle)


def _looks_corrupted(
    probabilities: np.ndarray, labels: np.ndarray, margins: np.ndarray, seed: int
) -> float:
    """The margin below which `_RECALL` of corrupted labels lie.

    The networks have not seen the label, so that it can be corrupted after the fact. Examples whose own
    label looks doubtful are taken for what the network says.
    """
    classes = probabilities.shape[1]
    true = np.where(margins > np.median(margins), labels, probabilities.argmax(1))
    taken_for = confident_joint(probabilities, labels)
    np.fill_diagonal(taken_for, 0.0)
    taken_for += 1e-3 * len(labels) / classes**2  # a class that is never mistaken gets any other
    np.fill_diagonal(taken_for, 0.0)
    upto = np.cumsum(taken_for / taken_for.sum(1, keepdims=True), 1)
    drawn = np.random.default_rng(seed).random(len(labels))
    other = np.empty_like(true)
    for c in np.unique(true):
        other[true == c] = np.searchsorted(upto[c], drawn[true == c])
    other = np.minimum(other, classes - 1)
    other = np.where(other == true, (other + 1) % classes, other)  # what rounding left
    return float(np.quantile(log_margin(probabilities, other), _RECALL))


def _confident(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class that each example is counted for, and whether it is counted."""
    classes = probabilities.shape[1]
    count = np.bincount(labels, minlength=classes)
    own = probabilities[np.arange(len(labels)), labels]
    threshold = np.bincount(labels, weights=own, minlength=classes) / np.maximum(count, 1)
    # A mean of equal numbers may be above them by rounding.
    above = (probabilities >= threshold - 1e-9) & (count > 0)
    return np.where(above, probabilities, -1).argmax(1), np.asarray(above.any(1))


def _scaled(true: np.ndarray, given: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    joint = np.zeros((classes, classes))
    np.add.at(joint, (true, given), 1)
    empty = joint.sum(0) == 0  # no example of this label is counted: nothing speaks against it
    joint[empty, empty] = 1
    return joint / joint.sum(0) * np.bincount(labels, minlength=classes)
