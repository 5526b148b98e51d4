"""Losses for classes of unequal size.

Symbols: f = logits [n, C], y = labels, p = softmax(f)_y, n_c = training examples of class c.

    focal              (1 − p)^γ · CE
    effective number   w_c ∝ (1 − β) / (1 − β^n_c), summing to C: class-balanced weights
    LDAM               CE(s (f − Δ_y at y), y), Δ_c ∝ n_c^(−1/4), at most `max_margin`
    deferred (DRW)     a loss as it is at first, class-weighted from a step on
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from famus_jax.core.method import ExampleLoss
from famus_jax.losses.cross_entropy import labels_of, logits_of, softmax_cross_entropy
from famus_jax.losses.normalize import Normalization, normalizer


def focal(gamma: float = 1.0) -> ExampleLoss:
    """Focal loss: cross-entropy times (1 − p)^γ; cross-entropy itself at γ = 0.

    Over the softmax, as in the long-tail literature (the original is of detection, over sigmoids);
    γ = 1 is LDAM's setting of it.

    Args:
      gamma: γ.

    Raises:
      ValueError: for γ < 0.

    Source: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017,
    https://arxiv.org/abs/1708.02002.

    Example:
      >>> logits, batch = jnp.log(jnp.array([[4.0, 1.0]])), {"label": jnp.array([0])}
      >>> round(float(focal(gamma=1.0)(logits, batch)[0]), 4)  # 0.2 · 0.2231
      0.0446
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
    """Class-balanced weights, which sum to C: all 1 for equal counts, or β = 0.

    Args:
      counts: n_c, each at least 1.
      beta: in [0, 1).

    Returns:
      One weight per class.

    Raises:
      ValueError: for a class without examples, or another β.

    Source: Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019,
    https://arxiv.org/abs/1901.05555, Eq. 10.

    Example:
      >>> [round(w, 2) for w in effective_number_weights((900, 100))]  # almost 1 to 9
      [0.21, 1.79]
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
    """w_y ℓ_i: every example's loss times the weight of its label.

    Args:
      example_loss: ℓ.
      weights: w, one per class.
      normalize: `"n"`: as it is. `"sum"`: times n / Σ_i w_{y_i}, so that its mean is a weighted mean.

    Raises:
      ValueError: for another `normalize`.

    Example:
      >>> loss = class_weighted(softmax_cross_entropy, weights=(1.0, 3.0))
      >>> losses = loss(jnp.zeros((2, 2)), {"label": jnp.array([0, 1])})
      >>> [round(float(x), 4) for x in losses]  # log 2, 3 log 2
      [0.6931, 2.0794]
    """
    weights, scale = tuple(weights), normalizer(normalize)

    def loss(outputs, batch):
        losses = example_loss(outputs, batch)
        return _of_labels(jnp.asarray(weights, losses.dtype), losses, outputs, batch, scale)

    return loss


def ldam(counts: Sequence[int], *, max_margin: float = 0.5, scale: float = 30.0) -> ExampleLoss:
    """LDAM: cross-entropy of s·f with a margin taken off the label's logit, larger for rarer classes.

    The published s = 30 and margins up to 0.5 are for logits in [−1, 1]: cosines, which
    `build_model(..., cosine_head=True)` gives.

    Args:
      counts: n_c, each at least 1.
      max_margin: Δ of the rarest class.
      scale: s.

    Raises:
      ValueError: for a class without examples, s ≤ 0, or a negative margin.

    Source: Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss,
    NeurIPS 2019, https://arxiv.org/abs/1906.07413, Eq. 13.

    Example:
      >>> loss = ldam((900, 100), scale=1.0)
      >>> cosines, batch = jnp.array([[0.0, 0.5]]), {"label": jnp.array([1])}  # the rare class
      >>> round(float(loss(cosines, batch)[0]), 4)  # its margin takes the lead back: log 2
      0.6931
    """
    counts = _counts(counts)
    if scale <= 0 or max_margin < 0:
        raise ValueError(
            f"ldam: scale must be positive and max_margin 0 or more; got {scale} and {max_margin}"
        )
    margins = ldam_margins(counts, max_margin)

    def loss(outputs, batch):
        logits = logits_of(outputs)
        if len(counts) != logits.shape[-1]:
            raise ValueError(
                f"ldam got the counts of {len(counts)} classes, and there are {logits.shape[-1]}: give "
                "one count per class"
            )
        at_label = jax.nn.one_hot(labels_of(batch, logits), len(counts), dtype=logits.dtype)
        shifted = logits - at_label * jnp.asarray(margins, logits.dtype)[None, :]
        return softmax_cross_entropy(scale * shifted, batch)

    return loss


def ldam_margins(counts: Sequence[int], max_margin: float = 0.5) -> tuple[float, ...]:
    """Δ_c = max_margin · (n_min / n_c)^(1/4), the margins of `ldam`.

    Args:
      counts: n_c, each at least 1.
      max_margin: Δ of the rarest class.

    Returns:
      One margin per class.

    Example:
      >>> ldam_margins((160, 10))
      (0.25, 0.5)
    """
    counts = _counts(counts)
    return tuple(max_margin * (min(counts) / n) ** 0.25 for n in counts)


def scaled_cross_entropy(scale: float = 30.0) -> ExampleLoss:
    """Cross-entropy of s·f, no margins: the meta loss that goes with `ldam` on a balanced meta set.

    Args:
      scale: s.

    Example:
      >>> cosines, batch = jnp.array([[0.5, -0.5]]), {"label": jnp.array([0])}
      >>> round(float(scaled_cross_entropy(2.0)(cosines, batch)[0]), 4)  # log(1 + e⁻²)
      0.1269
    """
    return lambda outputs, batch: softmax_cross_entropy(scale * logits_of(outputs), batch)


def deferred(
    example_loss: ExampleLoss,
    weights: Sequence[float],
    *,
    after: int,
    normalize: Normalization = "n",
) -> ExampleLoss:
    """Deferred reweighting (DRW): `example_loss` before step `after`, class-weighted from there on.

    It reads `batch["step"]`, an int32 scalar, so that one compiled program serves all steps. A meta
    batch has no step: give a meta loss of its own to a method that learns.

    Args:
      example_loss: the loss.
      weights: per class, for instance `effective_number_weights(counts)`.
      after: the first step with weights (published: 160 of 200 epochs).
      normalize: see `class_weighted`.

    Raises:
      ValueError: for another `normalize`; from the loss, for a batch without a step.

    Source: Cao et al. (see `ldam`), Algorithm 1.

    Example:
      >>> loss = deferred(softmax_cross_entropy, (2.0, 1.0), after=160)
      >>> logits, label = jnp.zeros((1, 2)), jnp.array([0])
      >>> [round(float(loss(logits, {"label": label, "step": t})[0]), 4) for t in (159, 160)]
      [0.6931, 1.3863]
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
        return _of_labels(now, losses, outputs, batch, scale)

    return loss


def _of_labels(weights, losses, outputs, batch, scale) -> jax.Array:
    logits = logits_of(outputs)
    if len(weights) != logits.shape[-1]:
        raise ValueError(
            f"there are {len(weights)} class weights and {logits.shape[-1]} classes: give one weight "
            "per class"
        )
    own = weights[labels_of(batch, logits)]
    return scale(own) * own.shape[0] * losses


def _counts(counts: Sequence[int]) -> tuple[int, ...]:
    counts = tuple(int(n) for n in counts)
    if not counts or min(counts) < 1:
        raise ValueError(
            f"every class needs at least one training example to be balanced; got counts {counts}"
        )
    return counts
