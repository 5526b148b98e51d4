"""The methods: training objectives T(f, θ), one file each. They know nothing of estimators."""

from famus_jax.objectives.l2r import l2r
from famus_jax.objectives.label_correction import meta_label_correction
from famus_jax.objectives.long_tail import (
    class_weighted,
    deferred,
    effective_number_weights,
    focal,
    ldam,
    scaled_cross_entropy,
)
from famus_jax.objectives.mixmatch import mixmatch, mixmatch_meta_loss
from famus_jax.objectives.mwnet import mwnet, mwnet_weight
from famus_jax.objectives.plain import cross_entropy
from famus_jax.objectives.transition import mlc, transition_step

__all__ = [
    "class_weighted",
    "cross_entropy",
    "deferred",
    "effective_number_weights",
    "focal",
    "l2r",
    "ldam",
    "meta_label_correction",
    "mixmatch",
    "mixmatch_meta_loss",
    "mlc",
    "mwnet",
    "mwnet_weight",
    "scaled_cross_entropy",
    "transition_step",
]
