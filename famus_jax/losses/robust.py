"""Losses that a wrong label can't pull at without bound.

Symbols: p = softmax of the logits, y = the given label, C = classes, ℓ = −log p_y.

    generalized cross-entropy    (1 − p_y^q) / q
    mean absolute error          ‖e_y − p‖₁ = 2 (1 − p_y)
    reverse cross-entropy        −A (1 − p_y), A < 0 in the place of log 0
    symmetric cross-entropy      α ℓ + β (reverse cross-entropy)
    normalized cross-entropy     ℓ / Σ_c −log p_c, in [0, 1]
    NCE + RCE                    α (normalized) + β (reverse), an active and a passive loss

p_y^q is exp(−q ℓ), so that nothing cancels for a small q.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from famus_jax.core.method import ExampleLoss
from famus_jax.losses.cross_entropy import logits_of, softmax_cross_entropy

PAPER_LOG_ZERO = -4.0
"""A of the paper of symmetric cross-entropy."""
RELEASED_LOG_ZERO = -9.210340371976182
"""A of public code, which keeps one-hot labels at 1e-4 or above: log 1e-4."""


def generalized_cross_entropy(q: float = 0.7) -> ExampleLoss:
    """(1 − p_y^q) / q: cross-entropy at q = 0, 1 − p_y (half of the mean absolute error) at q = 1.

    Args:
      q: in [0, 1]; 0.7 as published.

    Raises:
      ValueError: for another q.

    Source: Zhang, Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy
    Labels, NeurIPS 2018, https://arxiv.org/abs/1805.07836.

    Example:
      >>> logits, batch = jnp.log(jnp.array([[1.0, 3.0]])), {"label": jnp.array([0])}
      >>> round(float(generalized_cross_entropy(0.5)(logits, batch)[0]), 4)  # (1 − ½) / ½
      1.0
    """
    if not 0 <= q <= 1:
        raise ValueError(f"generalized_cross_entropy: q must lie in [0, 1]; got {q}")

    def loss(outputs, batch):
        losses = softmax_cross_entropy(outputs, batch)
        if q < 1e-30:  # below any rounding, and q ℓ might underflow
            return losses
        return -jnp.expm1(-q * losses) / q

    return loss


def mean_absolute_error() -> ExampleLoss:
    """‖e_y − p‖₁ = 2 (1 − p_y). It learns slowly where there are many classes.

    Source: Ghosh, Kumar, Sastry, Robust Loss Functions under Label Noise for Deep Neural Networks, AAAI
    2017, https://arxiv.org/abs/1712.09482.

    Example:
      >>> logits, batch = jnp.log(jnp.array([[1.0, 3.0]])), {"label": jnp.array([0])}
      >>> round(float(mean_absolute_error()(logits, batch)[0]), 4)
      1.5
    """
    return lambda outputs, batch: 2 * _doubt(outputs, batch)


def reverse_cross_entropy(log_zero: float = PAPER_LOG_ZERO) -> ExampleLoss:
    """−Σ_c p_c log y_c with A for log 0: −A (1 − p_y), the mean absolute error times −A / 2.

    Args:
      log_zero: A, below 0.

    Raises:
      ValueError: for A ≥ 0.

    Source: see `symmetric_cross_entropy`.

    Example:
      >>> logits, batch = jnp.log(jnp.array([[1.0, 3.0]])), {"label": jnp.array([0])}
      >>> round(float(reverse_cross_entropy(log_zero=-4.0)(logits, batch)[0]), 4)
      3.0
    """
    if not log_zero < 0:
        raise ValueError(f"log_zero, in the place of log 0, must be below 0; got {log_zero}")
    return lambda outputs, batch: -log_zero * _doubt(outputs, batch)


def symmetric_cross_entropy(
    alpha: float = 0.1, beta: float = 1.0, *, log_zero: float = PAPER_LOG_ZERO
) -> ExampleLoss:
    """α CE + β RCE: cross-entropy, and the same with prediction and label in each other's place.

    Published: α = 0.1, β = 1 (CIFAR-10); 6 and 0.1 (CIFAR-100). A = −4 in the paper; public code has
    A = log 1e-4 = −9.21, `losses.RELEASED_LOG_ZERO`, which is 2.3 times as much of β.

    Args:
      alpha, beta: α and β, 0 or more.
      log_zero: A, below 0.

    Raises:
      ValueError: for a value that can't be.

    Source: Wang et al., Symmetric Cross Entropy for Robust Learning with Noisy Labels, ICCV 2019,
    https://arxiv.org/abs/1908.06112.

    Example:
      >>> logits, batch = jnp.log(jnp.array([[1.0, 3.0]])), {"label": jnp.array([0])}
      >>> round(float(symmetric_cross_entropy(0.0, 1.0)(logits, batch)[0]), 4)  # 4 · ¾
      3.0
    """
    _check("symmetric_cross_entropy", alpha, beta)
    reverse = reverse_cross_entropy(log_zero)

    def loss(outputs, batch):
        return alpha * softmax_cross_entropy(outputs, batch) + beta * reverse(outputs, batch)

    return loss


def normalized_cross_entropy() -> ExampleLoss:
    """ℓ over the sum of what every label would have cost: in [0, 1], whatever the logits' scale.

    Source: see `nce_rce`.

    Example:
      >>> logits, batch = jnp.zeros((1, 4)), {"label": jnp.array([0])}
      >>> round(float(normalized_cross_entropy()(logits, batch)[0]), 4)  # one label of four
      0.25
    """

    def loss(outputs, batch):
        losses = softmax_cross_entropy(outputs, batch)
        every = -jax.nn.log_softmax(logits_of(outputs)).sum(-1)  # C log C at least
        return losses / every

    return loss


def nce_rce(
    alpha: float = 1.0, beta: float = 1.0, *, log_zero: float = PAPER_LOG_ZERO
) -> ExampleLoss:
    """α NCE + β RCE: an active loss, which raises p_y, and a passive one, which lowers the others.

    Published: α = β = 1 (CIFAR-10); 10 and 0.1 (CIFAR-100).

    Args:
      alpha, beta: α and β, 0 or more.
      log_zero: A, below 0; the authors' code has `losses.RELEASED_LOG_ZERO`.

    Raises:
      ValueError: for a value that can't be.

    Source: Ma et al., Normalized Loss Functions for Deep Learning with Noisy Labels, ICML 2020,
    https://arxiv.org/abs/2006.13554.

    Example:
      >>> logits, batch = jnp.zeros((1, 4)), {"label": jnp.array([0])}
      >>> round(float(nce_rce()(logits, batch)[0]), 4)  # ¼ + 4 · ¾
      3.25
    """
    _check("nce_rce", alpha, beta)
    normalized, reverse = normalized_cross_entropy(), reverse_cross_entropy(log_zero)

    def loss(outputs, batch):
        return alpha * normalized(outputs, batch) + beta * reverse(outputs, batch)

    return loss


def _doubt(outputs, batch) -> jax.Array:
    """1 − p_y."""
    return -jnp.expm1(-softmax_cross_entropy(outputs, batch))


def _check(name: str, alpha: float, beta: float) -> None:
    if not (alpha >= 0 and beta >= 0):
        raise ValueError(f"{name}: alpha and beta must be 0 or more; got {alpha} and {beta}")
