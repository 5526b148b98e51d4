"""The sections of an experiment's config but its data: frozen dataclasses of plain values."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes:
      name: what `famus_jax.models.build_model` knows.
      overrides: its other arguments.
      dtype: what it computes in, `"float32"` or `"bfloat16"`, in training and in evaluation.
        Parameters, their gradients, θ and the optimisers' states are float32 in both.
      pretrained: a safetensors file of weights to start from (of `resnet_50`, in torchvision's naming);
        the head is drawn anew. Empty for none.
    """

    name: str = "cnn"
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)
    dtype: str = "float32"
    pretrained: str = ""


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
class TransitionConfig:
    """The transition matrix of MLC: its step β, and whether it is kept from batch to batch."""

    step: float = 70.0
    carry: bool = False


@dataclasses.dataclass(frozen=True)
class LabelCorrectionConfig:
    """The meta-net of meta label correction: units of its layers, size of the labels' embedding,
    learning rate (of Adam with AMSGrad)."""

    hidden: int = 128
    embedding: int = 128
    learning_rate: float = 3e-4


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

    gamma: float = 1.0
    beta: float = 0.9999
    max_margin: float = 0.5
    scale: float = 30.0
    defer: float = 0.8


def check_sections(
    transition: TransitionConfig, correction: LabelCorrectionConfig, long_tail: LongTailConfig
) -> None:
    """Raises `ValueError` for a value that can't work, naming it."""
    positive = {
        "transition.step": transition.step,
        "label_correction.hidden": correction.hidden,
        "label_correction.embedding": correction.embedding,
        "label_correction.learning_rate": correction.learning_rate,
        "long_tail.scale": long_tail.scale,
    }
    for name, value in positive.items():
        if value <= 0:
            raise ValueError(f"{name} must be positive; got {value}")
    for name in ("gamma", "max_margin"):
        if getattr(long_tail, name) < 0:
            raise ValueError(f"long_tail.{name} must be 0 or more; got {getattr(long_tail, name)}")
    if not 0 <= long_tail.beta < 1:
        raise ValueError(f"long_tail.beta must lie in [0, 1); got {long_tail.beta}")
    if not 0 <= long_tail.defer <= 1:
        raise ValueError(
            f"long_tail.defer, a share of the steps, must lie in [0, 1]; got {long_tail.defer}"
        )
