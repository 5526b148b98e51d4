"""The sections of a config that every method reads: the network and the schedule, as plain values."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from famus_jax.bounds import BatchSize, Bounds, Count, LearningRate, Momentum


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes:
      name: what `famus_jax.models.build_model` knows.
      overrides: its other arguments.
      dtype: what it computes in, `"float32"` or `"bfloat16"`, in training and in evaluation.
        Parameters, their gradients, θ and the optimizers' states are float32 in both.
      pretrained: a safetensors file of weights to start from (of `resnet_50`, in torchvision's naming);
        the head is drawn anew. Empty for none.
    """

    name: str = "cnn"
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)
    dtype: Literal["float32", "bfloat16"] = "float32"
    pretrained: str = ""


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """One schedule for all rows of a table.

    Attributes:
      steps: optimizer steps.
      batch_size, meta_batch_size: n and m.
      learning_rate: the peak; also α of the virtual step.
      decay: `"cosine"`, `"step"` (divided by 10 at each of `milestones`) or `"constant"`.
      milestones: steps.
      momentum, nesterov, weight_decay: of SGD.
      ema: the decay of a moving average of every network, parameters and BatchNorm's statistics, which
        is evaluated and kept as the predictor in the place of the last step's network; 0 for none. See
        `famus_jax.uses.average`.
      finetune_steps, finetune_learning_rate: of the row that fine-tunes on the trusted set.
      eval_every: evaluate every so many steps (and at the end).
      checkpoint_every: save every so many steps, a multiple of `eval_every` (and at the end).
    """

    steps: Count = 1000
    batch_size: BatchSize = 64
    meta_batch_size: BatchSize = 20
    learning_rate: LearningRate = 0.1
    decay: Literal["cosine", "step", "constant"] = "cosine"
    milestones: tuple[Count, ...] = ()
    momentum: Momentum = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Bounds(0, 1e3)] = 5e-4
    ema: Annotated[float, Bounds(0, 1, below=True)] = 0.0
    finetune_steps: Count = 100
    finetune_learning_rate: LearningRate = 0.01
    eval_every: Count = 100
    checkpoint_every: Count = 500


def check_schedule(schedule: ScheduleConfig) -> None:
    """Raises `ValueError` for values that don't go together, naming them."""
    if schedule.checkpoint_every % schedule.eval_every:
        raise ValueError(
            f"schedule.checkpoint_every = {schedule.checkpoint_every} must be a multiple of "
            f"schedule.eval_every = {schedule.eval_every}: checkpoints are taken at evaluations"
        )
    if list(schedule.milestones) != sorted(set(schedule.milestones)):
        raise ValueError(f"schedule.milestones must rise; got {schedule.milestones}")
