"""Training runs that pause to measure: resumable, everything kept as soon as it is known.

A run saves a checkpoint at `Plan.stops`. At `Plan.steps`, which are among them, it is measured on fresh
batches: those that its streams give beyond the end of the run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.agreement.config import gates_of
from experiments.agreement.gates import gate_record
from experiments.agreement.lines import Lines
from experiments.agreement.measure import Scene, draws_of, summarized, weights_record
from experiments.agreement.shared import Study
from famus_jax.core.estimators import all_layers
from famus_jax.progress import Progress
from famus_jax.train import streams
from famus_jax.train.checkpoint import Checkpoints
from famus_jax.train.config import RunConfig
from famus_jax.uses.train_state import TrainState
from famus_jax.uses.train_step import TrainStep

PyTree = Any


def measure_run(
    study: Study,
    run: RunConfig,
    seed: int,
    folder: Path,
    lines: Lines,
    progress: Progress,
) -> None:
    """Trains a run to its end and measures at every pause; goes on where `lines` end.

    Args:
      study, run, seed: what to train.
      folder: for its checkpoints.
      lines: receives records of the kinds `agreement`, `weights`, `gates`, `window`, `accuracy`.
      progress: of units done, `study.amount(run)` in all.

    Raises:
      FloatingPointError: if the loss stops being finite, before anything of it is saved.
    """
    steps = study.plan.experiment.schedule.steps
    names = {"run": run.name, "seed": seed}
    if lines.has(kind="accuracy", step=steps, **names):
        progress.skip(study.amount(run))
        return
    with (
        study.streams(seed) as (training, meta, seeded),
        Checkpoints(folder, study.made_from) as checkpoints,
    ):
        key_init, key_train = jax.random.split(jax.random.key(seed))
        batch, meta_batch = training.batch(0), meta.batch(0)
        params, model_state = study.setting.init(key_init)
        step = study.step(run)
        state = step.init(key_train, params, model_state, batch, meta_batch)
        sets = streams.evaluation_sets(study.setting.sources, seeded, study.plan.experiment.data)
        at, window = 0, None
        if checkpoints.latest_step() is not None:
            state, record = checkpoints.restore(state)
            state = jax.tree.map(lambda x: x.copy(), state)  # the step donates its input
            at, window = record["step"], record["window"]
            progress.skip(at)
        pauses = study.plan.steps
        for point in study.plan.stops:
            if point < at:
                progress.skip(study.comparisons(run) if point in pauses else 0)
                continue
            if point > at:
                state, window = _advance(run, step, state, training, meta, at, point)
                progress.update(point - at)
                checkpoints.save(point, state, {"step": point, "window": window})
                at = point
            if window is not None:
                lines.append({"kind": "window", **names, "step": point, **window})
            if point in pauses:
                first = steps + pauses.index(point) * study.plan.agreement.batches
                scenes = _scenes(study, state, training, meta, first)
                _measure(study, run, seed, point, scenes, seeded.wrong, lines, progress)
            accuracy = {
                name: study.setting.evaluator.accuracies(
                    [(state.params, state.model_state)], examples
                )["accuracy"]
                for name, examples in sets.items()
            }
            lines.append({"kind": "accuracy", **names, "step": point, **accuracy})


def _advance(run, step: TrainStep, state: TrainState, training, meta, first: int, last: int):
    """Steps from `first` to `last`: the new state, and what each step chose and cost."""
    gated, masks, infos = gates_of(step.estimator) is not None, [], []
    for t in range(first, last):
        if gated:
            masks.append(state.meta.draws.factors[0])
        state, info = step(state, training.batch(t), meta.batch(t))
        infos.append((info.loss, info.program, info.cost))
    losses, programs, costs = (np.array(x) for x in zip(*jax.device_get(infos)))
    if not np.isfinite(losses).all():
        t = int(np.argmax(~np.isfinite(losses)))
        raise FloatingPointError(
            f"{run.name}: the loss is {losses[t]} at step {first + t}. Lower schedule.learning_rate "
            "or meta.learning_rate; the last checkpoint is from before this step"
        )
    window: dict[str, Any] = {
        "first": first,
        "loss": float(losses.mean()),
        "cost": float(costs.mean()),
    }
    if gated:
        window["programs"] = programs.tolist()
        window["open"] = np.mean(jax.device_get(masks), 0).tolist()
    return state, window


def _scenes(study: Study, state: TrainState, training, meta, first: int) -> list[Scene]:
    """The state as it is, with the batches numbered `first` and on."""
    step_size = jnp.asarray(study.learning_rate(state.step), jnp.float32)
    scenes = []
    for i in range(first, first + study.plan.agreement.batches):
        rng = jax.random.fold_in(state.key, i)
        scenes.append(
            Scene(
                params=state.params,
                model_state=state.model_state,
                opt_state=state.opt_state,
                theta=state.meta.theta,
                active=state.meta.active,
                draws=state.meta.draws,
                rng=rng,
                batch=training.batch(i),
                meta_batch=meta.batch(i),
                step_size=step_size,
            )
        )
    return scenes


def _measure(
    study: Study, run, seed, point, scenes, wrong, lines: Lines, progress: Progress
) -> None:
    """Everything at one pause, one record at a time; what is known already is not done again."""
    names = {"run": run.name, "seed": seed, "step": point}
    comparer, draws = study.comparer, study.plan.agreement.draws
    weights = [comparer.weights(scene) for scene in scenes]
    lines.append({"kind": "weights", **names, **weights_record(scenes, weights, wrong)})
    own = gates_of(study.estimators[run.name])
    if own is not None and not lines.has(kind="gates", **names):
        probe = study.probe(run, own)
        problem = study.problem_of(study.estimators[run.name])
        record = gate_record(own, problem, [probe(scene) for scene in scenes])
        lines.append({"kind": "gates", **names, **record})
    exacts, samples = [], []
    for scene, v in zip(scenes, weights):
        exacts.append(comparer.exact(scene, v))
        samples.append(comparer.compare(all_layers(), scene, v, exacts[-1], scene.rng))
    mean = np.stack([np.asarray(x.theta, np.float64) for x in samples]).mean(0)
    progress.update(len(scenes))
    for label, estimator in study.compared_along(run).items():
        times = draws_of(estimator, draws)
        if not lines.has(kind="agreement", estimator=label, **names):
            found = [
                study.comparer_of(estimator).compare(
                    estimator, scene, v, s, jax.random.fold_in(scene.rng, draw)
                )
                for scene, v, s in zip(scenes, weights, exacts)
                for draw in range(times)
            ]
            record = summarized(jax.device_get(found), mean)
            lines.append({"kind": "agreement", **names, "estimator": label, **record})
        progress.update(times * len(scenes))
