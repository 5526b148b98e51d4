"""From a config's values to what they stand for: estimators, objectives, schedules, optimisers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import optax

from famus_jax.core import estimators
from famus_jax.core.estimators import Estimator
from famus_jax.core.losses import ExampleLoss, mean_of, softmax_cross_entropy
from famus_jax.core.objective import Objective
from famus_jax.objectives import (
    class_weighted,
    cross_entropy,
    deferred,
    effective_number_weights,
    focal,
    l2r,
    ldam,
    meta_label_correction,
    mixmatch,
    mlc,
    mwnet,
    scaled_cross_entropy,
)
from famus_jax.one_of import one_of
from famus_jax.train.methods import METHODS
from famus_jax.train.schema import MetaConfig, ScheduleConfig

if TYPE_CHECKING:
    from famus_jax.train.config import ExperimentConfig


class Facts(NamedTuple):
    """What a method may have to know of the data and the network.

    Attributes:
      num_classes: C.
      class_counts: training examples per (given, noisy) label; `()` for methods that don't ask.
      feature_size: D, of the network's features; 0 for methods that don't ask.
    """

    num_classes: int
    class_counts: tuple[int, ...] = ()
    feature_size: int = 0


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


def build_objective(method: str, config: ExperimentConfig, facts: Facts) -> Objective:
    """The objective of a method; plain cross-entropy for the baselines.

    Raises:
      ValueError: if a method can't be made for these facts, as with a class without examples.
    """
    objective = METHODS[method].objective
    if objective == "l2r":
        return l2r()
    if objective == "mlc":
        return mlc(facts.num_classes, step=config.transition.step, carry=config.transition.carry)
    if objective == "meta_label_correction":
        section = config.label_correction
        return meta_label_correction(
            facts.num_classes,
            facts.feature_size,
            hidden=section.hidden,
            embedding=section.embedding,
            meta_optimizer=optax.amsgrad(section.learning_rate),
        )
    if METHODS[method].batches == "mixed":
        return mixmatch(
            weigh=objective == "mixmatch",
            hidden=config.meta.hidden,
            prior_weight=config.pseudo_clean.prior_weight,
            meta_optimizer=build_meta_optimizer(config.meta),
        )
    name = METHODS[method].loss
    loss = _losses(config, facts)[name]()
    if objective == "mwnet":
        scaled = mean_of(scaled_cross_entropy(config.long_tail.scale))
        return mwnet(
            loss,
            hidden=config.meta.hidden,
            normalise=config.meta.normalise,  # type: ignore[arg-type]
            meta_optimizer=build_meta_optimizer(config.meta),
            meta_loss=scaled if name.startswith("ldam") else None,
        )._replace(name="mwnet" if name == "cross_entropy" else f"mwnet_{name}")
    return cross_entropy(loss, name=name)


def _losses(config: ExperimentConfig, facts: Facts) -> dict[str, Callable[[], ExampleLoss]]:
    """The example losses that `Method.loss` names, to be made when asked for."""
    values, counts = config.long_tail, facts.class_counts

    def with_margins() -> ExampleLoss:
        return ldam(counts, max_margin=values.max_margin, scale=values.scale)

    def weights() -> tuple[float, ...]:
        return effective_number_weights(counts, values.beta)

    return {
        "cross_entropy": lambda: softmax_cross_entropy,
        "focal": lambda: focal(values.gamma),
        "cb_focal": lambda: class_weighted(focal(values.gamma), weights()),
        "ldam": with_margins,
        "ldam_drw": lambda: deferred(
            with_margins(),
            weights(),
            after=round(values.defer * config.schedule.steps),
            normalise="sum",
        ),
    }


def build_meta_optimizer(meta: MetaConfig) -> optax.GradientTransformation:
    """What moves the meta-model of MW-Net."""
    if meta.optimizer == "adam":
        return optax.adam(meta.learning_rate)
    return optax.sgd(meta.learning_rate, momentum=meta.momentum)


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
