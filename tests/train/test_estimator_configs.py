"""The comparison of estimators: its config, and what it says about the learned weights."""

import pathlib
import runpy

import numpy as np
import pytest

from famus_jax.train import results
from famus_jax.train.config import parse_config
from famus_jax.train.estimator_spec import build_estimator

CONFIG = runpy.run_path(pathlib.Path(__file__).parents[2] / "configs" / "estimators.py")


@pytest.mark.parametrize("variant", CONFIG["VARIANTS"])
def test_every_row_is_an_estimator(variant):
    """Fails if a row names an estimator or an argument that is not there, or two rows are one."""
    parsed = parse_config(CONFIG["get_config"](variant).to_dict())
    labels = [(run.method, run.estimator_label) for run in parsed.runs]
    assert len(set(labels)) == len(labels)
    assert ("ce", "none") in labels
    wanted = "gates_released_" if variant.endswith("_gates") else "all_layers_examples8"
    assert any(label.startswith(wanted) for method, label in labels if method == "mwnet")
    assert (len(labels) <= 6) == variant.endswith(("_short", "_gates"))
    for run in parsed.runs:
        if run.estimator:
            assert build_estimator(run.estimator).label == run.estimator_label


def test_auroc_by_hand():
    """Three of the four pairs of a right and a wrong label are in order; NaN was never drawn.

    Fails if wrong labels count as the ones to weigh more, or examples never drawn count at all.
    """
    weights = np.array([0.9, 0.3, 0.5, 0.1, np.nan])
    wrong = np.array([False, False, True, True, True])
    assert results.auroc(weights, wrong) == 0.75
    assert results.auroc(weights, np.zeros(5, bool)) is None
    assert results.auroc(None, wrong) is None


def test_table_without_weights():
    """A method without weights shows a dash, not a number."""
    row = {
        "method": "ce",
        "estimator": "none",
        "seed": 0,
        "acc_best": 0.5,
        "acc_last": 0.4,
        "acc_selected": 0.4,
        "noise_rate_realized": 0.5,
        "seconds": 1.0,
        "step_cost": 1.0,
        "weight_auroc": None,
    }
    line = results.table([row]).splitlines()[2]
    assert line.split()[-4:] == ["-", "50.0%", "1.00", "1.00"]
