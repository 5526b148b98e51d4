"""Runs of one network: what a row of the table trains on, from where, and by which compiled step."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from famus_jax.core.estimator import all_layers
from famus_jax.core.method import Method
from famus_jax.core.problem import problem as problem_of
from famus_jax.data import Stream
from famus_jax.differentiate.linearize import Forward
from famus_jax.train import loop, streams
from famus_jax.train.build import build_optimizer, build_schedule
from famus_jax.train.checkpoint import Checkpoints
from famus_jax.train.config import RunConfig
from famus_jax.train.estimator_spec import build_estimator
from famus_jax.train.evaluation import Member, training_accuracy, with_losses
from famus_jax.train.evidence import arrays_of, tells_of_labels
from famus_jax.train.mentored import MentorMixer
from famus_jax.train.method_values import Facts
from famus_jax.train.methods import METHODS
from famus_jax.train.mixed_stream import MixedStream
from famus_jax.train.placement import ONE_DEVICE, Placement
from famus_jax.train.setting import Seeded, Setting, check_fits, shapes_of
from famus_jax.train.small_loss import SmallLoss
from famus_jax.train.suspect import suspect_of
from famus_jax.uses.train_state import TrainState
from famus_jax.uses.train_step import TrainStep, train_step

PyTree = Any
_MIXED = ("noisy+mixup", "noisy+mentormix")


class OneNetwork:
    """`Advance` for one network: a training batch, a meta batch if there is one, a step.

    A mixer, if there is one, makes the training batch of what the stream gives.
    """

    def __init__(
        self,
        step: TrainStep,
        stream: Stream,
        meta_stream: Stream | None,
        placement: Placement = ONE_DEVICE,
        mixer: MentorMixer | None = None,
    ):
        self._step, self._stream, self._meta_stream = step, stream, meta_stream
        self._placement, self._mixer = placement, mixer

    @property
    def compilations(self) -> int:
        """See `loop.Advance`."""
        return len(self._step.compiled) + int(self._mixer is not None and self._mixer.called)

    def __call__(self, state: TrainState, t: int) -> tuple[TrainState, tuple[loop.Taken]]:
        """See `loop.Advance`. A batch says at which step it is used, for losses that change."""
        batch = self._placement.batch(numbered(self._stream.batch(t), t))
        meta_batch = None
        if isinstance(self._meta_stream, SmallLoss):
            state = self._meta_stream.renewed(state, t)
        if self._meta_stream is not None:
            meta_batch = self._placement.batch(numbered(self._meta_stream.batch(t), t))
        if self._mixer is not None:
            batch = self._mixer(state, batch)
        state, info = self._step(state, batch, meta_batch)
        if self._mixer is not None:
            info = info._replace(cost=info.cost + self._mixer.passes)
        index = self._placement.everywhere(batch["index"])
        return state, (loop.Taken(index, info),)


def numbered(batch: dict[str, Any], t: int) -> dict[str, Any]:
    """The batch with its step, an int32 scalar, as `"step"`."""
    return {**batch, "step": np.int32(t)}


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
            params, model_state = setting.init(key_init)
            hosts = placement.hosts["host_count"]
            batch = _of_all(numbered(stream.batch(0), 0), hosts)
            mixer = self._mixer(run, seeded)
            if mixer is not None:
                batch = mixer.first(params, model_state, batch)
            counts = seeded.data.class_counts
            step = self.step(run, finetune, params, model_state, batch, counts)
            meta_batch = None
            if trusted is not None:
                meta_batch = _of_all(numbered(trusted.batch(0), 0), hosts)
            if method.needs:
                params, model_state = self._parent(method.needs, seeded, batch, params, model_state)

            def evaluate(state: TrainState) -> dict[str, float]:
                return {
                    f"{name}_accuracy": setting.evaluator.accuracy(_members(state), batches)
                    for name, batches in seeded.evaluated.items()
                }

            def per_example(state: TrainState) -> dict[str, np.ndarray]:
                if not tells_of_labels(method):
                    return {}
                return arrays_of([placement.everywhere(state.recorded)])

            yield loop.Run(
                name=f"{run.name} seed {seeded.seed}",
                advance=OneNetwork(step, stream, trusted, placement, mixer),
                state=placement.state(step.init(key_train, params, model_state, batch, meta_batch)),
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
                members=_members,
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
            )
        return self._steps[key]

    def _mixer(self, run: RunConfig, seeded: Seeded) -> MentorMixer | None:
        """What mixes the batches by the present network, if the method does."""
        if METHODS[run.method].batches != "noisy+mentormix":
            return None
        return MentorMixer(
            self._forward(run),
            seeded.data.num_classes,
            self._setting.config.mentormix,
            self._setting.config.mentor_burn_in,
            streams.seed_of(seeded.seed, "mentormix"),
        )

    def _forward(self, run: RunConfig) -> Forward:
        setting = self._setting
        features = METHODS[run.method].features(setting.config.meta)
        return setting.featured if features else setting.forward

    def _method(
        self, run: RunConfig, params: PyTree, model_state: PyTree, counts: tuple[int, ...] = ()
    ) -> Method:
        setting = self._setting
        classes = setting.sources.train.num_classes
        facts = Facts(
            num_classes=classes,
            class_counts=counts or (1,) * classes,
            num_examples=len(setting.sources.train.labels),
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
        return jax.device_get(setting.placement.everywhere((state.params, state.model_state)))


def _members(state: TrainState) -> list[Member]:
    return [(state.params, state.model_state)]


def _of_all(batch: dict[str, Any], hosts: int) -> dict[str, Any]:
    """The shapes of the whole batch that `hosts` processes have equal shares of."""

    def shape(x: Any) -> jax.ShapeDtypeStruct:
        leading = () if not np.ndim(x) else (hosts * x.shape[0],)
        return jax.ShapeDtypeStruct((*leading, *np.shape(x)[1:]), x.dtype)

    return jax.tree.map(shape, batch)
