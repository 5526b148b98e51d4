"""How much better the given label looks than every other class: margins of logits and probabilities."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np


def margin(scores: Any, labels: Any) -> Any:
    """The given label's score minus the best other class's, [..., n]; below 0 another class is ahead.

    Of logits its mean over training is the area under the margin (AUM; Pleiss et al. 2020,
    [arXiv:2001.10528](https://arxiv.org/abs/2001.10528)).

    Args:
      scores: float [..., n, C], NumPy or JAX: logits, probabilities or their logarithms; C >= 2.
      labels: int [n] in [0, C).

    >>> margin(np.array([[2.0, 0.5, 1.0]]), np.array([0])).tolist()
    [1.0]
    """
    xp = np if isinstance(scores, np.ndarray) else jnp
    given = xp.arange(scores.shape[-1])[None, :] == xp.asarray(labels)[:, None]
    given = xp.broadcast_to(given, scores.shape)
    own = xp.where(given, scores, 0).sum(-1)
    return own - xp.where(given, -xp.inf, scores).max(-1)


def log_margin(probabilities: np.ndarray, labels: np.ndarray, floor: float = 1e-3) -> np.ndarray:
    """`margin` of log(p + floor): a few confident mistakes don't rule, and zeros are no infinities.

    >>> bool(log_margin(np.array([[0.0, 1.0]]), np.array([0]))[0] < 0)
    True
    """
    return margin(np.log(np.asarray(probabilities, np.float64) + floor), labels)
