"""Runs of two networks without trusted labels: their data, compiled steps and evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from famus_jax.core.checks import check_estimator
from famus_jax.core.estimators import Estimator, exact
from famus_jax.core.losses import MetaLoss, mean_of, softmax_cross_entropy
from famus_jax.core.objective import Objective
from famus_jax.core.problem import Problem
from famus_jax.core.tracing import layer_groups
from famus_jax.core.train_step import TrainState, TrainStep, train_step
from famus_jax.objectives import cross_entropy, mixmatch, mixmatch_meta_loss
from famus_jax.train import loop, pair, streams
from famus_jax.train.config import (
    RunConfig,
    build_estimator,
    build_meta_optimizer,
    build_objective,
    build_optimizer,
    build_schedule,
)
from famus_jax.train.methods import METHODS
from famus_jax.train.setting import Seeded, Setting

PyTree = Any


class PairRuns:
    """Makes `loop.Run`s of two networks; runs of one method share a compiled step."""

    def __init__(self, setting: Setting):
        self._setting = setting
        self._steps: dict[str, TrainStep] = {}

    def check(self, run: RunConfig) -> None:
        """Raises `ValueError` if the estimator does not fit the network, or there are too few examples."""
        setting, schedule = self._setting, self._setting.config.schedule
        objective, meta_loss, size = self._method(run)
        estimator = _estimator(run)
        params, model_state = jax.eval_shape(setting.init, jax.random.key(0))
        batch = {"image": jax.ShapeDtypeStruct((2, *setting.image_shape), np.float32)}
        groups = layer_groups(
            setting.forward, params, model_state, jax.random.key(0), batch, by=estimator.group_by
        )
        rho = schedule.meta_batch_size / size
        check_estimator(
            Problem(setting.forward, objective, meta_loss, groups), estimator, rho, size
        )

    @contextlib.contextmanager
    def open(self, seeded: Seeded, steps: int) -> Iterator[loop.Run]:
        """The run, ready for `loop.train`; what reads data for it ends with the block."""
        setting, config, data = self._setting, self._setting.config, seeded.data
        settings, schedule = config.pseudo_clean, config.schedule
        method, estimator = METHODS[seeded.run.method], _estimator(seeded.run)
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

            def open_parts(on, clean: np.ndarray, judged: np.ndarray, k: int) -> pair.Parts:
                n, m = schedule.batch_size, schedule.meta_batch_size
                meta = stream(on, np.flatnonzero(judged), m, k, "meta") if method.meta else None
                if not mixed:
                    return pair.Parts(stream(on, where, n, k, "training"), None, meta)
                rest = where[~clean[where]]
                return pair.Parts(
                    stream(on, np.flatnonzero(clean), n, k, "labelled", views=2),
                    stream(on, rest, n, k, "unlabelled", views=2),
                    meta,
                )

            warm_streams = tuple(
                stream(stack, where, schedule.batch_size, k, "warm-up") for k in (0, 1)
            )
            batch = warm_streams[0].batch(0)
            plain = self._plain_step(batch)
            step, example, meta_example = self._step(seeded.run, batch)
            key_networks, key_targets = jax.random.split(jax.random.key(seeded.seed))
            networks = []
            for key in jax.random.split(key_networks):
                key_init, key_train = jax.random.split(key)
                params, model_state = setting.init(key_init)
                networks.append(step.init(key_train, params, model_state, example, meta_example))
            warm_meta = plain.init(
                key_targets,
                networks[0].params,
                networks[0].model_state,
                {**batch, "step": np.int32(0)},
            ).meta
            targets = None
            if mixed:
                targets = pair.TargetMaker(
                    setting.forward, setting.predict, settings, data.num_classes, method.meta
                )
            n = schedule.batch_size
            advance = pair.TwoNetworks(
                settings,
                (plain, warm_meta),
                step,
                warm_streams,
                open_parts,
                streams.whole_set(data.images, data.noisy, where, data, config.data),
                setting.evaluator,
                targets,
                (n, schedule.meta_batch_size),
                settings.split_every or -(-len(where) // n),
                stack,
            )
            yield loop.Run(
                name=f"{seeded.run.name} seed {seeded.seed}",
                advance=advance,
                state=pair.first_state(
                    tuple(networks),
                    jax.random.fold_in(key_targets, 1),
                    len(data.noisy),
                    settings.average_losses,
                ),
                evaluate=lambda state: self._evaluate(state, seeded),
                wrong=data.wrong,
                weighs=method.meta,
                steps=steps,
                eval_every=min(schedule.eval_every, steps),
                checkpoint_every=schedule.checkpoint_every,
                per_example=lambda state: {"clean_probability": np.nanmean(state.probability, 0)},
            )
