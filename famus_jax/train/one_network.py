"""Runs of one network: what a row of the table trains on, from where, and by which compiled step."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from famus_jax.core.estimators import all_layers
from famus_jax.core.method import Method
from famus_jax.core.problem import problem as problem_of
from famus_jax.differentiate.linearize import Forward
from famus_jax.forward import pair
from famus_jax.train import loop, streams
from famus_jax.train.advance import OneNetwork, numbered
from famus_jax.train.build import build_optimizer, build_schedule
from famus_jax.train.checkpoint import Checkpoints
from famus_jax.train.config import RunConfig
from famus_jax.train.estimator_spec import build_estimator
from famus_jax.train.evaluation import Member, evaluated, training_accuracy, with_losses
from famus_jax.train.evidence import arrays_of, tells_of_labels
from famus_jax.train.method_values import Facts
from famus_jax.train.methods import METHODS
from famus_jax.train.mixed_stream import MixedStream
from famus_jax.train.preparations import preparation_of, refit_of
from famus_jax.train.setting import Seeded, Setting, check_fits, shapes_of
from famus_jax.train.small_loss import SmallLoss
from famus_jax.train.suspect import suspect_of
from famus_jax.uses.train_state import TrainState
from famus_jax.uses.train_step import TrainStep, train_step

PyTree = Any
_MIXED = ("noisy+mixup", "noisy+mentormix", "noisy+elr_plus", "noisy+m_correction")


class OneNetworkRuns:
    """Makes `loop.Run`s of one network; runs of equal shapes share a compiled step."""

    def __init__(self, setting: Setting):
        self._setting = setting
        self._steps: dict[Any, TrainStep] = {}

    def check_counts(self, run: RunConfig, counts: tuple[int, ...]) -> None:
        """Raises `ValueError` if the run's loss can't be made for these class counts."""
        if METHODS[run.method].reads_counts:
            self._method(run, (), (), counts)

    def check(self, run: RunConfig) -> None:
        """Raises `ValueError` if the run's estimator does not fit the network, or the batches the
        devices."""
        setting, schedule = self._setting, self._setting.config.schedule
        sizes = {"schedule.batch_size": schedule.batch_size}
        if METHODS[run.method].learns or METHODS[run.method].batches == "noisy+trusted":
            sizes["schedule.meta_batch_size"] = schedule.meta_batch_size
        setting.placement.check(sizes)
        alone = {name: "mixes whole batches" for name in _MIXED}
        alone["mended"] = "audits the whole training set"
        method = METHODS[run.method]
        if method.learns and method.meta(setting.config.meta).examples == "small_loss":
            alone["noisy"] = "chooses its meta set from all losses"
        if jax.process_count() > 1 and (what := alone.get(METHODS[run.method].batches)):
            raise ValueError(
                f"{run.method} {what}, which is written for one process only: leave --distributed "
                "out, or run other methods"
            )
        if not run.estimator:
            return
        params, model_state = jax.eval_shape(setting.init, jax.random.key(0))
        problem = problem_of(self._forward(run), self._method(run, params, model_state))
        check_fits(setting, problem, build_estimator(run.estimator), schedule.batch_size)

    @contextlib.contextmanager
    def open(self, seeded: Seeded, steps: int) -> Iterator[loop.Run]:
        """The run, ready for `loop.train`; what reads data for it ends with the block."""
        setting, run = self._setting, seeded.run
        method, config, placement = METHODS[run.method], setting.config, setting.placement
        finetune = method.needs is not None
        with streams.open_streams(
            method,
            seeded.data,
            config.data,
            config.schedule,
            seeded.seed,
            placement.hosts,
            config.meta,
        ) as (stream, trusted):
            if method.batches == "noisy+mixup":
                stream = MixedStream(
                    stream,
                    seeded.data.num_classes,
                    config.mixup.concentration,
                    streams.seed_of(seeded.seed, "mixup"),
                )
            key_init, key_train = jax.random.split(jax.random.key(seeded.seed))
            params, model_state = self._init(run, key_init)
            hosts = placement.hosts["host_count"]
            batch = _of_all(numbered(stream.batch(0), 0), hosts)
            preparation, refit = preparation_of(setting, seeded), refit_of(setting, seeded)
            if preparation is not None:
                batch = preparation.first(params, model_state, batch)
            counts = seeded.data.class_counts
            step = self.step(run, finetune, params, model_state, batch, counts)
            meta_batch = None
            if trusted is not None:
                meta_batch = _of_all(numbered(trusted.batch(0), 0), hosts)
            if method.needs:
                params, model_state = self._parent(method.needs, seeded, batch, params, model_state)

            def evaluate(state: TrainState) -> dict[str, float]:
                return setting.evaluator.on_sets(self._members(run, state), seeded.evaluated)

            def per_example(state: TrainState) -> dict[str, np.ndarray]:
                if not tells_of_labels(method):
                    return {}
                told = arrays_of([placement.everywhere(state.recorded)])
                if refit is not None:
                    told["clean_probability"] = refit.clean_probability(
                        placement.everywhere(state.meta.memory)
                    )
                return told

            chosen = trusted.renewed if isinstance(trusted, SmallLoss) else None
            state = step.init(key_train, params, model_state, batch, meta_batch)
            if refit is not None:
                state = refit.begun(state)

            yield loop.Run(
                name=f"{run.name} seed {seeded.seed}",
                advance=OneNetwork(
                    step, stream, trusted, placement, preparation, method.networks, refit or chosen
                ),
                state=placement.state(state),
                evaluate=evaluate,
                wrong=seeded.data.wrong,
                known=seeded.data.noise_rate is not None,
                learns=trusted is not None,
                reweights=trusted is not None,
                weighs=trusted is not None and step.problem.method.reweights,
                steps=steps,
                eval_every=min(config.schedule.eval_every, steps),
                checkpoint_every=config.schedule.checkpoint_every,
                made_from=seeded.made_from,
                guessing=math.log(seeded.data.num_classes),
                long_tail=config.data.imbalance_factor > 1,
                suspect=functools.partial(
                    suspect_of, seeded.data.images, setting.sources.train.ids
                ),
                members=functools.partial(self._members, run),
                per_example=per_example,
            )

    def step(
        self,
        run: RunConfig,
        finetune: bool,
        params: PyTree,
        model_state: PyTree,
        batch: PyTree,
        counts: tuple[int, ...] = (),
    ) -> TrainStep:
        """The compiled step; plain methods with equal batches share one.

        `counts` are the training examples per class, for methods that read them; equal by default.
        """
        config, n = self._setting.config, batch["label"].shape[0]
        method = self._method(run, params, model_state, counts)
        counts = counts if METHODS[run.method].reads_counts else ()
        mixed = METHODS[run.method].batches in _MIXED
        key = (method.name, tuple(sorted(run.estimator.items())), n, finetune, counts)
        if key not in self._steps:
            learning_rate = build_schedule(config.schedule, finetune=finetune)
            estimator = build_estimator(run.estimator) if run.estimator else all_layers()
            problem = problem_of(self._forward(run), method)
            weighs = METHODS[run.method].learns and method.reweights
            self._steps[key] = train_step(
                problem.on(*shapes_of(params, model_state, batch), by=estimator.active.layers_by),
                build_optimizer(config.schedule, learning_rate),
                estimator,
                step_size=learning_rate,
                metrics=with_losses(method.example_loss) if weighs else training_accuracy,
                compile_with=self._setting.placement.compile_with,
                # A mixture tells nothing of either label.
                record=None if mixed else self._setting.record,
                ema=config.average_decay(run.method),
            )
        return self._steps[key]

    def _forward(self, run: RunConfig) -> Forward:
        setting, method = self._setting, METHODS[run.method]
        forward = setting.featured if method.features(setting.config.meta) else setting.forward
        return pair(forward) if method.networks == 2 else forward

    def _init(self, run: RunConfig, key: jax.Array) -> tuple[PyTree, PyTree]:
        """Parameters and model state; of two networks, pairs."""
        if METHODS[run.method].networks == 1:
            return self._setting.init(key)
        first, second = (self._setting.init(one) for one in jax.random.split(key))
        return (first[0], second[0]), (first[1], second[1])

    def _members(self, run: RunConfig, state: TrainState) -> list[Member]:
        """The networks that are evaluated."""
        params, model_state = evaluated(state, bool(self._setting.config.schedule.ema))
        if METHODS[run.method].networks == 1:
            return [(params, model_state)]
        return list(zip(params, model_state, strict=True))

    def _method(
        self, run: RunConfig, params: PyTree, model_state: PyTree, counts: tuple[int, ...] = ()
    ) -> Method:
        setting = self._setting
        classes = setting.sources.train.num_classes
        facts = Facts(
            num_classes=classes,
            class_counts=counts or (1,) * classes,
            num_examples=len(setting.sources.train.labels),
            noise_rate=setting.config.data.made_noise,
        )
        if METHODS[run.method].reads_features:
            batch = {"image": jax.ShapeDtypeStruct((2, *setting.image_shape), np.float32)}
            key = jax.random.key(0)
            outputs, _ = jax.eval_shape(setting.featured, params, model_state, key, batch)
            facts = facts._replace(feature_size=outputs["features"].shape[1])
        return METHODS[run.method].made(setting.config, facts)

    def _parent(
        self, name: str, seeded: Seeded, batch: PyTree, params: PyTree, model_state: PyTree
    ) -> tuple[PyTree, PyTree]:
        """The network at the end of the run that a fine-tuning starts from."""
        setting, seed, steps = self._setting, seeded.seed, self._setting.config.schedule.steps
        parent = next(run for run in setting.config.runs if run.method == name)
        step = self.step(parent, False, params, model_state, batch)
        like = setting.placement.state(step.init(jax.random.key(seed), params, model_state, batch))
        folder = setting.workdir / "runs" / name / f"seed_{seed}"
        size = len(setting.sources.train.labels)
        with Checkpoints(folder / "checkpoints", seeded.made_from) as checkpoints:
            if (newest := checkpoints.latest_step()) != steps:
                raise ValueError(
                    f"{folder / 'checkpoints'} has no whole checkpoint of {name}'s last step, {steps}, "
                    f"for fine-tuning to start from (the newest is of step {newest}): delete "
                    f"{folder / 'result.json'}, and the same command trains the missing steps first"
                )
            (state, _), _ = checkpoints.restore((like, np.zeros((2, size))))
        return jax.device_get(setting.placement.everywhere(self._members(parent, state)[0]))


def _of_all(batch: dict[str, Any], hosts: int) -> dict[str, Any]:
    """The shapes of the whole batch that `hosts` processes have equal shares of."""

    def shape(x: Any) -> jax.ShapeDtypeStruct:
        leading = () if not np.ndim(x) else (hosts * x.shape[0],)
        return jax.ShapeDtypeStruct((*leading, *np.shape(x)[1:]), x.dtype)

    return jax.tree.map(shape, batch)
