"""What a config says of methods, as plain values: a section for each that has settings of its own."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, NamedTuple

import optax

from famus_jax.bounds import (
    Bounds,
    Count,
    CountOrNone,
    LearningRate,
    Momentum,
    NotNegative,
    Positive,
    Share,
    Units,
)
from famus_jax.train.schema import ScheduleConfig
from famus_jax.train.two_networks.config import PseudoCleanConfig

MetaLossName = Literal["same", "mae", "clid"]
MetaExamples = Literal["trusted", "noisy", "small_loss"]


@dataclasses.dataclass(frozen=True)
class MetaConfig:
    """The meta-model of MW-Net. As published: start random, not monotone, SGD, 1e-3.

    Attributes:
      hidden: units of the weighting net.
      start: flat, all weights the same, or random.
      monotone: weights never rise with the loss. Not for a long tail.
      groups: of classes by size, of the class-aware net.
      learning_rate, optimizer: of the meta-model (β).
      momentum: of SGD.
      normalize: weights over their sum, or over n.
      loss: of the meta batch, for any method that learns: its own, the mean absolute error (which
        noisy labels mislead less), or the cross-layer divergence, which reads no labels.
      temperature: of the cross-layer divergence.
      examples: of the meta batches: trusted ones; the training set with its noisy labels; of that, in
        each class those with the smallest losses so far.
      per_class, decay, select_every: how many of these, how much of the moving average of losses is
        kept from visit to visit, and the steps from choice to choice (0: as many as an epoch has).
    """

    hidden: Units = 100
    start: Literal["flat", "random"] = "flat"
    monotone: bool = True
    groups: Count = 3
    learning_rate: LearningRate = 3e-3
    momentum: Momentum = 0.9
    optimizer: Literal["sgd", "adam"] = "adam"
    normalize: Literal["sum", "n"] = "sum"
    loss: MetaLossName = "same"
    temperature: Positive = 0.2
    examples: MetaExamples = "trusted"
    per_class: Count = 10
    decay: Annotated[float, Bounds(0, 1, below=True)] = 0.9
    select_every: CountOrNone = 0

    def build_optimizer(self) -> optax.GradientTransformation:
        """What moves the meta-model."""
        if self.optimizer == "adam":
            return optax.adam(self.learning_rate)
        return optax.sgd(self.learning_rate, momentum=self.momentum)


DEFAULT_META = MetaConfig()


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


@dataclasses.dataclass(frozen=True)
class ElrConfig:
    """Early-learning regularization.

    Attributes:
      weight: λ. Published: 3 for CIFAR-10 with symmetric noise, 1 asymmetric, 7 for CIFAR-100.
      decay: β of the targets. Published: 0.7 for CIFAR-10 with symmetric noise, 0.9 else.
      dtype: of the targets, which take 4 (or 2) bytes per example and class.
    """

    weight: NotNegative = 3.0
    decay: Annotated[float, Bounds(0, 1, below=True)] = 0.7
    dtype: Literal["float32", "bfloat16"] = "float32"


@dataclasses.dataclass(frozen=True)
class SopConfig:
    """Sparse over-parameterization.

    Attributes:
      u_step, v_step: step sizes. Published: 10 and 10 for CIFAR-10, 1 and 10 for CIFAR-100, there 0.1
        and 100 for asymmetric noise; batches of 128.
      dtype: of u and v, which take 4 (or 2) bytes per example and class.
    """

    u_step: NotNegative = 10.0
    v_step: NotNegative = 10.0
    dtype: Literal["float32", "bfloat16"] = "float32"


@dataclasses.dataclass(frozen=True)
class RobustConfig:
    """Robust losses.

    Attributes:
      q: of generalized cross-entropy.
      sce_alpha, sce_beta: of symmetric cross-entropy. Published: 0.1 and 1 for CIFAR-10, 6 and 0.1 for
        CIFAR-100.
      nce_alpha, rce_beta: of NCE + RCE. Published: 1 and 1 for CIFAR-10, 10 and 0.1 for CIFAR-100.
      log_zero: A of reverse cross-entropy in both; -4 in the paper, log 1e-4 = -9.21 in public code.
      smoothing: of labels; may be negative.
      bootstrap_soft, bootstrap_hard: β of bootstrapping, the label's part.
    """

    q: Share = 0.7
    sce_alpha: NotNegative = 0.1
    sce_beta: NotNegative = 1.0
    nce_alpha: NotNegative = 1.0
    rce_beta: NotNegative = 1.0
    log_zero: Annotated[float, Bounds(-1e3, 0, below=True)] = -4.0
    smoothing: Annotated[float, Bounds(-1e3, 1)] = 0.1
    bootstrap_soft: Share = 0.95
    bootstrap_hard: Share = 0.8


@dataclasses.dataclass(frozen=True)
class MixupConfig:
    """mixup of one network: a of Beta(a, a)."""

    concentration: Positive = 1.0


@dataclasses.dataclass(frozen=True)
class MentorMixConfig:
    """MentorMix, and MentorNet, which reads `percentile`, `decay` and `burn_in`.

    The defaults are those published for CIFAR-10 with 40 % noise; others in `methods.mentormix`.

    Attributes:
      percentile: p of the losses whose moving average is the threshold.
      decay: δ of the moving average.
      burn_in: the share of the steps in which every example counts. The released code's 10 of 100 makes
        it the first 9 %.
      concentration: a of Beta(a, a).
      temperature: T of the partners' softmax; 1 in the released code.
      second_reweight: weight the losses of the mixed batch too.
    """

    percentile: Share = 0.6
    decay: Annotated[float, Bounds(0, 1, below=True)] = 0.5
    burn_in: Share = 0.09
    concentration: Positive = 8.0
    temperature: Positive = 1.0
    second_reweight: bool = False


@dataclasses.dataclass(frozen=True)
class CoTeachingConfig:
    """Co-teaching.

    Attributes:
      noise_rate: τ, the share of wrong labels (`famus audit` estimates it); 0 takes `data.noise_rate`,
        where `data.noise` makes the noise.
      ramp: the share of the steps in which the share of examples that is left out rises to τ; 10 of 200
        epochs are published.
    """

    noise_rate: Annotated[float, Bounds(0, 1, below=True)] = 0.0
    ramp: Share = 0.05


@dataclasses.dataclass(frozen=True)
class ElrPlusConfig:
    """ELR+, beside the section `elr`, of which it has λ, β and the dtype.

    Attributes:
      ema: the decay of the networks' moving averages, which make the targets. They are evaluated too if
        `schedule.ema` is the same; the published ones are not.
      mixup: a of Beta(a, a).
    """

    ema: Annotated[float, Bounds(0, 1, above=True, below=True)] = 0.997
    mixup: Positive = 1.0


@dataclasses.dataclass(frozen=True)
class MCorrectionConfig:
    """M-correction, with the published values.

    Attributes:
      warm_up: the share of the steps that are plain mixup; 105 of 300 epochs.
      mixup: a of Beta(a, a), in the warm-up too.
      prior_weight: η, of KL(uniform ‖ mean prediction) after the warm-up.
    """

    warm_up: Annotated[float, Bounds(0, 1, below=True)] = 0.35
    mixup: Positive = 32.0
    prior_weight: NotNegative = 1.0


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
    elr: ElrConfig = dataclasses.field(default_factory=ElrConfig)
    sop: SopConfig = dataclasses.field(default_factory=SopConfig)
    robust: RobustConfig = dataclasses.field(default_factory=RobustConfig)
    mixup: MixupConfig = dataclasses.field(default_factory=MixupConfig)
    mentormix: MentorMixConfig = dataclasses.field(default_factory=MentorMixConfig)
    elr_plus: ElrPlusConfig = dataclasses.field(default_factory=ElrPlusConfig)
    m_correction: MCorrectionConfig = dataclasses.field(default_factory=MCorrectionConfig)
    co_teaching: CoTeachingConfig = dataclasses.field(default_factory=CoTeachingConfig)

    @property
    def mentor_burn_in(self) -> int:
        """The steps in which MentorNet and MentorMix take every example."""
        return round(self.mentormix.burn_in * self.schedule.steps)

    @property
    def m_correction_warm_up(self) -> int:
        """The steps of M-correction that are plain mixup."""
        return round(self.m_correction.warm_up * self.schedule.steps)


class Facts(NamedTuple):
    """What a method may have to know of the data and the network.

    Attributes:
      num_classes: C.
      class_counts: training examples per (given, noisy) label; `()` for methods that don't ask.
      feature_size: D, of the network's features; 0 for methods that don't ask.
      num_examples: N, of the whole training set, as `batch["index"]` counts it.
      noise_rate: r, of the noise that the config makes; 0 for none.
    """

    num_classes: int
    class_counts: tuple[int, ...] = ()
    feature_size: int = 0
    num_examples: int = 0
    noise_rate: float = 0.0
