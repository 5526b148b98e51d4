"""Experiment configs: data in (nested dicts), typed and validated values out.

This is the one place where a config becomes arguments. A config file holds plain values; everything
that can be wrong with them is found here, before any data is read or anything is compiled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, get_type_hints

from famus_jax.bounds import Seed, typed
from famus_jax.one_of import one_of
from famus_jax.train.data_config import DataConfig, check_data
from famus_jax.train.estimator_spec import build_estimator
from famus_jax.train.method_values import MethodValues
from famus_jax.train.methods import METHODS
from famus_jax.train.pretrained import check_pretrained
from famus_jax.train.schema import ModelConfig, check_schedule
from famus_jax.train.two_networks.config import check_pseudo_clean


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One row of the table: a method and, for methods that learn θ, an estimator.

    `estimator` is a dict with `kind` (`"all_layers"`, `"second_order"`, `"last_layers"`,
    `"named_layers"`, `"random_layers"`, `"random_depth"`, `"learned_gates"`) and that function's
    arguments.
    """

    method: str
    estimator: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """A file name."""
        label = self.estimator_label.replace("/", ".")  # a layer may be named by a path
        return "-".join([self.method, *([label] if self.estimator else [])])

    @property
    def estimator_label(self) -> str:
        """For tables; `"none"` for methods without a meta-model."""
        return build_estimator(self.estimator).label if self.estimator else "none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentConfig(MethodValues):
    """A whole experiment: every run for every seed. The sections of methods are inherited."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    runs: tuple[RunConfig, ...]
    seeds: tuple[Seed, ...] = (0,)

    def digest(self) -> str:
        """A hash of every value: two equal digests are one experiment."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def average_decay(self, method: str) -> float:
        """Of the moving average that the networks of a method's runs are kept with; 0 for none."""
        return self.elr_plus.ema if method == "elr_plus" else self.schedule.ema


_SECTIONS: dict[str, type] = {
    "data": DataConfig,
    "model": ModelConfig,
    **get_type_hints(MethodValues),
}


def default_config() -> Any:
    """Every field with its default, as an `ml_collections.ConfigDict` for config files to update.

    Fields that a config file leaves alone can then be changed on the command line too.
    """
    from ml_collections import ConfigDict, FieldReference

    values = {name: dataclasses.asdict(section()) for name, section in _SECTIONS.items()}
    # A name, a dict or a list of them: a plain field would take the default's type only.
    values["data"]["augment"] = FieldReference(values["data"]["augment"], field_type=object)
    return ConfigDict({**values, "runs": (), "seeds": (0,)})


def parse_config(config: Mapping[str, Any]) -> ExperimentConfig:
    """A nested dict (`ConfigDict.to_dict()`) as an `ExperimentConfig`.

    Raises:
      ValueError: for an unknown key, method, estimator, noise, decay, ..., naming it and what there
        is; for a value that its field can't take, and for values that don't go together.
    """
    parsed: ExperimentConfig = typed(ExperimentConfig, config, "")
    _check(parsed)
    return parsed


def _check(config: ExperimentConfig) -> None:
    schedule = config.schedule
    check_data(config.data)
    check_pretrained(config.model)
    check_schedule(schedule)
    if any(run.method in METHODS and METHODS[run.method].splits for run in config.runs):
        check_pseudo_clean(config.pseudo_clean, schedule.steps)
    if not config.runs or not config.seeds:
        raise ValueError("an experiment needs at least one run and one seed")
    if twice := sorted({seed for seed in config.seeds if config.seeds.count(seed) > 1}):
        raise ValueError(
            f"seeds = {config.seeds}: {twice[0]} is there twice, and would be one and the same run; "
            "give different ones"
        )
    for run in config.runs:
        one_of(run.method, METHODS, "runs.method")
        method = METHODS[run.method]
        trusted = config.data.trusted_per_class or config.data.trusted_source
        if method.trusts(config.meta) and not trusted:
            raise ValueError(
                f"method {run.method!r} needs trusted examples: set data.trusted_per_class to at "
                "least 1, or data.trusted_source; or use meta.examples = 'noisy' (with meta.loss = "
                "'mae' or 'clid') or 'small_loss' where it learns from a meta batch "
                "(mwnet_pseudo_clean and mixmatch_pseudo_clean need none)"
            )
        if method.learns and not run.estimator:
            raise ValueError(
                f"method {run.method!r} learns weights: give it an estimator, for instance "
                'dict(kind="all_layers", examples=8)'
            )
        if run.estimator and not method.learns:
            raise ValueError(f"method {run.method!r} has no meta-model: leave its estimator out")
        if method.batches == "clean" and not config.data.corrupts:
            raise ValueError(
                f"method {run.method!r} trains on the labels that data.noise corrupts for the others; "
                "without noise they are the same, right or wrong: leave this run out"
            )
        if method.batches == "mended" and config.data.path == "stream":
            raise ValueError(
                f"method {run.method!r} audits all images at once: set data.path = 'memory', or leave "
                "this run out and train on what `famus audit` and `famus mend` write"
            )
        _check_noise_rate(run.method, config)
        _check_average(run.method, config)
        _check_logits(run.method, config)
        active = build_estimator(run.estimator).active if run.estimator else None
        if active is not None and active.drawn and not active.ahead:
            raise ValueError(
                f"runs: {run.name} draws its layers in the step itself, but the training step must "
                'know them before it is dispatched: add "lag": 2 to the estimator'
            )
        if method.needs and method.needs not in [r.method for r in config.runs]:
            raise ValueError(f"method {run.method!r} builds on {method.needs!r}: add that run too")
    names = [run.name for run in config.runs]
    if len(set(names)) < len(names):
        raise ValueError(f"two runs have the same method and estimator: {names}")


def _check_noise_rate(method: str, config: ExperimentConfig) -> None:
    """Co-teaching must know how many labels are wrong."""
    if method == "co_teaching" and not (config.co_teaching.noise_rate or config.data.made_noise):
        raise ValueError(
            "method 'co_teaching' leaves out as many examples as there are wrong labels: set "
            "co_teaching.noise_rate to their share, which data.noise doesn't say here (`famus audit` "
            "estimates it)"
        )


def _check_average(method: str, config: ExperimentConfig) -> None:
    """There is one moving average of a network."""
    decay, own = config.schedule.ema, config.elr_plus.ema
    if method == "elr_plus" and decay not in (0, own):
        raise ValueError(
            f"schedule.ema = {decay:g}, but the targets of method 'elr_plus' are made with an average "
            f"of elr_plus.ema = {own:g}, and there is one of each network: set both alike, or "
            "schedule.ema to 0 to evaluate the networks themselves"
        )


def _check_logits(method: str, config: ExperimentConfig) -> None:
    """A loss that scales logits wants cosines, the others don't."""
    cosine = bool(config.model.overrides.get("cosine_head"))
    scaled = METHODS[method].scales_logits and config.long_tail.scale != 1
    if scaled and not cosine:
        raise ValueError(
            f"method {method!r} scales logits by long_tail.scale = {config.long_tail.scale:g}, which "
            "is for cosines: set model.overrides.cosine_head = True (for mlp, cnn or resnet_32), "
            "or long_tail.scale = 1"
        )
    if cosine and not METHODS[method].scales_logits:
        raise ValueError(
            f"method {method!r} does not scale logits, and with model.overrides.cosine_head they lie "
            "in [-1, 1], too small to train on: leave cosine_head out, and the LDAM rows to a config "
            "of their own"
        )
