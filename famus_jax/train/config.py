"""Experiment configs: data in (nested dicts), typed and validated values out.

This is the one place where a config becomes arguments. A config file holds plain values; everything
that can be wrong with them is found here, before any data is read or anything is compiled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import optax

from famus_jax.core import estimators
from famus_jax.core.estimators import Estimator
from famus_jax.core.gates import LearnedGates
from famus_jax.core.objective import Objective
from famus_jax.objectives import cross_entropy, l2r, mwnet
from famus_jax.train.choices import one_of
from famus_jax.train.data_config import DataConfig, check_data
from famus_jax.train.methods import METHODS
from famus_jax.train.pseudo_clean_config import PseudoCleanConfig, check_pseudo_clean


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network: a name that `famus_jax.models.build_model` knows, and its other arguments."""

    name: str = "cnn"
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """One schedule for all rows of a table.

    Attributes:
      steps: optimiser steps.
      batch_size, meta_batch_size: n and m.
      learning_rate: the peak; also α of the virtual step.
      decay: `"cosine"`, `"step"` (divided by 10 at each of `milestones`) or `"constant"`.
      milestones: steps.
      momentum, nesterov, weight_decay: of SGD.
      finetune_steps, finetune_learning_rate: of the row that fine-tunes on the trusted set.
      eval_every: evaluate every so many steps (and at the end).
      checkpoint_every: save every so many steps, a multiple of `eval_every` (and at the end).
    """

    steps: int = 1000
    batch_size: int = 64
    meta_batch_size: int = 20
    learning_rate: float = 0.1
    decay: str = "cosine"
    milestones: tuple[int, ...] = ()
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    finetune_steps: int = 100
    finetune_learning_rate: float = 0.01
    eval_every: int = 100
    checkpoint_every: int = 500


@dataclasses.dataclass(frozen=True)
class MetaConfig:
    """The meta-model of MW-Net: hidden units, learning rate β, momentum, optimiser, normalisation."""

    hidden: int = 100
    learning_rate: float = 1e-3
    momentum: float = 0.9
    optimizer: str = "sgd"
    normalise: str = "sum"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One row of the table: a method and, for methods that learn θ, an estimator.

    `estimator` is a dict with `kind` (`"exact"`, `"second_order"`, `"top_k"`, `"chosen"`, `"block"`,
    `"random_groups"`, `"random_depth"`, `"learned_gates"`) and that function's arguments.
    """

    method: str
    estimator: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """A file name."""
        return "-".join([self.method, *([self.estimator_label] if self.estimator else [])])

    @property
    def estimator_label(self) -> str:
        """For tables; `"none"` for methods without a meta-model."""
        return build_estimator(self.estimator).label if self.estimator else "none"


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """A whole experiment: every run for every seed."""

    data: DataConfig
    model: ModelConfig
    schedule: ScheduleConfig
    meta: MetaConfig
    pseudo_clean: PseudoCleanConfig
    runs: tuple[RunConfig, ...]
    seeds: tuple[int, ...]

    def digest(self) -> str:
        """A hash of every value: two equal digests are one experiment."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def default_config() -> Any:
    """Every field with its default, as an `ml_collections.ConfigDict` for config files to update.

    Fields that a config file leaves alone can then be changed on the command line too.
    """
    from ml_collections import ConfigDict

    parts = {
        "data": DataConfig(),
        "schedule": ScheduleConfig(),
        "meta": MetaConfig(),
        "pseudo_clean": PseudoCleanConfig(),
    }
    values = {name: dataclasses.asdict(part) for name, part in parts.items()}
    return ConfigDict(
        {**values, "model": dataclasses.asdict(ModelConfig()), "runs": (), "seeds": (0,)}
    )


def parse_config(config: Mapping[str, Any]) -> ExperimentConfig:
    """A nested dict (`ConfigDict.to_dict()`) as an `ExperimentConfig`.

    Raises:
      ValueError: for an unknown key, method, estimator, noise, decay, ..., naming it and what there
        is; for counts or rates that make no sense.
    """
    known = [field.name for field in dataclasses.fields(ExperimentConfig)]
    _refuse_unknown(config, known, "config")
    runs = tuple(_build(RunConfig, run, f"runs[{i}]") for i, run in enumerate(config["runs"]))
    parsed = ExperimentConfig(
        data=_build(DataConfig, config.get("data", {}), "data"),
        model=_build(ModelConfig, config.get("model", {}), "model"),
        schedule=_build(ScheduleConfig, config.get("schedule", {}), "schedule"),
        meta=_build(MetaConfig, config.get("meta", {}), "meta"),
        pseudo_clean=_build(PseudoCleanConfig, config.get("pseudo_clean", {}), "pseudo_clean"),
        runs=runs,
        seeds=tuple(config.get("seeds", (0,))),
    )
    _check(parsed)
    return parsed


def build_estimator(spec: Mapping[str, Any]) -> Estimator:
    """An estimator from `{"kind": ..., **arguments}`.

    Raises:
      ValueError: for an unknown kind or argument.
    """
    kinds = {
        "exact": estimators.exact,
        "second_order": estimators.second_order,
        "top_k": estimators.top_k,
        "chosen": estimators.chosen,
        "block": estimators.block,
        "random_groups": estimators.random_groups,
        "random_depth": estimators.random_depth,
        "learned_gates": estimators.learned_gates,
    }
    arguments: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in spec.items() if k != "kind"
    }
    kind = spec.get("kind")
    one_of(kind, kinds, "estimator.kind")
    try:
        return kinds[str(kind)](**arguments)
    except TypeError as error:
        raise ValueError(f"estimator {kind!r} can't take {arguments}: {error}") from error


def build_objective(method: str, meta: MetaConfig) -> Objective:
    """The objective of a method; plain cross-entropy for the baselines."""
    if method == "mwnet":
        return mwnet(
            hidden=meta.hidden,
            normalise=meta.normalise,  # type: ignore[arg-type]
            meta_optimizer=build_meta_optimizer(meta),
        )
    return l2r() if method == "l2r" else cross_entropy()


def build_meta_optimizer(meta: MetaConfig) -> optax.GradientTransformation:
    """What moves θ."""
    make = {"sgd": optax.sgd, "adam": optax.adam}[meta.optimizer]
    momentum = {"momentum": meta.momentum} if meta.optimizer == "sgd" else {}
    return make(meta.learning_rate, **momentum)


def build_schedule(schedule: ScheduleConfig, *, finetune: bool = False) -> optax.Schedule:
    """The learning rate at a step; the same for the optimiser and for α."""
    peak = schedule.finetune_learning_rate if finetune else schedule.learning_rate
    steps = schedule.finetune_steps if finetune else schedule.steps
    if schedule.decay == "cosine":
        return optax.cosine_decay_schedule(peak, steps)
    if schedule.decay == "step" and not finetune:
        return optax.piecewise_constant_schedule(peak, dict.fromkeys(schedule.milestones, 0.1))
    return optax.constant_schedule(peak)


def build_optimizer(
    schedule: ScheduleConfig, learning_rate: optax.Schedule
) -> optax.GradientTransformation:
    """SGD with momentum and (coupled) weight decay, as in all of the paper's settings."""
    return optax.chain(
        optax.add_decayed_weights(schedule.weight_decay),
        optax.sgd(learning_rate, schedule.momentum or None, nesterov=schedule.nesterov),
    )


def _build(cls: type, values: Mapping[str, Any], where: str) -> Any:
    _refuse_unknown(values, [field.name for field in dataclasses.fields(cls)], where)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error


def _refuse_unknown(values: Mapping[str, Any], known: list[str], where: str) -> None:
    for key in values:
        one_of(key, known, where)


def _check(config: ExperimentConfig) -> None:
    schedule = config.schedule
    check_data(config.data)
    one_of(schedule.decay, ("cosine", "step", "constant"), "schedule.decay")
    one_of(config.meta.optimizer, ("sgd", "adam"), "meta.optimizer")
    one_of(config.meta.normalise, ("sum", "n"), "meta.normalise")
    positive = ("steps", "batch_size", "meta_batch_size", "finetune_steps", "eval_every")
    for name in positive:
        if getattr(schedule, name) < 1:
            raise ValueError(f"schedule.{name} must be at least 1; got {getattr(schedule, name)}")
    if schedule.checkpoint_every % schedule.eval_every:
        raise ValueError(
            f"schedule.checkpoint_every = {schedule.checkpoint_every} must be a multiple of "
            f"schedule.eval_every = {schedule.eval_every}: checkpoints are taken at evaluations"
        )
    if any(METHODS[run.method].networks == 2 for run in config.runs if run.method in METHODS):
        check_pseudo_clean(config.pseudo_clean, schedule.steps)
    if not config.runs or not config.seeds:
        raise ValueError("an experiment needs at least one run and one seed")
    for run in config.runs:
        one_of(run.method, METHODS, "runs.method")
        method = METHODS[run.method]
        if method.trusts and not (config.data.trusted_per_class or config.data.trusted_source):
            raise ValueError(
                f"method {run.method!r} needs trusted examples: set data.trusted_per_class or "
                "data.trusted_source (mwnet_pseudo_clean and mixmatch_pseudo_clean need none)"
            )
        if method.meta and not run.estimator:
            raise ValueError(
                f"method {run.method!r} learns weights: give it an estimator, for instance "
                'dict(kind="top_k", k=1, lookahead="active_only")'
            )
        if run.estimator and not method.meta:
            raise ValueError(f"method {run.method!r} has no meta-model: leave its estimator out")
        active = build_estimator(run.estimator).active if run.estimator else None
        if isinstance(active, LearnedGates) and active.lag == 0:
            raise ValueError(
                f"runs: {run.name} draws its gates in the step itself, but the training step must "
                'know them before it is dispatched: add "lag": 2 to the estimator'
            )
        if method.needs and method.needs not in [r.method for r in config.runs]:
            raise ValueError(f"method {run.method!r} builds on {method.needs!r}: add that run too")
    names = [run.name for run in config.runs]
    if len(set(names)) < len(names):
        raise ValueError(f"two runs have the same method and estimator: {names}")
