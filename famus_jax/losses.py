"""Losses: one number per example, `(outputs, batch) -> ℓ [n]`, for any method, as in
`mwnet(losses.focal())`. Any function of that shape does as well.

Symbols: f = logits [n, C], y = labels, p = softmax(f)_y, n_c = training examples of class c.

    focal              (1 − p)^γ · CE
    effective number   w_c ∝ (1 − β) / (1 − β^n_c), summing to C: class-balanced weights
    LDAM               CE(s (f − Δ_y at y), y), Δ_c ∝ n_c^(−1/4), at most `max_margin`
    deferred (DRW)     a loss as it is at first, class-weighted from a step on
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import ExampleLoss

PyTree = Any
Normalization = Literal["sum", "n"]


def softmax_cross_entropy(outputs: PyTree, batch: PyTree) -> jax.Array:
    """Cross-entropy of integer labels, float [n].

    Args:
      outputs: logits [n, C], or a dict that holds them under `"logits"`.
      batch: a mapping with `"label"`, int [n] in 0..C-1.
    """
    logits = logits_of(outputs)
    if not isinstance(batch, Mapping) or "label" not in batch:
        held = sorted(batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(
            f'softmax_cross_entropy reads batch["label"]; this batch holds {held}: name it so, or '
            "pass an example_loss of your own to the method, e.g. mwnet(my_loss)"
        )
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])


def logits_of(outputs: PyTree) -> jax.Array:
    """The logits [n, C] of outputs that are logits, or a dict that holds them under `"logits"`."""
    return outputs["logits"] if isinstance(outputs, dict) else outputs


def focal(gamma: float = 1.0) -> ExampleLoss:
    """Focal loss: cross-entropy times (1 − p)^γ; cross-entropy itself at γ = 0.

    Over the softmax, as in the long-tail literature (the original is of detection, over sigmoids);
    γ = 1 is LDAM's setting of it.

    Raises:
      ValueError: for γ < 0.

    Source: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    if gamma < 0:
        raise ValueError(f"focal: gamma must be 0 or more; got {gamma}")

    def loss(outputs, batch):
        losses = softmax_cross_entropy(outputs, batch)
        if gamma == 0:
            return losses
        # 1 − p, kept off 0: there the slope of a power below 1 is infinite.
        rest = jnp.maximum(-jnp.expm1(-losses), jnp.finfo(losses.dtype).tiny)
        return rest**gamma * losses

    return loss


def effective_number_weights(counts: Sequence[int], beta: float = 0.9999) -> tuple[float, ...]:
    """Class-balanced weights, a tuple of C that sums to C: all 1 for equal counts, or β = 0.

    Args:
      counts: n_c, each at least 1.
      beta: in [0, 1).

    Source: Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, Eq. 10.
    """
    counts = _counts(counts)
    if not 0 <= beta < 1:
        raise ValueError(f"beta must lie in [0, 1); got {beta}")
    log_beta = math.log(beta) if beta else -math.inf
    inverse = [1 / -math.expm1(n * log_beta) for n in counts]  # 1 / (1 − β^n)
    return tuple(w * len(inverse) / sum(inverse) for w in inverse)


def class_weighted(
    example_loss: ExampleLoss, weights: Sequence[float], *, normalize: Normalization = "n"
) -> ExampleLoss:
    """w_y ℓ_i; with `normalize="sum"` times n / Σ_i w_{y_i}, so that their mean is a weighted mean."""
    weights, scale = tuple(weights), normalizer(normalize)

    def loss(outputs, batch):
        losses = example_loss(outputs, batch)
        return _of_labels(jnp.asarray(weights, losses.dtype), losses, batch, scale)

    return loss


def ldam(counts: Sequence[int], *, max_margin: float = 0.5, scale: float = 30.0) -> ExampleLoss:
    """LDAM: cross-entropy of s·f with a margin taken off the label's logit, larger for rarer classes.

    The published s = 30 and margins up to 0.5 are for logits in [−1, 1]: cosines, which
    `build_model(..., cosine_head=True)` gives.

    Args:
      counts: n_c, each at least 1.
      max_margin: Δ of the rarest class.
      scale: s.

    Source: Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss,
    NeurIPS 2019, Eq. 13.
    """
    counts = _counts(counts)
    if scale <= 0 or max_margin < 0:
        raise ValueError(
            f"ldam: scale must be positive and max_margin 0 or more; got {scale} and {max_margin}"
        )
    margins = ldam_margins(counts, max_margin)

    def loss(outputs, batch):
        logits = logits_of(outputs)
        at_label = jax.nn.one_hot(batch["label"], len(counts), dtype=logits.dtype)
        shifted = logits - at_label * jnp.asarray(margins, logits.dtype)[None, :]
        return softmax_cross_entropy(scale * shifted, batch)

    return loss


def ldam_margins(counts: Sequence[int], max_margin: float = 0.5) -> tuple[float, ...]:
    """Δ_c = max_margin · (n_min / n_c)^(1/4), a tuple of C."""
    counts = _counts(counts)
    return tuple(max_margin * (min(counts) / n) ** 0.25 for n in counts)


def scaled_cross_entropy(scale: float = 30.0) -> ExampleLoss:
    """Cross-entropy of s·f, no margins: the meta loss that goes with `ldam` on a balanced meta set."""
    return lambda outputs, batch: softmax_cross_entropy(scale * logits_of(outputs), batch)


def deferred(
    example_loss: ExampleLoss,
    weights: Sequence[float],
    *,
    after: int,
    normalize: Normalization = "n",
) -> ExampleLoss:
    """Deferred re-weighting (DRW): `example_loss` before step `after`, class-weighted from there on.

    It reads `batch["step"]`, an int32 scalar, so that one compiled program serves all steps. A meta
    batch has no step: give a meta loss of its own to a method that learns.

    Args:
      example_loss: the loss.
      weights: per class, for instance `effective_number_weights(counts)`.
      after: the first step with weights (published: 160 of 200 epochs).
      normalize: see `class_weighted`.

    Source: Cao et al. (see `ldam`), Algorithm 1.
    """
    weights, scale = tuple(weights), normalizer(normalize)

    def loss(outputs, batch):
        if "step" not in batch:
            raise ValueError(
                f'deferred reads batch["step"], the number of the step; this batch holds '
                f"{sorted(batch)}. Put it there; if this is a meta batch, give the method a meta "
                "loss of its own, such as mean_of(softmax_cross_entropy)"
            )
        losses = example_loss(outputs, batch)
        now = jnp.where(batch["step"] >= after, jnp.asarray(weights, losses.dtype), 1)
        return _of_labels(now, losses, batch, scale)

    return loss


def _of_labels(weights, losses, batch, scale) -> jax.Array:
    own = weights[batch["label"]]
    return scale(own) * own.shape[0] * losses


def _counts(counts: Sequence[int]) -> tuple[int, ...]:
    counts = tuple(int(n) for n in counts)
    if not counts or min(counts) < 1:
        raise ValueError(
            f"every class needs at least one training example to be balanced; got counts {counts}"
        )
    return counts


def confidence_penalized(weight: float) -> ExampleLoss:
    """Cross-entropy minus `weight` times the prediction's entropy (DivideMix's warm-up).

    With structured noise a network soon is sure of its mistakes, and all losses look alike.
    """

    def example_loss(outputs: PyTree, batch: PyTree) -> jax.Array:
        losses = softmax_cross_entropy(outputs, batch)
        if not weight:
            return losses
        log_p = jax.nn.log_softmax(logits_of(outputs))
        return losses + weight * (jnp.exp(log_p) * log_p).sum(-1)

    return example_loss


def normalize_by_sum(values: jax.Array) -> jax.Array:
    """values / Σ values for values ≥ 0; all zero where they are, with a gradient free of NaN.

    A NaN among the values is not hidden: it makes every weight NaN.
    """
    total = values.sum()
    return jnp.where(total != 0, values / jnp.where(total != 0, total, 1), 0)


def normalizer(normalize: Normalization) -> Callable[[jax.Array], jax.Array]:
    """The function that a name stands for. Raises `ValueError` for another name."""
    if normalize == "sum":
        return normalize_by_sum
    if normalize == "n":
        return lambda values: values / values.shape[0]
    raise ValueError(f'normalize must be "sum" or "n"; got {normalize!r}')
