"""What an agreement study is: an ordinary experiment config and what to compare along its runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from famus_jax.core.estimator import Estimator
from famus_jax.gates import LearnedGates
from famus_jax.one_of import one_of
from famus_jax.train.config import ExperimentConfig, parse_config
from famus_jax.train.estimator_spec import build_estimator


@dataclasses.dataclass(frozen=True)
class AgreementConfig:
    """What is measured along the runs.

    Attributes:
      estimators: dicts as in `RunConfig.estimator`, compared along the first run; fixed or random
        sets of layers. (Learned gates are compared along their own runs.)
      points: how often a run pauses: at its start and after every 1/points of its steps.
      batches: fresh pairs of training and meta batch at each point.
      draws: draws of the layers per batch, for estimators that draw them.
      burn_in: the share of the steps that the price of learned gates leaves out, in [0, 1).
      rounds: timed steps of every program, for the price of learned gates.
    """

    estimators: tuple[dict[str, Any], ...] = ()
    points: int = 8
    batches: int = 16
    draws: int = 4
    burn_in: float = 0.25
    rounds: int = 30


class Plan(NamedTuple):
    """A parsed config.

    Attributes:
      experiment: data, network, schedule, seeds and the runs; the first one carries the comparison.
      agreement: see `AgreementConfig`.
      compared: the estimators by label, in the config's order.
    """

    experiment: ExperimentConfig
    agreement: AgreementConfig
    compared: dict[str, Estimator]

    @property
    def steps(self) -> list[int]:
        """The steps at which runs pause to be measured."""
        points = self.agreement.points
        return [i * self.experiment.schedule.steps // points for i in range(points)]

    @property
    def stops(self) -> list[int]:
        """Where runs save a checkpoint: at the pauses, every `checkpoint_every` steps, at the end."""
        schedule = self.experiment.schedule
        between = range(0, schedule.steps, schedule.checkpoint_every)
        return sorted({*self.steps, *between, schedule.steps})

    def as_dict(self) -> dict[str, Any]:
        """Every value of the config, as JSON gives it back."""
        parts = dataclasses.asdict(self.experiment)
        values = {**parts, "agreement": dataclasses.asdict(self.agreement)}
        return json.loads(json.dumps(values, sort_keys=True))

    def digest(self) -> str:
        """A hash of every value."""
        text = json.dumps(self.as_dict(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def parse_agreement(config: Mapping[str, Any]) -> Plan:
    """A nested dict (`ConfigDict.to_dict()`) as a `Plan`.

    Raises:
      ValueError: for what `parse_config` refuses, an unknown field or a count that makes no sense, a
        run without a meta-model that lives on, and estimators that can't be compared this way.
    """
    rest = {key: value for key, value in config.items() if key != "agreement"}
    experiment = parse_config(rest)
    values = dict(config.get("agreement", {}))
    known = [field.name for field in dataclasses.fields(AgreementConfig)]
    for key in values:
        one_of(key, known, "agreement")
    values["estimators"] = tuple(values.get("estimators", ()))
    agreement = AgreementConfig(**values)
    _check_counts(agreement, experiment.schedule.steps)
    for run in experiment.runs:
        if run.method != "mwnet":
            raise ValueError(
                f"runs: method {run.method!r} has no weighting net that is carried from step to step; "
                'an agreement run trains with {"method": "mwnet", "estimator": {...}}'
            )
    compared = _compared(agreement)
    return Plan(experiment, agreement, compared)


def gates_of(estimator: Estimator) -> LearnedGates | None:
    """The gates of an estimator that has learned ones."""
    return estimator.active if isinstance(estimator.active, LearnedGates) else None


def _check_counts(agreement: AgreementConfig, steps: int) -> None:
    for name in ("points", "batches", "draws", "rounds"):
        if getattr(agreement, name) < 1:
            raise ValueError(f"agreement.{name} must be at least 1; got {getattr(agreement, name)}")
    if agreement.batches < 2:
        raise ValueError(
            "agreement.batches must be at least 2, to know a spread over batches; got 1"
        )
    if agreement.points > steps:
        raise ValueError(
            f"agreement.points = {agreement.points} pauses don't fit into schedule.steps = {steps}"
        )
    if not 0 <= agreement.burn_in < 1:
        raise ValueError(f"agreement.burn_in must lie in [0, 1); got {agreement.burn_in}")


def _compared(agreement: AgreementConfig) -> dict[str, Estimator]:
    if not agreement.estimators:
        raise ValueError(
            "agreement.estimators is empty: name the estimators to compare, for instance "
            '({"kind": "last_layers", "k": 1},)'
        )
    compared: dict[str, Estimator] = {}
    for spec in agreement.estimators:
        estimator = build_estimator(spec)
        if gates_of(estimator):
            raise ValueError(
                f"agreement.estimators: learned gates ({estimator.label}) know nothing before they are "
                'trained: give them a run of their own, {"method": "mwnet", "estimator": {...}} in runs'
            )
        if estimator.carries:
            raise ValueError(
                f"agreement.estimators: {estimator.label} carries a direction from step to step, and "
                "here each gradient is taken by itself: leave it out"
            )
        if estimator.update_every != 1 or estimator.control_variate_every:
            raise ValueError(
                f"agreement.estimators: {estimator.label}: `update_every` and `control_variate_every` "
                "say when a gradient is taken, not what it is; leave them out here"
            )
        if estimator.label in compared:
            raise ValueError(f"agreement.estimators: {estimator.label} comes twice")
        compared[estimator.label] = estimator
    return compared
