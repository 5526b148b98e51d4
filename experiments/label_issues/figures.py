"""How good a list of suspects is, where the truth is known."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

BINS = 10


def ranking(score: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """AUROC, average precision, and precision among as many as are wrong.

    Args:
      score: float [N], high where the label looks wrong; ties are broken at random for the precision.
      wrong: bool [N], what is true.

    >>> found = ranking(np.array([0.9, 0.8, 0.1, 0.2]), np.array([True, False, False, True]))
    >>> found["auroc"], found["precision"]
    (0.75, 0.5)
    """
    count = int(wrong.sum())
    shuffled = np.random.default_rng(0).permutation(len(score))
    first = np.lexsort((shuffled, -score))[:count]
    return {
        "auroc": float(roc_auc_score(wrong, score)),
        "average_precision": float(average_precision_score(wrong, score)),
        "precision": float(wrong[first].mean()),
    }


def calibration_error(p: np.ndarray, wrong: np.ndarray) -> float:
    """Expected calibration error, of ten bins of equal width.

    Σ_b n_b / N |mean of wrong in b - mean p in b|

    >>> round(calibration_error(np.array([0.0, 0.05, 0.9, 0.9]), np.array([0, 0, 1, 0])), 3)
    0.212
    """
    at = np.minimum((p * BINS).astype(int), BINS - 1)
    total = np.bincount(at, weights=np.asarray(wrong, np.float64), minlength=BINS)
    said = np.bincount(at, weights=p, minlength=BINS)
    return float(np.abs(total - said).sum() / len(p))
