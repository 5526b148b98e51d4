"""What a finished run leaves: its row and history, what it tells of every example, its predictor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from famus_jax.predictor import Predictor
from famus_jax.provenance import made_on
from famus_jax.train import loop, results
from famus_jax.train.curves import weight_counts
from famus_jax.train.data_setup import SeedData
from famus_jax.train.evaluation import Member
from famus_jax.train.methods import METHODS
from famus_jax.train.predictors import predictor_of
from famus_jax.train.setting import Seeded, Setting


def finished(
    setting: Setting,
    seeded: Seeded,
    data: SeedData,
    done: loop.Finished,
    members: Callable[[Any], Sequence[Member]],
    steps: int,
    before: float = 0.0,
) -> tuple[dict[str, Any], dict[str, np.ndarray], Predictor]:
    """The content of `result.json`, the arrays of `evidence.npz`, and the network.

    Args:
      setting, seeded: of the run.
      data: its data as they were before labels were mended, by which its row is judged.
      done: what the training loop returned.
      members: `state -> networks`.
      steps: that the run took.
      before: seconds that were spent before the first step.
    """
    run, config = seeded.run, setting.config
    method = METHODS[run.method]
    predictor = predictor_of(setting, seeded, members(done.state))
    per_example = dict(done.per_example)
    if done.weights is not None:
        per_example["weights"] = done.weights
    if per_example:
        per_example = {"ids": setting.sources.train.ids, **per_example}
    row = results.make_row(
        run.method,
        run.estimator_label,
        seeded.seed,
        done.history,
        noise_rate_realized=data.noise_rate,
        noise_digest=data.noise_digest,
        **made_on(),
        model=config.model.name,
        dtype=config.model.dtype,
        steps=steps,
        seconds=round(before + done.seconds, 3),
        warnings=results.repeated(done.history),
        step_cost=round(results.step_cost(config.schedule, method, done.history), 4),
        weight_auroc=results.auroc(done.weights, data.wrong),
        probability_auroc=results.auroc(done.per_example.get("clean_probability"), data.wrong),
    )
    weights = done.weights
    if weights is not None:  # what is not finite becomes null when it is written
        weights = [round(value, 6) for value in np.asarray(weights, float).tolist()]
    result = {
        "row": row,
        "history": done.history,
        "weights": weights,
        "weight_counts": weight_counts(done.weights, data.wrong, data.noise_rate is not None),
    }
    if run.method == "mlc" and config.transition.carry:  # else it lives for one batch
        result["learned_transition"] = np.asarray(done.state.meta.theta, float).round(6).tolist()
    return result, per_example, predictor
