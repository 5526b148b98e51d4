"""The mean weight by loss over the steps of a window."""

import numpy as np
import pytest

from famus_jax.train import measure
from famus_jax.train.measure import LOSS_EDGES, Told


def test_means_over_steps_count_examples_not_steps():
    """By hand: 1.8 once below 0.1; between 1 and 1.5, 0.6 in one step, 0.3 twice in the other: 0.4.

    Fails for a mean of the steps' means (0.45), an interval that is off by one, and for what a
    checkpoint's JSON forgets.
    """
    steps = [
        (np.array([1.8, 0.6]), np.array([0.05, 1.2])),
        (np.array([0.3, 0.3]), np.array([1.3, 1.4])),
    ]
    window = [
        [Told(0.5, 1.0, {}, {}, by_loss=measure.weight_by_loss(weights, losses))]
        for weights, losses in steps
    ]
    kept = measure.from_json(measure.as_json(window))
    found = measure.means(kept, learns=True, reweights=True)["weight_by_loss"]
    place = LOSS_EDGES.index(1.5)
    assert len(found) == len(LOSS_EDGES) + 1
    assert {i: value for i, value in enumerate(found) if value is not None} == {
        0: 1.8,
        place: pytest.approx(0.4),
    }
    assert measure.weight_by_loss(np.ones(2), None) == []
