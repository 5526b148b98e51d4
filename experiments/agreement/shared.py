"""What all runs of a study share: data, network, problem, compiled comparisons."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from experiments.agreement.config import Plan, gates_of
from experiments.agreement.gates import gate_probe
from experiments.agreement.measure import Comparer, Scene, draws_of
from famus_jax.benchmark.workload import Workload
from famus_jax.core.estimator import Estimator
from famus_jax.core.estimators import all_layers
from famus_jax.core.problem import Problem
from famus_jax.core.problem import problem as problem_of
from famus_jax.gates import LearnedGates
from famus_jax.layers.partition import Layers
from famus_jax.models import build_model
from famus_jax.train import data_setup, fingerprint, streams
from famus_jax.train.build import build_optimizer, build_schedule
from famus_jax.train.config import RunConfig
from famus_jax.train.estimator_spec import build_estimator
from famus_jax.train.method_values import Facts
from famus_jax.train.methods import METHODS
from famus_jax.train.setting import batch_shapes, check_fits, make_setting, shapes_of
from famus_jax.uses.train_step import TrainStep, train_step

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
        per_point = self.comparisons(run)
        return self.plan.experiment.schedule.steps + per_point * self.plan.agreement.points

    def comparisons(self, run: RunConfig) -> int:
        """The comparisons at one pause of a run."""
        agreement = self.plan.agreement
        draws = [draws_of(e, agreement.draws) for e in self.compared_along(run).values()]
        return agreement.batches * (1 + sum(draws))
