"""From a config's schedule to learning rates and the network's optimizer."""

from __future__ import annotations

import optax

from famus_jax.train.schema import ScheduleConfig


def build_schedule(schedule: ScheduleConfig, *, finetune: bool = False) -> optax.Schedule:
    """The learning rate at a step; the same for the optimizer and for α.

    >>> float(build_schedule(ScheduleConfig(steps=100, learning_rate=0.1))(0))
    0.10000000149011612
    """
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
