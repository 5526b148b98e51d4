"""One run: steps, evaluations, records, checkpoints. Resumes bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from famus_jax.core.state import StepInfo
from famus_jax.parallel.processes import is_writer
from famus_jax.train.checkpoint import Checkpoints
from famus_jax.train.clock import Clock, TimeIsUp
from famus_jax.train.fingerprint import MadeFrom
from famus_jax.train.records import Records

PyTree = Any
# Recorded as means over the steps with a meta update, like what the active layers report.
_INFO_SCALARS = ("loss", "meta_loss", "theta_norm", "open_layers")


class Taken(NamedTuple):
    """What one network's part of one step leaves, still on the device.

    Attributes:
      examples: int32 [n], the positions of the examples that the batch held.
      info: diagnostics and metrics; its `cost` in steps of plain training.
    """

    examples: jax.Array
    info: StepInfo


class Advance(Protocol):
    """How a run takes a step: draws what it needs for step t and dispatches it."""

    @property
    def compilations(self) -> int:
        """How many programs have been compiled so far (a step that adds one takes long)."""
        ...

    def __call__(self, state: PyTree, t: int) -> tuple[PyTree, Sequence[Taken]]:
        """`state` is donated; one `Taken` per network, in the same order in every step."""
        ...


class Run(NamedTuple):
    """What one run needs.

    Attributes:
      name: for messages.
      advance: takes a step.
      state: the state before the first step, a pytree of arrays.
      evaluate: `state -> {"test_accuracy": ..., "validation_accuracy": ...}`.
      wrong: bool [N], which labels were corrupted (for the record of weights; never trained on).
      learns: whether there is a meta-model, whose diagnostics are recorded.
      reweights: whether its weights tell something of the examples, and are recorded.
      steps, eval_every, checkpoint_every: counts of steps.
      made_from: hashes of config and data, see `fingerprint`; kept with every checkpoint.
      per_example: `state -> {name: [N]}`, what else the state tells of every example.
    """

    name: str
    advance: Advance
    state: PyTree
    evaluate: Callable[[PyTree], dict[str, float]]
    wrong: np.ndarray
    learns: bool
    reweights: bool
    steps: int
    eval_every: int
    checkpoint_every: int
    made_from: MadeFrom = MappingProxyType({})
    per_example: Callable[[PyTree], dict[str, np.ndarray]] = lambda state: {}


class Finished(NamedTuple):
    """What one run gives.

    Attributes:
      state: the state after the last step.
      history: one dict per evaluation.
      seconds: time spent in steps, over all sessions; compilation and evaluation not counted.
      weights: float64 [N], each example's weight times n, averaged over the evaluation periods that
        reach into the second half of the run (1 = as much as in plain training; NaN = never
        drawn); None without a meta-model.
      per_example: what else the last state tells of every example, `{name: [N]}`.
    """

    state: PyTree
    history: list[dict[str, Any]]
    seconds: float
    weights: np.ndarray | None
    per_example: dict[str, np.ndarray]


def train(
    run: Run,
    folder: Path,
    on_progress: Callable[[int, dict], None],
    clock: Clock | None = None,
) -> Finished:
    """Trains to the end, from the newest checkpoint in `folder` if there is one.

    Args:
      run: see `Run`.
      folder: where checkpoints and records go.
      on_progress: called with (steps just taken, newest measurements) after every evaluation.
      clock: looked at after every evaluation; at least one is reached, whatever it says.

    Raises:
      FloatingPointError: if the loss is not finite, before anything of it is saved.
      TimeIsUp: if the clock says so before the last step, after a checkpoint.
    """
    clock = clock or Clock()
    state, first, history, times, seconds = run.state, 0, [], [], 0.0
    sums = np.zeros((2, len(run.wrong)))  # of weights, and of draws
    with Checkpoints(folder / "checkpoints", run.made_from) as checkpoints:
        if checkpoints.latest_step() is not None:
            (state, sums), record = checkpoints.restore((state, sums))
            state = jax.tree.map(lambda x: x.copy(), state)  # the step donates its input
            sums = sums.copy()  # what is restored may be read-only
            first, seconds = record["step"], record["seconds"]
            history, times = record["history"], record["times"]
            on_progress(first, history[-1] if history else {})
        with Records(folder, history, times, is_writer()) as records:
            while first < run.steps:
                last = min(first + run.eval_every - first % run.eval_every, run.steps)
                state, window, spent = _steps(run, state, first, last)
                seconds += spent
                measured = _measure(run, window, first, last, sums)
                measured.update(run.evaluate(state))
                records.append({"step": last, **measured})
                stop = clock.is_up() and last < run.steps
                if last % run.checkpoint_every == 0 or last == run.steps or stop:
                    saved = {"step": last, "history": records.history, "times": records.times}
                    checkpoints.save(last, (state, sums), {**saved, "seconds": seconds})
                on_progress(last - first, measured)
                if stop:
                    raise TimeIsUp(f"{run.name} is at step {last} of {run.steps}")
                first = last
            history = records.history
    weights = None
    if run.reweights:
        with np.errstate(invalid="ignore"):
            weights = sums[0] / sums[1]
    return Finished(
        state=state,
        history=history,
        seconds=seconds,
        weights=weights,
        per_example=run.per_example(state),
    )


def _steps(run: Run, state: PyTree, first: int, last: int):
    """Dispatches steps without reading anything back, then waits for them."""
    window, spent, timed, untimed = [], 0.0, 0, 0.0
    for t in range(first, last):
        known, start = run.advance.compilations, time.perf_counter()
        state, taken = run.advance(state, t)
        window.append(taken)
        if t == first or run.advance.compilations > known:  # this one may have compiled
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
    by_step = jax.device_get(window)
    taken = [one for step in by_step for one in step]
    infos = [one.info for one in taken]
    losses = np.array([[one.info.loss for one in step] for step in by_step])
    if not np.isfinite(losses).all():
        bad = int(np.argmax(~np.isfinite(losses).all(1)))
        raise FloatingPointError(
            f"{run.name}: the loss is {losses[bad].sum()} at step {first + bad}. Lower "
            "schedule.learning_rate (or the meta-model's meta.learning_rate); the last checkpoint "
            "is from before this step"
        )
    measured: dict[str, float | None] = {
        k: float(np.mean([info.metrics[k] for info in infos])) for k in infos[0].metrics
    }
    measured["cost"] = float(np.mean([sum(one.info.cost for one in step) for step in by_step]))
    if not run.learns:
        return {"loss": float(losses.mean()), **measured}
    told = [{name: getattr(info, name) for name in _INFO_SCALARS} | info.active for info in infos]
    for name in told[0]:
        values = [one[name] for one, info in zip(told, infos, strict=True) if info.updated]
        measured[name] = float(np.mean(values)) if values else None
    if not run.reweights:
        return measured
    index = np.concatenate([one.examples for one in taken])
    weights = np.concatenate([info.weights * len(info.weights) for info in infos])
    wrong = run.wrong[index]
    if run.wrong.any():  # else it is not known which are right
        measured["weight_clean"] = _mean(weights[~wrong])
        measured["weight_wrong"] = _mean(weights[wrong])
    if last > run.steps // 2:
        np.add.at(sums[0], index, weights)
        np.add.at(sums[1], index, 1)
    return measured


def _mean(values: np.ndarray) -> float | None:
    mean = float(values.mean()) if len(values) else math.nan
    return mean if math.isfinite(mean) else None
