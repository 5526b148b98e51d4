"""What training without trusted labels needs beside the schedule, as plain values."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from famus_jax.bounds import Bounds, CountOrNone, NotNegative, Positive

_Threshold = Annotated[float, Bounds(0, 1, above=True, below=True)]


@dataclasses.dataclass(frozen=True)
class PseudoCleanConfig:
    """Two networks that choose a pseudo-clean set for each other. Counts are of steps.

    Attributes:
      warm_up_steps: steps of plain training before the first split; part of `schedule.steps`.
      split_every: split anew every so many steps; 0: every pass over the training set.
      threshold: labels whose probability of being right lies above it are kept.
      meta_threshold: those above it are what the meta loss is of.
      average_losses: fit the mixture to the mean of so many last losses (DivideMix at 90 %: 5).
      confidence_penalty: weight of the predictions' negative entropy in the warm-up (DivideMix,
        asymmetric noise: 1).
      temperature: T of sharpening.
      mixup: a of MixUp's Beta(a, a); 0 for none.
      lambda_u: weight of the unlabeled part, after the ramp.
      ramp_steps: over how many steps after the warm-up it rises from 0.
      prior_weight: weight of KL(uniform ‖ mean prediction).
    """

    warm_up_steps: CountOrNone = 0
    split_every: CountOrNone = 0
    threshold: _Threshold = 0.5
    meta_threshold: _Threshold = 0.5
    average_losses: Annotated[int, Bounds(1, 1000)] = 1
    confidence_penalty: NotNegative = 0.0
    temperature: Positive = 0.5
    mixup: NotNegative = 4.0
    lambda_u: NotNegative = 25.0
    ramp_steps: CountOrNone = 0
    prior_weight: NotNegative = 1.0

    def lambda_u_at(self, t: int) -> float:
        """λ_u at a step: linear from 0 at the end of the warm-up."""
        if not self.ramp_steps:
            return self.lambda_u
        return self.lambda_u * min(max((t - self.warm_up_steps) / self.ramp_steps, 0.0), 1.0)


def check_pseudo_clean(config: PseudoCleanConfig, steps: int) -> None:
    """Raises `ValueError` for a value that can't work, naming it and the way out."""
    if config.warm_up_steps >= steps:
        raise ValueError(
            f"pseudo_clean.warm_up_steps = {config.warm_up_steps} must leave some of schedule.steps = "
            f"{steps}, of which they are a part"
        )
