"""From trained networks to the evidence on every label."""

from __future__ import annotations

import jax
import numpy as np

from famus_jax.audit.folds import Folds
from famus_jax.audit.items import UNLABELED
from famus_jax.audit.training import Trained
from famus_jax.evidence import sums as evidence_sums
from famus_jax.evidence.margins import log_margin
from famus_jax.evidence.neighbors import (
    near_duplicates,
    nearest_neighbors,
    unlike_all,
    votes,
)
from famus_jax.evidence.types import Evidence, Planted

NEIGHBORS = 10
_VOTE_FLOOR = 0.05  # a vote of ten is no more certain than that


def gather(
    trained: Trained,
    folds: Folds,
    trained_on: np.ndarray,
    labels: np.ndarray,
    features: np.ndarray,
) -> Evidence:
    """Evidence of all kinds.

    Args:
      trained: of `train_folds`.
      folds: what it was given.
      trained_on: int [N], the labels that were trained on; -1 where none was. These vote.
      labels: int [N], the labels to be judged; -1 without one.
      features: float [N, ...], where near means alike: for neighbors and duplicates.
    """
    count = len(folds.seen)
    held_out = np.where(trained.held_out.any(1, keepdims=True), trained.held_out, np.nan)
    near = nearest_neighbors(features, NEIGHBORS)
    vote = votes(near, trained_on, held_out.shape[1])
    labeled = labels != UNLABELED

    def of_any(y: np.ndarray) -> dict[str, np.ndarray]:
        """What can be asked of every label, since nobody has learned it."""
        y = np.where(y == UNLABELED, 0, y)
        return {
            "held_out": log_margin(held_out, y),
            "neighbors": log_margin(vote, y, _VOTE_FLOOR),
        }

    learned = [
        evidence_sums.read(jax.tree.map(lambda leaf, k=k: leaf[k], trained.sums)).kinds
        for k in range(count)
    ]
    network, planted = np.nonzero(folds.planted)
    changed = labels.copy()
    changed[planted] = folds.labels[network, planted]
    of_planted = {name: values[planted] for name, values in of_any(changed).items()}
    asked = np.zeros_like(folds.seen) if folds.asked is None else folds.asked
    honest = folds.seen & ~folds.planted & ~asked
    kinds = of_any(labels)
    for name in learned[0]:
        values = np.stack([one[name] for one in learned])
        of_planted[name] = values[network, planted]
        # Of a label that a person has said to be wrong, what the one network says that learned it.
        known = np.where(asked.any(0), asked, honest) & np.isfinite(values)
        seen = known.sum(0)
        mean = np.where(known, values, 0).sum(0) / np.maximum(seen, 1)
        kinds[name] = np.where(seen > 0, mean, np.nan)
    # What is said of another label than the given one, since a person mended it, is no evidence on it.
    taught = labeled & ((trained_on == labels) | asked.any(0))
    kinds = {
        name: np.where(taught if name in learned[0] else labeled, values, np.nan)
        for name, values in kinds.items()
    }
    return Evidence(
        kinds,
        held_out,
        Planted(planted, changed[planted], of_planted) if len(planted) else None,
        near_duplicates(near),
        unlike_all(near),
    )
