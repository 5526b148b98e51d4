"""What an experiment prints is true of its rows."""

import numpy as np

from famus_jax.train import plots, results

ROW = {"method": "ce", "estimator": "none", "seed": 0, "acc_best": 0.9, "acc_last": 0.8}
ROW |= {"acc_selected": 0.85, "weight_auroc": None, "noise_rate_realized": None, "seconds": 1.0}
ROW |= {"step_cost": 1.0, "steps": 10, "warnings": []}


def words(rows):
    return " ".join(results.table(rows).split())


def test_one_seed_has_no_spread():
    """Fails if "± 0.0" says that there is none."""
    said = words([ROW])
    assert "±" not in said
    assert "of one seed" in said
    assert "0.0%" not in said
    assert "AUROC:" not in said  # nothing in the table has one


def test_two_seeds_have_one():
    said = words([ROW, {**ROW, "seed": 1, "acc_last": 0.9}])
    assert "85.0 ± 7.1" in said
    assert "over 2 seeds" in said


def test_steps_are_called_the_same_only_where_they_are():
    other = {**ROW, "method": "focal"}
    assert "All rows take the same 10 steps" in words([ROW, other])
    tuned = {**ROW, "method": "finetune", "steps": 3}
    said = words([ROW, other, tuned])
    assert "same" not in said
    assert "on top of CE's" in said
    said = words([ROW, {**ROW, "method": "finetune"}])  # 10, and 10 more
    assert "same" not in said
    assert "end before" in words([ROW, {**ROW, "method": "ce_early_stop", "steps": 6}])


def test_a_curve_of_one_point_can_be_seen(tmp_path):
    """Fails if it is drawn as a line, which has no length."""
    from matplotlib.figure import Figure

    def axis_of(*histories):
        axis = Figure().subplots()
        plots._accuracies(axis, [plots.Curve("ce", "none", histories)], ["C0"])
        return axis

    one = [{"step": 5, "test_accuracy": 0.5}]
    assert axis_of(one).lines[0].get_marker() == "o"
    bars = axis_of(one, [{"step": 5, "test_accuracy": 0.7}])
    np.testing.assert_allclose(bars.lines[0].get_ydata(), [60])
    assert len(bars.containers) == 1
    two = [*one, {"step": 10, "test_accuracy": 0.6}]
    assert axis_of(two).lines[0].get_marker() == "None"
