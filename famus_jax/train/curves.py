"""What the picture of an experiment shows of a method: its histories, and its weights by label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from famus_jax.train import plots
from famus_jax.train.config import ExperimentConfig, RunConfig
from famus_jax.train.data_setup import SeedData
from famus_jax.train.methods import METHODS


def curve_of(
    config: ExperimentConfig,
    run: RunConfig,
    seeded: Mapping[int, SeedData],
    found: Mapping[int, Mapping[str, Any]],
) -> plots.Curve:
    """A method's curve, of all its seeds.

    Args:
      config, run: of the experiment, of the method.
      seeded: each seed's labels.
      found: each seed's result, with "history" and "weights".
    """
    histories = [result["history"] for result in found.values()]
    weights: dict[str, np.ndarray] = {}
    if all(result["weights"] is not None for result in found.values()):
        parts = [
            (np.array(result["weights"], float), seeded[seed].wrong)
            for seed, result in found.items()
        ]
        known = all(seeded[seed].noise_rate is not None for seed in found)
        weights = by_label([(w[np.isfinite(w)], bad[np.isfinite(w)]) for w, bad in parts], known)
    return plots.Curve(
        method=run.method,
        estimator=run.estimator_label,
        histories=histories,
        offset=config.schedule.steps if METHODS[run.method].needs else 0,
        weights=weights,
    )


WEIGHT_EDGES = tuple(round(0.1 * i, 1) for i in range(41))
"""Of the counts of weights; what is above the last is counted with it."""


def weight_counts(
    weights: np.ndarray | None, wrong: np.ndarray, known: bool
) -> dict[str, list[float]] | None:
    """How many right and wrong labels got which weight: `edges`, and counts by what is known of them.

    None if nothing was weighed.

    >>> found = weight_counts(np.array([0.05, 0.05, 9.0, np.nan]), np.array([True, False] * 2), True)
    >>> found["right"][0], found["wrong"][0], found["wrong"][-1]
    (1, 1, 1)
    """
    if weights is None:
        return None
    drawn = np.isfinite(weights)
    parts = by_label([(np.asarray(weights, float)[drawn], wrong[drawn])], known)
    names = {plots.RIGHT: "right", plots.WRONG: "wrong", plots.UNKNOWN: "unknown"}
    found = {
        names[label]: np.histogram(np.minimum(values, WEIGHT_EDGES[-1]), WEIGHT_EDGES)[0].tolist()
        for label, values in parts.items()
    }
    return {"edges": list(WEIGHT_EDGES), **found} if found else None


def by_label(parts: list[tuple[np.ndarray, np.ndarray]], known: bool) -> dict[str, np.ndarray]:
    """Weights by whether the label is wrong, where that is known; {} if nothing was weighed."""
    if not any(len(w) and np.ptp(w) > 1e-6 for w, _ in parts):
        return {}
    if not known:
        return {plots.UNKNOWN: np.concatenate([w for w, _ in parts])}
    return {
        plots.RIGHT: np.concatenate([w[~bad] for w, bad in parts]),
        plots.WRONG: np.concatenate([w[bad] for w, bad in parts]),
    }
