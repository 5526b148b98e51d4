"""Every method of a table: its values in a config, how it is built, what it trains on.

This file and the method's own in the package of methods are all that a method touches: write its
builder here (and a section of values, if it has some of its own), and name it in `METHODS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import optax

from famus_jax import losses, methods
from famus_jax.bounds import Bounds, LearningRate, Momentum, Positive, Share, Units
from famus_jax.core.method import ExampleLoss, Method, mean_of
from famus_jax.losses import softmax_cross_entropy
from famus_jax.train.schema import ScheduleConfig
from famus_jax.train.two_networks.config import PseudoCleanConfig

# --- values -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class MetaConfig:
    """The meta-model of MW-Net: hidden units, learning rate β, momentum, optimizer, normalization."""

    hidden: Units = 100
    learning_rate: LearningRate = 1e-3
    momentum: Momentum = 0.9
    optimizer: Literal["sgd", "adam"] = "sgd"
    normalize: Literal["sum", "n"] = "sum"

    def build_optimizer(self) -> optax.GradientTransformation:
        """What moves the meta-model."""
        if self.optimizer == "adam":
            return optax.adam(self.learning_rate)
        return optax.sgd(self.learning_rate, momentum=self.momentum)


@dataclasses.dataclass(frozen=True)
class TransitionConfig:
    """The transition matrix of MLC: its step β, and whether it is kept from batch to batch."""

    step: Positive = 70.0
    carry: bool = False


@dataclasses.dataclass(frozen=True)
class LabelCorrectionConfig:
    """The meta-net of meta label correction: units of its layers, size of the labels' embedding,
    learning rate (of Adam with AMSGrad)."""

    hidden: Units = 128
    embedding: Units = 128
    learning_rate: LearningRate = 3e-4


@dataclasses.dataclass(frozen=True)
class LongTailConfig:
    """The losses for classes of unequal size.

    Attributes:
      gamma: γ of the focal loss.
      beta: β of the class-balanced weights.
      max_margin: LDAM's margin for the rarest class.
      scale: LDAM's scale of the logits; 30 is for cosines (`model.overrides.cosine_head`).
      defer: the share of the steps after which deferred re-weighting starts (160 of 200 epochs).
    """

    gamma: Annotated[float, Bounds(0, 100)] = 1.0
    beta: Annotated[float, Bounds(0, 1, below=True)] = 0.9999
    max_margin: Annotated[float, Bounds(0, 100)] = 0.5
    scale: Annotated[float, Bounds(0, 1e4, above=True)] = 30.0
    defer: Share = 0.8


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodValues:
    """The sections of a config that builders read; each field is a section of that name."""

    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    meta: MetaConfig = dataclasses.field(default_factory=MetaConfig)
    transition: TransitionConfig = dataclasses.field(default_factory=TransitionConfig)
    label_correction: LabelCorrectionConfig = dataclasses.field(
        default_factory=LabelCorrectionConfig
    )
    long_tail: LongTailConfig = dataclasses.field(default_factory=LongTailConfig)
    pseudo_clean: PseudoCleanConfig = dataclasses.field(default_factory=PseudoCleanConfig)


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


# --- builders -----------------------------------------------------------------------------------

Builder = Callable[[MethodValues, Facts], Method]
Loss = Callable[[MethodValues, Facts], ExampleLoss]


def _cross_entropy(values: MethodValues, facts: Facts) -> ExampleLoss:
    return softmax_cross_entropy


def _focal(values: MethodValues, facts: Facts) -> ExampleLoss:
    return losses.focal(values.long_tail.gamma)


def _cb_focal(values: MethodValues, facts: Facts) -> ExampleLoss:
    return losses.class_weighted(_focal(values, facts), _class_weights(values, facts))


def _ldam(values: MethodValues, facts: Facts) -> ExampleLoss:
    tail = values.long_tail
    return losses.ldam(facts.class_counts, max_margin=tail.max_margin, scale=tail.scale)


def _ldam_drw(values: MethodValues, facts: Facts) -> ExampleLoss:
    return losses.deferred(
        _ldam(values, facts),
        _class_weights(values, facts),
        after=round(values.long_tail.defer * values.schedule.steps),
        normalize="sum",
    )


def _class_weights(values: MethodValues, facts: Facts) -> tuple[float, ...]:
    return losses.effective_number_weights(facts.class_counts, values.long_tail.beta)


def _plain(name: str, loss: Loss) -> Builder:
    """Training on a loss, without a meta-model; steps are shared by `name`."""
    return lambda values, facts: methods.cross_entropy(loss(values, facts), name=name)


def _mwnet(name: str, loss: Loss, *, scaled: bool = False) -> Builder:
    """MW-Net on a loss; `scaled`: its meta loss scales the logits as LDAM does."""

    def build(values: MethodValues, facts: Facts) -> Method:
        scale = values.long_tail.scale
        return methods.mwnet(
            loss(values, facts),
            hidden=values.meta.hidden,
            normalize=values.meta.normalize,
            meta_optimizer=values.meta.build_optimizer(),
            meta_loss=mean_of(losses.scaled_cross_entropy(scale)) if scaled else None,
        )._replace(name=name)

    return build


def _l2r(values: MethodValues, facts: Facts) -> Method:
    return methods.l2r()


def _mlc(values: MethodValues, facts: Facts) -> Method:
    section = values.transition
    return methods.mlc(facts.num_classes, step=section.step, carry=section.carry)


def _meta_label_correction(values: MethodValues, facts: Facts) -> Method:
    section = values.label_correction
    return methods.meta_label_correction(
        facts.num_classes,
        facts.feature_size,
        hidden=section.hidden,
        embedding=section.embedding,
        meta_optimizer=optax.amsgrad(section.learning_rate),
    )


def _mixmatch(*, reweight: bool) -> Builder:
    """The released pipeline's loss on mixed batches, with MW-Net's weights or without."""
    return lambda values, facts: methods.mixmatch(
        reweight=reweight,
        hidden=values.meta.hidden,
        prior_weight=values.pseudo_clean.prior_weight,
        meta_optimizer=values.meta.build_optimizer(),
    )


# --- the table ----------------------------------------------------------------------------------

Batches = Literal["noisy", "clean", "trusted", "noisy+trusted", "mixed"]


class MethodSpec(NamedTuple):
    """One method.

    Attributes:
      title: for tables and legends.
      batches: the training batches: the training set with noisy or clean labels, the trusted set,
        or a noisy batch with a whole meta batch of trusted examples (which oversamples them), or one
        mixed of a labeled and an unlabeled part.
      build: it, of a config's values and the facts; methods that share its name share
        compiled steps.
      learns: whether something is learned from a meta batch: of trusted examples, or, with two
        networks, of those whose labels look right.
      reads_features: whether it needs the network's features besides its logits.
      reads_counts: whether it needs the number of training examples per class.
      scales_logits: whether its loss scales the logits, so that they should be cosines.
      needs: the method whose run it continues or re-reads.
      early_stop: the rows of `needs`, stopped at the best noisy-validation accuracy.
      networks: two choose a pseudo-clean set for each other and need no trusted labels.
    """

    title: str
    batches: Batches = "noisy"
    build: Builder = _plain("cross_entropy", _cross_entropy)
    learns: bool = False
    reads_features: bool = False
    reads_counts: bool = False
    scales_logits: bool = False
    needs: str | None = None
    early_stop: bool = False
    networks: int = 1

    @property
    def trusts(self) -> bool:
        """Whether it needs trusted examples."""
        return "trusted" in self.batches or (self.learns and self.networks == 1)


_MWNET = _mwnet("mwnet", _cross_entropy)

METHODS: dict[str, MethodSpec] = {
    "ce": MethodSpec("cross-entropy"),
    "ce_early_stop": MethodSpec("CE, stopped on noisy validation", needs="ce", early_stop=True),
    "trusted_only": MethodSpec("trusted set only", "trusted"),
    "noisy_plus_trusted": MethodSpec("noisy + trusted (oversampled)", "noisy+trusted"),
    "finetune": MethodSpec("CE, fine-tuned on trusted", "trusted", needs="ce"),
    "mwnet": MethodSpec("MW-Net", build=_MWNET, learns=True),
    "l2r": MethodSpec("L2R", build=_l2r, learns=True),
    "mlc": MethodSpec("MLC (transition matrix)", build=_mlc, learns=True),
    "mlc_after_ce": MethodSpec("MLC, after CE", build=_mlc, learns=True, needs="ce"),
    "meta_label_correction": MethodSpec(
        "meta label correction", build=_meta_label_correction, learns=True, reads_features=True
    ),
    "focal": MethodSpec("focal loss", build=_plain("focal", _focal)),
    "cb_focal": MethodSpec(
        "class-balanced focal loss", build=_plain("cb_focal", _cb_focal), reads_counts=True
    ),
    "ldam": MethodSpec("LDAM", build=_plain("ldam", _ldam), reads_counts=True, scales_logits=True),
    "ldam_drw": MethodSpec(
        "LDAM-DRW", build=_plain("ldam_drw", _ldam_drw), reads_counts=True, scales_logits=True
    ),
    "mwnet_ldam": MethodSpec(
        "MW-Net, LDAM",
        build=_mwnet("mwnet_ldam", _ldam, scaled=True),
        learns=True,
        reads_counts=True,
        scales_logits=True,
    ),
    "mwnet_ldam_drw": MethodSpec(
        "MW-Net, LDAM-DRW",
        build=_mwnet("mwnet_ldam_drw", _ldam_drw, scaled=True),
        learns=True,
        reads_counts=True,
        scales_logits=True,
    ),
    "mwnet_pseudo_clean": MethodSpec(
        "MW-Net, pseudo-clean (Alg. 2)", build=_MWNET, learns=True, networks=2
    ),
    "l2r_pseudo_clean": MethodSpec(
        "L2R, pseudo-clean (Alg. 2)", build=_l2r, learns=True, networks=2
    ),
    "mixmatch_pseudo_clean": MethodSpec(
        "MixMatch, weights, pseudo-clean",
        "mixed",
        build=_mixmatch(reweight=True),
        learns=True,
        networks=2,
    ),
    "dividemix": MethodSpec(
        "MixMatch, pseudo-clean (DivideMix)", "mixed", build=_mixmatch(reweight=False), networks=2
    ),
    "clean": MethodSpec("clean labels (bound)", "clean"),
}
