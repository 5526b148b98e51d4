"""Which labels look wrong: a mixture of two beta distributions over normalized training losses.

Symbols: ℓ_i = the loss of training example i with the label it came with, x_i = the loss normalized to
(0, 1); k = 1, 2 the components, Beta(a_k, b_k) with weight π_k; r_ik = the responsibility of component
k for example i; w_i = the probability that label i is wrong, of the component with the larger mean:

    x = (ℓ − low) / (high − low), within [1e-4, 1 − 1e-4]                       `normalized`
    E:  r_ik = π_k Beta(x_i; a_k, b_k) over its sum over k                      `responsibilities`
    M:  m_k, s_k² = mean and variance of x weighted by r_ik,  π_k = mean_i r_ik
        a_k = m_k (m_k (1 − m_k) / s_k² − 1),  b_k = a_k (1 − m_k) / m_k        `moments`

low and high are the 5th and 95th percentile of the losses; those beyond are left out of the fit, which
takes ten iterations from Beta(1, 2) and Beta(2, 1). w does not fall again for the largest losses:
beyond its highest value on a grid it stays there.

Source: Arazo et al., Unsupervised Label Noise Modeling and Loss Correction, ICML 2019,
https://arxiv.org/abs/1904.11238.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

ITERATIONS = 10
_LEAST = 1e-4
_TAIL = 5  # percent
_GRID = 100


class BetaMixture(NamedTuple):
    """Two beta distributions, the one with the smaller mean first; arrays of numpy or of JAX.

    Attributes:
      a, b, weight: a_k, b_k and π_k, float [2].
      low, high: the losses that are normalized to 0 and 1, scalars.
      peak: the normalized loss at which w is largest, a scalar.
    """

    a: Any
    b: Any
    weight: Any
    low: Any
    high: Any
    peak: Any


def first_mixture() -> BetaMixture:
    """Before the first fit: both components alike, w = 1/2 for every loss; float32."""
    one, half = np.ones(2, np.float32), np.full(2, 0.5, np.float32)
    return BetaMixture(one, one.copy(), half, np.float32(0), np.float32(1), np.float32(1))


def fit_beta_mixture(losses: np.ndarray, iterations: int = ITERATIONS) -> BetaMixture:
    """The mixture of a whole training set's losses, float32, fitted in float64.

    If all losses between the percentiles are equal no label looks better than another: that is
    `first_mixture()`.

    Args:
      losses: float [N].
      iterations: of expectation and maximization.

    Raises:
      ValueError: for fewer than two losses, or losses that are not finite.

    Example:
      >>> losses = np.concatenate([np.linspace(0.0, 0.4, 60), np.linspace(2.0, 3.0, 40)])
      >>> mixture = fit_beta_mixture(losses)
      >>> wrong_probability(mixture, jnp.array([0.1, 2.5])).round(2).tolist()
      [0.0, 1.0]
    """
    losses = np.asarray(losses, np.float64)
    if losses.ndim != 1 or len(losses) < 2:
        raise ValueError(f"losses must be of shape [N], N >= 2; got {losses.shape}")
    if not np.isfinite(losses).all():
        raise ValueError(
            f"{(~np.isfinite(losses)).sum()} of {len(losses)} training losses are not finite: the "
            "network has diverged; lower its learning rate"
        )
    low, high = np.percentile(losses, [_TAIL, 100 - _TAIL])
    if high - low < 1e-12:
        return first_mixture()
    x = np.asarray(normalized(losses[(losses >= low) & (losses <= high)], low, high, np))
    a, b, weight = np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.array([0.5, 0.5])
    for _ in range(iterations):
        r = responsibilities(x, a, b, weight)
        a, b = np.transpose([moments(x, r[k]) for k in (0, 1)])
        weight = r.mean(1)
    order = np.argsort(a / (a + b), kind="stable")
    grid = np.linspace(_LEAST, 1 - _LEAST, _GRID)
    wrong = responsibilities(grid, a[order], b[order], weight[order])[1]
    found = (a[order], b[order], weight[order], low, high, grid[wrong.argmax()])
    return BetaMixture(*(np.asarray(part, np.float32) for part in found))


def normalized(losses: Any, low: Any, high: Any, xp: Any = jnp) -> Any:
    """x; `xp` is numpy or jax.numpy."""
    return xp.clip((losses - low) / (high - low), _LEAST, 1 - _LEAST)


def responsibilities(x: np.ndarray, a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The E step: r, [2, N], columns summing to 1. Densities below 1e-12 count as that."""
    norm = np.array([math.lgamma(p) + math.lgamma(q) - math.lgamma(p + q) for p, q in zip(a, b)])
    logarithm = (
        np.outer(a - 1, np.log(x))
        + np.outer(b - 1, np.log1p(-x))
        + (np.log(weight) - norm)[:, None]
    )
    likelihood = np.maximum(np.exp(logarithm), 1e-12)
    return likelihood / likelihood.sum(0)


def moments(x: np.ndarray, r: np.ndarray) -> tuple[float, float]:
    """The M step of one component: a and b whose mean and variance are those of x weighted by r.

    >>> [round(float(p), 4) for p in moments(np.array([0.2, 0.4, 0.6]), np.array([1.0, 2.0, 1.0]))]
    [4.4, 6.6]
    """
    mean = (r * x).sum() / r.sum()
    variance = max((r * (x - mean) ** 2).sum() / r.sum(), 1e-8)
    a = mean * (mean * (1 - mean) / variance - 1)
    return a, a * (1 - mean) / mean


def wrong_probability(mixture: BetaMixture, losses: jax.Array) -> jax.Array:
    """w of some losses: the probability that their labels are wrong.

    Args:
      mixture: from `fit_beta_mixture`.
      losses: float [n].

    Returns:
      float [n], within [1e-4, 1 − 1e-4]. No derivative flows through it.
    """
    losses = jax.lax.stop_gradient(losses)
    x = jnp.minimum(normalized(losses, mixture.low, mixture.high), mixture.peak)[None]
    a, b, weight = (jnp.asarray(part)[:, None] for part in mixture[:3])
    logarithm = jax.scipy.stats.beta.logpdf(x, a, b) + jnp.log(weight)
    return jnp.clip(jax.nn.softmax(logarithm, 0)[1], _LEAST, 1 - _LEAST)
