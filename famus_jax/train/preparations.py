"""Which rows make their training batches by the present network, and with what."""

from __future__ import annotations

from famus_jax.differentiate.linearize import Forward
from famus_jax.train.advance import Preparation
from famus_jax.train.config import ExperimentConfig
from famus_jax.train.mentored import MentorMixer
from famus_jax.train.methods import METHODS
from famus_jax.train.peer_targets import PeerTargets
from famus_jax.train.streams import seed_of


def preparation_of(
    method: str, config: ExperimentConfig, forward: Forward, num_classes: int, seed: int
) -> Preparation | None:
    """What makes the batches of a method's run; None if they are as the stream gives them.

    Args:
      method: a row of `METHODS`.
      config: its sections.
      forward: of one network, in training mode.
      num_classes: C.
      seed: of the run.
    """
    kind = METHODS[method].batches
    if kind == "noisy+mentormix":
        return MentorMixer(
            forward,
            num_classes,
            config.mentormix,
            config.mentor_burn_in,
            seed_of(seed, "mentormix"),
        )
    if kind == "noisy+elr_plus":
        return PeerTargets(forward, num_classes, config.elr_plus.mixup, seed_of(seed, "elr_plus"))
    return None
