"""Runs of two networks without trusted labels: their data, compiled steps and evaluation."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from famus_jax.core.estimator import Estimator
from famus_jax.core.estimators import all_layers
from famus_jax.core.method import Method
from famus_jax.core.problem import problem as problem_of
from famus_jax.losses import confidence_penalized
from famus_jax.methods import cross_entropy
from famus_jax.train import loop, streams
from famus_jax.train.advance import numbered
from famus_jax.train.build import build_optimizer, build_schedule
from famus_jax.train.config import RunConfig
from famus_jax.train.estimator_spec import build_estimator
from famus_jax.train.evaluation import Member, evaluated, training_accuracy, with_losses
from famus_jax.train.evidence import arrays_of
from famus_jax.train.method_values import Facts
from famus_jax.train.methods import METHODS
from famus_jax.train.setting import Seeded, Setting, batch_shapes, check_fits, shapes_of
from famus_jax.train.suspect import suspect_of
from famus_jax.train.two_networks.advance import BothSteps, Parts, TwoNetworks
from famus_jax.train.two_networks.state import PairState, first_state
from famus_jax.train.two_networks.targets import TargetMaker
from famus_jax.uses.train_step import TrainStep, train_step

PyTree = Any


class TwoNetworkRuns:
    """Makes `loop.Run`s of two networks; runs of one method share a compiled step."""

    def __init__(self, setting: Setting):
        self._setting = setting
        self._steps: dict[str, TrainStep] = {}
        self._both: dict[str, BothSteps] = {}
        self._targets: dict[str, TargetMaker] = {}

    def check(self, run: RunConfig) -> None:
        """Raises `ValueError` if the run's estimator does not fit the network, or on many devices."""
        if self._setting.placement.mesh is not None:
            raise ValueError(
                f"{run.method} trains two networks, which is written for one device only: leave "
                "--devices and --distributed out, or run other methods"
            )
        problem = problem_of(self._setting.forward, self._method(run))
        check_fits(self._setting, problem, _estimator(run), self._size(run))

    @contextlib.contextmanager
    def open(self, seeded: Seeded, steps: int) -> Iterator[loop.Run]:
        """The run, ready for `loop.train`; what reads data for it ends with the block."""
        setting, config, data = self._setting, self._setting.config, seeded.data
        settings, schedule = config.pseudo_clean, config.schedule
        method = METHODS[seeded.run.method]
        mixed, where = method.batches == "mixed", data.splits.train
        with contextlib.ExitStack() as stack:

            def stream(on: contextlib.ExitStack, positions, size, k: int, part: str, views=1):
                return streams.make_stream(
                    on,
                    data,
                    positions,
                    data.noisy,
                    config.data,
                    size,
                    streams.seed_of(seeded.seed, f"{part} {k}"),
                    views=views,
                )

            def open_parts(on, clean: np.ndarray, meta_clean: np.ndarray, k: int) -> Parts:
                n, m = schedule.batch_size, schedule.meta_batch_size
                meta = (
                    stream(on, np.flatnonzero(meta_clean), m, k, "meta") if method.learns else None
                )
                if not mixed:
                    return Parts(stream(on, where, n, k, "training"), None, meta)
                rest = where[~clean[where]]
                return Parts(
                    stream(on, np.flatnonzero(clean), n, k, "labeled", views=2),
                    stream(on, rest, n, k, "unlabeled", views=2),
                    meta,
                )

            warm_streams = (
                stream(stack, where, schedule.batch_size, 0, "warm-up"),
                stream(stack, where, schedule.batch_size, 1, "warm-up"),
            )
            batch = numbered(warm_streams[0].batch(0), 0)
            params, model_state = setting.init(jax.random.key(0))  # for shapes
            plain = self._step(None, params, model_state)
            step = self._step(seeded.run, params, model_state)
            examples = jax.ShapeDtypeStruct((self._size(seeded.run),), np.float32)
            meta_examples = jax.ShapeDtypeStruct((schedule.meta_batch_size,), np.float32)
            key_networks, key_targets = jax.random.split(jax.random.key(seeded.seed))
            networks = []
            for key in jax.random.split(key_networks):
                key_init, key_train = jax.random.split(key)
                first = step.init(key_train, *setting.init(key_init), examples, meta_examples)
                if mixed and setting.record is not None:  # the warm-up records, the step does not
                    first = first._replace(recorded=setting.record.init())
                networks.append(first)
            warm_meta = plain.init(key_targets, params, model_state, batch).meta
            targets = None
            if mixed:  # compiled once for all seeds
                made = TargetMaker(
                    setting.forward, setting.predict, settings, data.num_classes, method.learns
                )
                targets = self._targets.setdefault(seeded.run.name, made)
            n = schedule.batch_size
            advance = TwoNetworks(
                config=settings,
                warm_up=(plain, warm_meta),
                steps=self._both.setdefault(seeded.run.name, BothSteps(step)),
                warm_streams=warm_streams,
                open_parts=open_parts,
                training_set=streams.whole_set(
                    data.images, data.noisy, where, data.normalize, config.data
                ),
                evaluator=setting.evaluator,
                targets=targets,
                sizes=(n, schedule.meta_batch_size),
                split_every=settings.split_every or -(-len(where) // n),
                stack=stack,
                record=setting.record if mixed else None,
            )
            yield loop.Run(
                name=f"{seeded.run.name} seed {seeded.seed}",
                advance=advance,
                state=first_state(
                    tuple(networks),
                    jax.random.fold_in(key_targets, 1),
                    len(data.noisy),
                    settings.average_losses,
                ),
                evaluate=lambda state: self._evaluate(state, seeded),
                wrong=data.wrong,
                known=data.noise_rate is not None,
                learns=method.learns,
                reweights=method.learns and not mixed,  # its two parts' losses are of two scales
                weighs=method.learns and not mixed,
                steps=steps,
                eval_every=min(schedule.eval_every, steps),
                checkpoint_every=schedule.checkpoint_every,
                made_from=seeded.made_from,
                guessing=math.log(data.num_classes),
                long_tail=config.data.imbalance_factor > 1,
                suspect=functools.partial(suspect_of, data.images, setting.sources.train.ids),
                per_example=lambda state: {
                    "clean_probability": np.mean(state.probability, 0),
                    **arrays_of([network.recorded for network in state.networks]),
                },
                members=self._evaluated,
            )

    def _evaluate(self, state: PairState, seeded: Seeded) -> dict[str, float]:
        """Accuracies of the ensemble, and how good the splits are (never trained on)."""
        measured = self._setting.evaluator.on_sets(self._evaluated(state), seeded.evaluated)
        if int(state.split_at) < 0:
            return measured
        where, right = seeded.data.splits.train, ~seeded.data.wrong
        clean = np.asarray(state.clean)[:, where]
        measured |= {
            "split_step": float(state.split_at),
            "split_share": float(clean.mean()),
            "split_clamped": float(np.asarray(state.clamped).mean()),
        }
        if seeded.data.noise_rate is not None:  # else it is not known which are right
            measured["split_right"] = float(right[where][None].repeat(2, 0)[clean].mean())
        return measured

    def _evaluated(self, state: PairState) -> list[Member]:
        averaged = bool(self._setting.config.schedule.ema)
        return [evaluated(network, averaged) for network in state.networks]

    def _method(self, run: RunConfig) -> Method:
        facts = Facts(self._setting.sources.train.num_classes)
        return METHODS[run.method].build(self._setting.config, facts)

    def _size(self, run: RunConfig) -> int:
        """Examples in a training batch: two views of both parts where they are mixed."""
        factor = 4 if METHODS[run.method].batches == "mixed" else 1
        return factor * self._setting.config.schedule.batch_size

    def _step(self, run: RunConfig | None, params: PyTree, model_state: PyTree) -> TrainStep:
        """The compiled step of a method; of the warm-up if there is none."""
        config, name = self._setting.config, "warm-up" if run is None else run.name
        if name not in self._steps:
            learning_rate = build_schedule(config.schedule)
            penalty = config.pseudo_clean.confidence_penalty
            method, estimator = cross_entropy(confidence_penalized(penalty)), all_layers()
            if run is not None:
                method, estimator = self._method(run), _estimator(run)
            mixed = run is not None and METHODS[run.method].batches == "mixed"
            weighs = run is not None and METHODS[run.method].learns and method.reweights
            accuracy = with_losses(method.example_loss) if weighs else training_accuracy
            where = shapes_of(params, model_state, batch_shapes(self._setting))
            problem = problem_of(self._setting.forward, method)
            self._steps[name] = train_step(
                problem.on(*where, by=estimator.active.layers_by),
                build_optimizer(config.schedule, learning_rate),
                estimator,
                step_size=learning_rate,
                metrics=_target_accuracy if mixed else accuracy,
                record=None if mixed else self._setting.record,
                ema=config.schedule.ema,
            )
        return self._steps[name]


def _estimator(run: RunConfig) -> Estimator:
    return build_estimator(run.estimator) if run.estimator else all_layers()


def _target_accuracy(outputs: PyTree, batch: PyTree) -> dict[str, jax.Array]:
    """Accuracy against the likeliest class of soft targets."""
    return training_accuracy(outputs, {"label": batch["target"].argmax(-1)})
