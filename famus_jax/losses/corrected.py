"""Cross-entropy with a label that is soft, mixed with the prediction, or led through the noise.

Symbols: p = softmax of the logits, y = the given label, C = classes, ℓ_c = −log p_c,
H(p) = Σ_c p_c ℓ_c, T_kj = P(given label j | true class k).

    of a soft label q     Σ_c q_c ℓ_c
    label smoothing       (1 − r) ℓ_y + r mean_c ℓ_c
    bootstrapping, soft   β ℓ_y + (1 − β) H(p)
    bootstrapping, hard   β ℓ_y + (1 − β) min_c ℓ_c
    forward correction    −log Σ_k p_k T_ky
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import ExampleLoss
from famus_jax.losses.cross_entropy import (
    labels_of,
    logits_of,
    logits_of_classes,
    softmax_cross_entropy,
)


def soft_cross_entropy(outputs: Any, batch: Any) -> jax.Array:
    """Cross-entropy of soft labels, of mixup say.

    Args:
      outputs: logits [n, C], or what holds them, see `logits_of`.
      batch: a mapping with `"target"`, float [n, C], rows summing to 1.

    Returns:
      float [n].

    Raises:
      ValueError: for a batch without targets of the logits' shape.

    Example:
      >>> logits, batch = jnp.log(jnp.array([[1.0, 3.0]])), {"target": jnp.array([[0.5, 0.5]])}
      >>> round(float(soft_cross_entropy(logits, batch)[0]), 4)  # ½ log 4 + ½ log 4/3
      0.837
    """
    logits = logits_of(outputs)
    target = batch.get("target") if isinstance(batch, Mapping) else None
    if target is None or jnp.shape(target) != logits.shape:
        held = "none" if target is None else f"shape {jnp.shape(target)}"
        raise ValueError(
            f'soft_cross_entropy reads batch["target"], soft labels of the logits\' shape '
            f"{logits.shape}; got {held}: jax.nn.one_hot(label, C) makes hard ones"
        )
    return optax.softmax_cross_entropy(logits, target)


def label_smoothing(rate: float = 0.1) -> ExampleLoss:
    """Cross-entropy with a share r of the label spread over all classes.

    A negative rate moves the target away from them, beyond one-hot: for networks that are trained
    already, since the loss then has no lower bound.

    Args:
      rate: r, 1 at most; 0 is cross-entropy.

    Raises:
      ValueError: for a rate above 1, or one that is not finite.

    Source: Lukasik et al., Does Label Smoothing Mitigate Label Noise?, ICML 2020,
    https://arxiv.org/abs/2003.02819; negative rates: Wei et al., To Smooth or Not?, ICML 2022,
    https://arxiv.org/abs/2106.04149.

    Example:
      >>> logits, batch = jnp.log(jnp.array([[1.0, 3.0]])), {"label": jnp.array([0])}
      >>> round(float(label_smoothing(0.5)(logits, batch)[0]), 4)  # ¾ log 4 + ¼ log 4/3
      1.1116
    """
    if not -math.inf < rate <= 1:
        raise ValueError(f"label_smoothing: rate must be a number of at most 1; got {rate}")

    def loss(outputs, batch):
        losses = softmax_cross_entropy(outputs, batch)
        if not rate:
            return losses
        return (1 - rate) * losses - rate * jax.nn.log_softmax(logits_of(outputs)).mean(-1)

    return loss


def bootstrapped(kind: Literal["soft", "hard"] = "hard", beta: float | None = None) -> ExampleLoss:
    """Cross-entropy of a target that is partly the label, partly what the network says itself.

    Soft: the prediction, through which derivatives flow too, so that it is cross-entropy and a pull
    towards certainty. Hard: the network's most probable class.

    Args:
      kind: `"soft"` or `"hard"`.
      beta: β, the label's part, in [0, 1]; by default as published, 0.95 for soft and 0.8 for hard.

    Raises:
      ValueError: for another kind or β.

    Source: Reed et al., Training Deep Neural Networks on Noisy Labels with Bootstrapping, ICLR 2015
    (workshop), https://arxiv.org/abs/1412.6596.

    Example:
      >>> logits, batch = jnp.log(jnp.array([[1.0, 3.0]])), {"label": jnp.array([0])}
      >>> round(float(bootstrapped("hard", 0.5)(logits, batch)[0]), 4)  # ½ log 4 + ½ log 4/3
      0.837
    """
    if kind not in ("soft", "hard"):
        raise ValueError(f'bootstrapped: kind must be "soft" or "hard"; got {kind!r}')
    share = {"soft": 0.95, "hard": 0.8}[kind] if beta is None else beta
    if not 0 <= share <= 1:
        raise ValueError(f"bootstrapped: beta must lie in [0, 1]; got {beta}")

    def loss(outputs, batch):
        log_p = jax.nn.log_softmax(logits_of(outputs))
        own = -log_p.max(-1) if kind == "hard" else -(jnp.exp(log_p) * log_p).sum(-1)
        return share * softmax_cross_entropy(outputs, batch) + (1 - share) * own

    return loss


def forward_corrected(transition: Sequence[Sequence[float]]) -> ExampleLoss:
    """Cross-entropy of the given label's probability: the prediction, led through the noise.

    Evaluate and predict with the logits as they are. (`methods.mlc` learns a matrix, of logits.)

    Args:
      transition: T [C, C], known or estimated, rows summing to 1: row k says which labels class k is
        given. The identity gives cross-entropy.

    Raises:
      ValueError: for what is no such matrix, or has a label that no class is given; from the loss, for
        a network with another number of classes.

    Source: Patrini et al., Making Deep Neural Networks Robust to Label Noise: A Loss Correction
    Approach, CVPR 2017, https://arxiv.org/abs/1609.03944.

    Example:
      >>> logits, batch = jnp.log(jnp.array([[1.0, 3.0]])), {"label": jnp.array([0])}
      >>> flips = [[1.0, 0.0], [1 / 3, 2 / 3]]  # a third of the second class is called the first
      >>> round(float(forward_corrected(flips)(logits, batch)[0]), 4)  # −log(¼ + ¾ · ⅓)
      0.6931
    """
    rows = _matrix(transition)
    classes = len(rows)

    def loss(outputs, batch):
        logits = logits_of_classes(outputs, classes, "the matrix of forward_corrected")
        labels = labels_of(batch, logits)
        log_t = jnp.log(jnp.asarray(rows, logits.dtype)).T  # −inf for what never happens
        known = (labels >= 0) & (labels < classes)
        log_p = jax.nn.log_softmax(logits)
        losses = -jax.nn.logsumexp(log_p + log_t[jnp.where(known, labels, 0)], axis=-1)
        return jnp.where(known, losses, jnp.nan)

    return loss


def _matrix(transition: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    rows = tuple(tuple(float(x) for x in row) for row in transition)
    if len(rows) < 2 or any(len(row) != len(rows) for row in rows):
        raise ValueError(
            "forward_corrected: transition must be a square matrix of 2 classes or more; got rows of "
            f"{[len(row) for row in rows]}"
        )
    for k, row in enumerate(rows):
        if not (min(row) >= 0 and abs(sum(row) - 1) < 1e-4):
            raise ValueError(
                f"forward_corrected: row {k} of transition must be probabilities that sum to 1; got "
                f"{row}, sum {sum(row):g}"
            )
    for j, column in enumerate(zip(*rows, strict=True)):
        if max(column) == 0:
            raise ValueError(
                f"forward_corrected: no class is ever given label {j} (column {j} of transition is 0), "
                "so an example with that label would have an infinite loss"
            )
    return rows
