"""The sections of a config that every method reads: the network and the schedule, as plain values."""

from __future__ import annotations

import dataclasses
from typing import Any

from famus_jax.one_of import one_of


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
    dtype: str = "float32"
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


def check_schedule(schedule: ScheduleConfig) -> None:
    """Raises `ValueError` for a value that can't work, naming it."""
    one_of(schedule.decay, ("cosine", "step", "constant"), "schedule.decay")
    for name in ("steps", "batch_size", "meta_batch_size", "finetune_steps", "eval_every"):
        if getattr(schedule, name) < 1:
            raise ValueError(f"schedule.{name} must be at least 1; got {getattr(schedule, name)}")
    if schedule.checkpoint_every % schedule.eval_every:
        raise ValueError(
            f"schedule.checkpoint_every = {schedule.checkpoint_every} must be a multiple of "
            f"schedule.eval_every = {schedule.eval_every}: checkpoints are taken at evaluations"
        )
