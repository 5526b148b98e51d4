"""Accuracies of padded batches: the first choice, and the first five."""

import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.train import results
from famus_jax.train.evaluation import Evaluator


def evaluator():
    return Evaluator(lambda params, state, rng, batch: (batch["image"] * params, state))


@pytest.mark.parametrize("classes", [19, 20])
def test_top_five(classes):
    """Against sorting. Fails for six places, for padding that counts, for networks that vote apart."""
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(40, classes)), rng.integers(0, classes, 40)
    real = np.arange(40) < 33
    batches = [
        {
            "image": jnp.asarray(logits[rows], jnp.float32),
            "label": jnp.asarray(labels[rows]),
            "mask": jnp.asarray(real[rows], jnp.float32),
        }
        for rows in (slice(0, 20), slice(20, 40))
    ]
    order = np.argsort(-logits, axis=1)[real]
    found = evaluator().accuracies([(1.0, ()), (0.5, ())], batches)
    assert found["accuracy"] == pytest.approx(np.mean(order[:, 0] == labels[real]))
    if classes < 20:
        assert set(found) == {"accuracy"}
    else:
        among = (order[:, :5] == labels[real][:, None]).any(1).mean()
        assert found["top5"] == pytest.approx(among)


def test_a_network_without_an_opinion_is_not_right():
    """Equal logits and NaN. Fails if `rank < 5` is asked of comparisons that are all false."""
    for value in (0.0, np.nan):
        batch = {
            "image": jnp.full((4, 30), value),
            "label": jnp.arange(4),
            "mask": jnp.ones(4),
        }
        assert evaluator().accuracies([(1.0, ())], [batch])["top5"] == 0


def test_the_row_and_the_table_have_it():
    """By hand. Fails if the second set's stands for the first's."""
    history = [
        {
            "test_accuracy": 0.1,
            "second_test_accuracy": 0.2,
            "test_top5": t,
            "second_test_top5": s,
            "validation_accuracy": v,
        }
        for t, s, v in ((0.3, 0.6, 0.1), (0.5, 0.2, 0.9), (0.4, 0.5, 0.2))
    ]
    row = results.make_row("ce", "none", 0, history, noise_rate_realized=None, seconds=1.0)
    which = ("best", "last", "selected")
    assert [row[f"top5_{name}"] for name in which] == [0.5, 0.4, 0.5]
    assert [row[f"top5_{name}_second"] for name in which] == [0.6, 0.5, 0.2]
    header, _, line, *_ = results.table([{**row, "step_cost": 1.0}]).splitlines()
    assert "top-5: best" in header
    assert "50.0" in line
