"""One run: steps, evaluations, records, checkpoints. Resumes bit by bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from famus_jax.core.train_step import TrainState, TrainStep
from famus_jax.data import Stream
from famus_jax.train.checkpoint import Checkpoints
from famus_jax.train.records import Records

PyTree = Any
_INFO_SCALARS = (
    "loss",
    "meta_loss",
    "theta_norm_c",
    "theta_norm_g",
    "gate_norm_c",
    "gate_norm_r",
    "open_groups",
)  # means over the steps with a meta update


class Run(NamedTuple):
    """What one run needs.

    Attributes:
      name: for messages.
      step: the compiled step.
      state: the state before the first step.
      stream: the training batches.
      meta_stream: the trusted batches; None for methods without a meta-model.
      evaluate: `state -> {"test_accuracy": ..., "validation_accuracy": ...}`.
      wrong: bool [N], which labels were corrupted (for the record of weights; never trained on).
      steps, eval_every, checkpoint_every: counts of steps.
    """

    name: str
    step: TrainStep
    state: TrainState
    stream: Stream
    meta_stream: Stream | None
    evaluate: Callable[[TrainState], dict[str, float]]
    wrong: np.ndarray
    steps: int
    eval_every: int
    checkpoint_every: int


class Finished(NamedTuple):
    """What one run gives.

    Attributes:
      state: the state after the last step.
      history: one dict per evaluation.
      seconds: time spent in steps, over all sessions; compilation and evaluation not counted.
      weights: float64 [N], each example's weight times n, averaged over the evaluation periods that
        reach into the second half of the run (1 = as much as in plain training; NaN = never
        drawn); None without a meta-model.
    """

    state: TrainState
    history: list[dict[str, Any]]
    seconds: float
    weights: np.ndarray | None


def train(run: Run, folder: Path, on_progress: Callable[[int, dict], None]) -> Finished:
    """Trains to the end, from the newest checkpoint in `folder` if there is one.

    Args:
      run: see `Run`.
      folder: where checkpoints and records go.
      on_progress: called with (steps just taken, newest measurements) after every evaluation.

    Raises:
      FloatingPointError: if the loss is not finite, before anything of it is saved.
    """
    state, first, history, seconds = run.state, 0, [], 0.0
    sums = np.zeros((2, len(run.wrong)))  # of weights, and of draws
    with Checkpoints(folder / "checkpoints") as checkpoints:
        if checkpoints.latest_step() is not None:
            (state, sums), record = checkpoints.restore((state, sums))
            state = jax.tree.map(lambda x: x.copy(), state)  # the step donates its input
            sums = np.array(sums)
            first, history, seconds = record["step"], record["history"], record["seconds"]
            on_progress(first, history[-1] if history else {})
        with Records(folder, history) as records:
            while first < run.steps:
                last = min(first + run.eval_every - first % run.eval_every, run.steps)
                state, window, spent = _steps(run, state, first, last)
                seconds += spent
                measured = _measure(run, window, first, last, sums)
                measured.update(run.evaluate(state))
                records.append({"step": last, **measured})
                if last % run.checkpoint_every == 0 or last == run.steps:
                    saved = {"step": last, "history": records.history, "seconds": seconds}
                    checkpoints.save(last, (state, sums), saved)
                on_progress(last - first, measured)
                first = last
            history = records.history
    weights = None
    if run.meta_stream is not None:
        with np.errstate(invalid="ignore"):
            weights = sums[0] / sums[1]
    return Finished(state, history, seconds, weights)


def _steps(run: Run, state: TrainState, first: int, last: int):
    """Dispatches steps without reading anything back, then waits for them."""
    window, spent, timed, untimed = [], 0.0, 0, 0.0
    for t in range(first, last):
        known, start = len(run.step.compiled), time.perf_counter()
        batch = run.stream.batch(t)
        meta_batch = run.meta_stream.batch(t) if run.meta_stream is not None else None
        state, info, metrics = run.step(state, batch, meta_batch)
        window.append((batch["index"], info, metrics))
        if t == first or len(run.step.compiled) > known:  # this one may have compiled
            jax.block_until_ready(state)
            untimed += time.perf_counter() - start
        else:
            spent, timed = spent + time.perf_counter() - start, timed + 1
    start = time.perf_counter()
    jax.block_until_ready(state)
    spent += time.perf_counter() - start
    return state, window, spent * (last - first) / timed if timed else untimed


def _measure(run: Run, window: list, first: int, last: int, sums: np.ndarray) -> dict[str, Any]:
    """Means over the window; adds its weights to `sums`."""
    indices, infos, metrics = (list(x) for x in zip(*jax.device_get(window), strict=True))
    losses = np.array([info.loss for info in infos])
    if not np.isfinite(losses).all():
        t = first + int(np.argmax(~np.isfinite(losses)))
        raise FloatingPointError(
            f"{run.name}: the loss is {losses[t - first]} at step {t}. Lower "
            "schedule.learning_rate (or the meta-model's meta.learning_rate); the last checkpoint "
            "is from before this step"
        )
    measured: dict[str, float | None] = {
        k: float(np.mean([m[k] for m in metrics])) for k in metrics[0]
    }
    if run.meta_stream is None:
        return {"loss": float(losses.mean()), **measured}
    updated = [info for info in infos if info.updated]
    for name in _INFO_SCALARS:
        values = [getattr(info, name) for info in updated]
        measured[name] = float(np.mean(values)) if values else None
    measured["cost"] = float(np.mean([info.cost for info in infos]))
    index = np.concatenate(indices)
    weights = np.concatenate([info.weights * len(info.weights) for info in infos])
    wrong = run.wrong[index]
    measured["weight_clean"] = _mean(weights[~wrong])
    measured["weight_wrong"] = _mean(weights[wrong])
    if last > run.steps // 2:
        np.add.at(sums[0], index, weights)
        np.add.at(sums[1], index, 1)
    return measured


def _mean(values: np.ndarray) -> float | None:
    mean = float(values.mean()) if len(values) else math.nan
    return mean if math.isfinite(mean) else None
