"""One run: steps, evaluations, records, checkpoints. Resumes bit for bit."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from famus_jax.interruption import Interrupted
from famus_jax.parallel.processes import is_writer
from famus_jax.train import health, measure
from famus_jax.train.checkpoint import Checkpoints
from famus_jax.train.clock import Clock, TimeIsUp
from famus_jax.train.evaluation import Member
from famus_jax.train.fingerprint import MadeFrom
from famus_jax.train.measure import Taken, Window
from famus_jax.train.records import Records

PyTree = Any
# How many steps the host may be ahead of the device: enough to keep it busy, few to wait for when a
# signal asks to stop.
_AHEAD = 8


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
      known: whether it is known which labels are right; else `wrong` says nothing of them.
      learns: whether there is a meta-model, whose diagnostics are recorded.
      reweights: whether its weights tell something of the examples, and are recorded.
      weighs: whether the loss is the examples' losses by these weights; False where they only tell
        how far a label is believed.
      steps, eval_every, checkpoint_every: counts of steps.
      long_tail: whether classes differ in size by intent, so that weights may well prefer large losses.
      guessing: the loss of a guess, log C, beside which a loss can be called large.
      suspect: `positions of a batch -> which of its examples stands out`, or "".
      made_from: hashes of config and data, see `fingerprint`; kept with every checkpoint.
      per_example: `state -> {name: [N]}`, what else the state tells of every example.
      members: `state -> ` the networks that decide together where the run is evaluated.
    """

    name: str
    advance: Advance
    state: PyTree
    evaluate: Callable[[PyTree], dict[str, float]]
    wrong: np.ndarray
    known: bool
    learns: bool
    reweights: bool
    weighs: bool
    steps: int
    eval_every: int
    checkpoint_every: int
    guessing: float = float("inf")
    long_tail: bool = False
    suspect: Callable[[np.ndarray], str] = lambda examples: ""
    made_from: MadeFrom = MappingProxyType({})
    per_example: Callable[[PyTree], dict[str, np.ndarray]] = lambda state: {}
    members: Callable[[PyTree], Sequence[Member]] = lambda state: ()


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
      on_progress: called with (steps just taken, newest measurements) after every evaluation; what
        `health` finds wrong is among these, as `"warnings"`. When a run goes on, called first with
        the newest of the steps before, without them.
      clock: looked at after every evaluation; at least one is reached, whatever it says. Its
        interruption is looked at after every step.

    Raises:
      FloatingPointError: if numbers stop being finite, or nothing can come of the run any more; before
        anything of it is saved.
      TimeIsUp: if the clock says so before the last step, after a checkpoint.
      Interrupted: if a signal has asked for it, after a checkpoint.
    """
    clock = clock or Clock()
    state, first, history, times, seconds = run.state, 0, [], [], 0.0
    sums = np.zeros((2, len(run.wrong)))  # of weights, and of draws
    window: Window = []  # the steps since the last evaluation
    with (
        clock.deferred(),
        _named(run),
        Checkpoints(folder / "checkpoints", run.made_from) as checkpoints,
    ):
        if checkpoints.latest_step() is not None:
            (state, sums), record = checkpoints.restore((state, sums))
            state = jax.tree.map(lambda x: x.copy(), state)  # the step donates its input
            sums = sums.copy()  # what is restored may be read-only
            first, seconds = record["step"], record["seconds"]
            history, times = record["history"], record["times"]
            window = measure.from_json(record["window"])
            newest = history[-1] if history else {}
            on_progress(first, {k: v for k, v in newest.items() if k != "warnings"})  # said before
        with Records(folder, history, times, is_writer()) as records:

            def save(step: int, window: Window) -> None:
                kept = {"history": records.history, "times": records.times}
                saved = {"step": step, **kept, "seconds": seconds}
                checkpoints.save(step, (state, sums), {**saved, "window": measure.as_json(window)})

            while first < run.steps:
                last = min(first + run.eval_every - first % run.eval_every, run.steps)
                state, taken, spent = _steps(run, state, first, last, clock)
                seconds += spent
                reached = first + len(taken)
                window += _told(run, taken, first, last, sums)
                begun = reached - len(window)
                health.refuse_nonfinite_state(state, begun, reached)
                if reached < last:
                    save(reached, window)
                    on_progress(reached - first, {})
                    raise _interrupted(run, clock, reached)
                health.refuse_hopeless(window, records.history, run.guessing, last, run.steps)
                measured = measure.means(window, run.learns, run.reweights, run.known)
                measured.update(run.evaluate(state))
                said = health.warnings_of(
                    window, records.history, run.guessing, run.weighs, long_tail=run.long_tail
                )
                said += health.broken_down(records.history, measured)
                records.append({"step": last, **measured, **({"warnings": said} if said else {})})
                window = []
                stop, asked = clock.is_up() and last < run.steps, clock.interrupted()
                if last % run.checkpoint_every == 0 or last == run.steps or stop or asked:
                    save(last, window)
                on_progress(last - first, records.history[-1])
                if asked:
                    raise _interrupted(run, clock, last)
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


@contextlib.contextmanager
def _named(run: Run) -> Iterator[None]:
    """What went wrong, with the run in which it did."""
    try:
        yield
    except FloatingPointError as error:
        raise FloatingPointError(f"{run.name}: {error}") from error


def _interrupted(run: Run, clock: Clock, step: int) -> Interrupted:
    return Interrupted(clock.signal(), f"{run.name} is at step {step} of {run.steps}")


def _steps(
    run: Run, state: PyTree, first: int, last: int, clock: Clock
) -> tuple[PyTree, list[Sequence[Taken]], float]:
    """Dispatches steps ahead of the device, then waits for them; fewer if a signal asks to stop."""
    taken, spent, timed, untimed = [], 0.0, 0, 0.0
    for t in range(first, last):
        known, start = run.advance.compilations, time.perf_counter()
        state, one = run.advance(state, t)
        taken.append(one)
        if t == first or run.advance.compilations > known:  # this one may have compiled
            jax.block_until_ready(state)
            untimed += time.perf_counter() - start
        else:
            if len(taken) > _AHEAD:
                jax.block_until_ready(taken[-_AHEAD])
            spent, timed = spent + time.perf_counter() - start, timed + 1
        if t + 1 < last and clock.interrupted():
            break
    start = time.perf_counter()
    jax.block_until_ready(state)
    spent += time.perf_counter() - start
    return state, taken, spent * len(taken) / timed if timed else untimed


def _told(
    run: Run, taken: list[Sequence[Taken]], first: int, last: int, sums: np.ndarray
) -> Window:
    """The steps' numbers, all of them finite losses; adds their weights to `sums`."""
    steps = jax.device_get(taken)
    window = measure.told(steps, run.wrong, run.reweights)
    health.refuse_nonfinite_loss(
        window, first, lambda i: run.suspect(np.concatenate([one.examples for one in steps[i]]))
    )
    if run.reweights and last > run.steps // 2:
        for one in (part for step in steps for part in step):
            np.add.at(sums[0], one.examples, measure.scaled_weights(one.info))
            np.add.at(sums[1], one.examples, 1)
    return window
