"""Losses: one number per example, `(outputs, batch) -> ℓ [n]`, for any method, as in
`mwnet(losses.focal())`. Any function of that shape does as well."""

from famus_jax.losses.cross_entropy import (
    confidence_penalized,
    ignoring,
    labels_of,
    logits_of,
    softmax_cross_entropy,
)
from famus_jax.losses.imbalanced import (
    class_weighted,
    deferred,
    effective_number_weights,
    focal,
    ldam,
    ldam_margins,
    scaled_cross_entropy,
)
from famus_jax.losses.normalize import Normalization, normalize_by_sum, normalizer

__all__ = [
    "Normalization",
    "class_weighted",
    "confidence_penalized",
    "deferred",
    "effective_number_weights",
    "focal",
    "ignoring",
    "labels_of",
    "ldam",
    "ldam_margins",
    "logits_of",
    "normalize_by_sum",
    "normalizer",
    "scaled_cross_entropy",
    "softmax_cross_entropy",
]
