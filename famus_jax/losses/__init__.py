"""Losses: one number per example, `(outputs, batch) -> ℓ [n]`, for any method, as in
`mwnet(losses.focal())`. Any function of that shape does as well."""

from famus_jax.losses.corrected import (
    bootstrapped,
    forward_corrected,
    label_smoothing,
    soft_cross_entropy,
)
from famus_jax.losses.cross_entropy import (
    confidence_penalized,
    ignoring,
    labels_of,
    logits_of,
    logits_of_classes,
    softmax_cross_entropy,
)
from famus_jax.losses.cross_layer import clid, features_of
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
from famus_jax.losses.robust import (
    PAPER_LOG_ZERO,
    RELEASED_LOG_ZERO,
    generalized_cross_entropy,
    mean_absolute_error,
    nce_rce,
    normalized_cross_entropy,
    reverse_cross_entropy,
    symmetric_cross_entropy,
)

__all__ = [
    "PAPER_LOG_ZERO",
    "RELEASED_LOG_ZERO",
    "Normalization",
    "bootstrapped",
    "class_weighted",
    "clid",
    "confidence_penalized",
    "deferred",
    "effective_number_weights",
    "features_of",
    "focal",
    "forward_corrected",
    "generalized_cross_entropy",
    "ignoring",
    "label_smoothing",
    "labels_of",
    "ldam",
    "ldam_margins",
    "logits_of",
    "logits_of_classes",
    "mean_absolute_error",
    "nce_rce",
    "normalize_by_sum",
    "normalized_cross_entropy",
    "normalizer",
    "reverse_cross_entropy",
    "scaled_cross_entropy",
    "soft_cross_entropy",
    "softmax_cross_entropy",
    "symmetric_cross_entropy",
]
