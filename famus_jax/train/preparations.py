"""Which rows make their training batches by the present network, and with what."""

from __future__ import annotations

from famus_jax.train.advance import Preparation
from famus_jax.train.loss_correction import LossCorrection, LossModelFit
from famus_jax.train.mentored import MentorMixer
from famus_jax.train.methods import METHODS
from famus_jax.train.peer_targets import PeerTargets
from famus_jax.train.setting import Seeded, Setting
from famus_jax.train.streams import seed_of, whole_set


def preparation_of(setting: Setting, seeded: Seeded) -> Preparation | None:
    """What makes the batches of a run; None if they are as the stream gives them."""
    config, forward, seed = setting.config, setting.forward, seeded.seed
    num_classes, kind = seeded.data.num_classes, METHODS[seeded.run.method].batches
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
    if kind == "noisy+m_correction":
        return LossCorrection(
            forward,
            setting.predict,
            num_classes,
            config.m_correction.mixup,
            config.m_correction_warm_up,
            seed_of(seed, "m_correction"),
        )
    return None


def refit_of(setting: Setting, seeded: Seeded) -> LossModelFit | None:
    """What a run fits to the whole training set at the start of every epoch, if anything."""
    if METHODS[seeded.run.method].batches != "noisy+m_correction":
        return None
    config, data = setting.config, seeded.data
    where = data.splits.train
    losses_of = whole_set(data.images, data.noisy, where, data.normalize, config.data)
    return LossModelFit(
        setting.evaluator,
        setting.placement.evaluated(losses_of),
        config.m_correction_warm_up,
        -(-len(where) // config.schedule.batch_size),
        setting.record,
    )
