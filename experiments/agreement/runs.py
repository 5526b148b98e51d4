"""Training runs that pause to measure: resumable, everything kept as soon as it is known.

A run saves a checkpoint at `Plan.stops`. At `Plan.steps`, which are among them, it is measured on fresh
batches: those that its streams give beyond the end of the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.agreement.config import Plan, gates_of
from experiments.agreement.gates import gate_probe, gate_record
from experiments.agreement.lines import Lines
from experiments.agreement.measure import Comparer, Scene, draws_of, summarised, weights_record
from famus_jax.benchmark.workload import Workload
from famus_jax.core.estimator import Estimator, all_layers
from famus_jax.core.problem import Problem
from famus_jax.core.problem import problem as problem_of
from famus_jax.gates import LearnedGates
from famus_jax.layers.partition import Layers
from famus_jax.models import build_model
from famus_jax.progress import Progress
from famus_jax.train import data_setup, fingerprint, streams
from famus_jax.train.build import build_optimizer, build_schedule
from famus_jax.train.checkpoint import Checkpoints
from famus_jax.train.config import RunConfig
from famus_jax.train.estimator_spec import build_estimator
from famus_jax.train.method_values import Facts
from famus_jax.train.methods import METHODS
from famus_jax.train.setting import batch_shapes, check_fits, make_setting, shapes_of
from famus_jax.uses.train_step import TrainState, TrainStep, train_step

PyTree = Any


class Study:
    """What all runs share: data, network, problem, compiled comparisons.

    Raises:
      ValueError: for a network, data or estimators that can't work; nothing is written before.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        config = plan.experiment
        self.setting = make_setting(config, Path())
        params, model_state = jax.eval_shape(self.setting.init, jax.random.key(0))
        classes = self.setting.sources.train.num_classes
        method = METHODS["mwnet"].build(config, Facts(classes, (1,) * classes))
        where = shapes_of(params, model_state, batch_shapes(self.setting))
        learned = problem_of(self.setting.forward, method)
        self._problems = {by: learned.on(*where, by=by) for by in ("module", "tensor")}
        self.problem = self._problems["module"]
        self.learning_rate = build_schedule(config.schedule)
        self.optimizer = build_optimizer(config.schedule, self.learning_rate)
        self.n, self.m = config.schedule.batch_size, config.schedule.meta_batch_size
        self.estimators = {run.name: build_estimator(run.estimator) for run in config.runs}
        for estimator in [*self.estimators.values(), *plan.compared.values()]:
            check_fits(self.setting, self.problem_of(estimator), estimator, self.n)
        self._comparers = {
            by: Comparer(problem, self.optimizer) for by, problem in self._problems.items()
        }
        self.comparer = self._comparers["module"]
        sources, seeds = self.setting.sources, config.seeds
        self.seeded = {seed: data_setup.seed_data(sources, config.data, seed) for seed in seeds}
        self.made_from = self._made_from()
        self._steps: dict[str, TrainStep] = {}
        self._probes: dict[str, Callable[[Scene], dict[str, jax.Array]]] = {}

    def _made_from(self) -> dict[str, str]:
        """Hashes of config and data."""
        data = fingerprint.of_data(self.setting.sources, self.seeded, self.setting.pretrained)
        return {**fingerprint.of_config(self.plan.as_dict()), **data}

    def problem_of(self, estimator: Estimator) -> Problem:
        """The problem with the layers that the estimator means (`released` gates: one per tensor)."""
        return self._problems[estimator.active.layers_by]

    def layers_of(self, estimator: Estimator) -> Layers:
        """Those layers."""
        layers = self.problem_of(estimator).layers
        assert layers is not None
        return layers

    def comparer_of(self, estimator: Estimator) -> Comparer:
        """The comparisons over those layers."""
        return self._comparers[estimator.active.layers_by]

    def compared_along(self, run: RunConfig) -> dict[str, Estimator]:
        """The estimators to compare along a run: all on the first, its own gates on its own.

        Gates with gradient matching are compared without it as well: its gradient does not shrink
        with α as the meta gradient does, and can drown it.
        """
        own = self.estimators[run.name]
        compared = dict(self.plan.compared) if run is self.plan.experiment.runs[0] else {}
        if gates := gates_of(own):
            compared[own.label] = own
            if gates.lambda_g:
                alone = dataclasses.replace(gates, lambda_g=0.0)
                compared[f"{own.label}_without_L_g"] = own.replace(active=alone)
        return compared

    def step(self, run: RunConfig) -> TrainStep:
        """The compiled step of a run; its seeds share it."""
        if run.name not in self._steps:
            estimator = self.estimators[run.name]
            self._steps[run.name] = train_step(
                self.problem_of(estimator),
                self.optimizer,
                estimator,
                step_size=self.learning_rate,
            )
        return self._steps[run.name]

    def probe(self, run: RunConfig, spec: LearnedGates) -> Callable[[Scene], dict[str, jax.Array]]:
        """The compiled `gate_probe` of a run."""
        if run.name not in self._probes:
            self._probes[run.name] = gate_probe(self.problem_of(self.estimators[run.name]), spec)
        return self._probes[run.name]

    @contextlib.contextmanager
    def streams(self, seed: int) -> Iterator[tuple[Any, Any, data_setup.SeedData]]:
        """The training and meta batches of a seed, and its data."""
        config, seeded = self.plan.experiment, self.seeded[seed]
        opened = streams.open_streams(METHODS["mwnet"], seeded, config.data, config.schedule, seed)
        with opened as (training, meta):
            yield training, meta, seeded

    def workload(self, seed: int) -> Workload:
        """The network at its start and its first batches, to price programs with."""
        config, setting = self.plan.experiment.model, self.setting
        with self.streams(seed) as (training, meta, _):
            batch, meta_batch = training.batch(0), meta.batch(0)
        params, model_state = setting.init(jax.random.key(seed))
        return Workload(
            model=build_model(config.name, setting.sources.train.num_classes, **config.overrides),
            forward=setting.forward,
            params=params,
            model_state=model_state,
            batch=batch,
            meta_batch=meta_batch,
            layers=self.layers_of(all_layers()),
            dtype=config.dtype,
        )

    def amount(self, run: RunConfig) -> int:
        """The units of progress of a run: steps, and comparisons."""
        per_point = self._comparisons(run)
        return self.plan.experiment.schedule.steps + per_point * self.plan.agreement.points

    def _comparisons(self, run: RunConfig) -> int:
        agreement = self.plan.agreement
        draws = [draws_of(e, agreement.draws) for e in self.compared_along(run).values()]
        return agreement.batches * (1 + sum(draws))


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
                progress.skip(study._comparisons(run) if point in pauses else 0)
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
                name: study.setting.evaluator.accuracy(
                    [(state.params, state.model_state)], examples
                )
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
            record = summarised(jax.device_get(found), mean)
            lines.append({"kind": "agreement", **names, "estimator": label, **record})
        progress.update(times * len(scenes))
