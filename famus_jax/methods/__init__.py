"""The methods, one file each: what is learned about the labels. They know nothing of estimators."""

from famus_jax.methods.class_aware import class_aware_mwnet, class_groups
from famus_jax.methods.co_teaching import co_teaching
from famus_jax.methods.cross_entropy import cross_entropy
from famus_jax.methods.elr import elr
from famus_jax.methods.elr_plus import elr_plus
from famus_jax.methods.l2r import l2r
from famus_jax.methods.m_correction import m_correction
from famus_jax.methods.mentormix import mentormix, mentornet
from famus_jax.methods.meta_label_correction import meta_label_correction
from famus_jax.methods.mixmatch import mixmatch, mixmatch_meta_loss
from famus_jax.methods.mlc import mlc, transition_step
from famus_jax.methods.mwnet import mwnet, mwnet_weight
from famus_jax.methods.scored import scored
from famus_jax.methods.sop import sop
from famus_jax.methods.source_weights import source_weights

__all__ = [
    "class_aware_mwnet",
    "class_groups",
    "co_teaching",
    "cross_entropy",
    "elr",
    "elr_plus",
    "l2r",
    "m_correction",
    "mentormix",
    "mentornet",
    "meta_label_correction",
    "mixmatch",
    "mixmatch_meta_loss",
    "mlc",
    "mwnet",
    "mwnet_weight",
    "scored",
    "sop",
    "source_weights",
    "transition_step",
]
