"""A moving average of a network over its training, to evaluate in the place of the last step's.

Symbols: w_t = parameters (and running statistics) after step t = 1, 2, ..., a_t = their average, d =
the decay:

    a_t = a_{t-1} + s_t (w_t − a_{t-1}),   s_t = max(1 − d, 1/t)

Until step 1 / (1 − d) that is the plain mean of w_1 ... w_t, from there on an exponential one. The
first step takes w_1 whole, so that nothing of the random start is in any average, and the weights of
all steps sum to 1.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any


def check_decay(decay: float) -> None:
    """Raises `ValueError` for a decay that is none."""
    if not 0 <= decay < 1:
        raise ValueError(
            "ema, the decay of the average of the parameters, must lie in [0, 1): 0 for none, 0.999 to "
            f"average about 1,000 steps; got {decay}"
        )


def first_average(network: PyTree, decay: float) -> PyTree:
    """Before the first step: the network, its floating-point numbers in float32 or wider; () for a
    decay of 0."""
    if not decay:
        return ()
    return jax.tree.map(lambda x: x.astype(_wide(x)) if _floating(x) else x, network)


def updated_average(average: PyTree, network: PyTree, step: jax.Array, decay: float) -> PyTree:
    """a_t.

    Args:
      average: a_{t-1}, from `first_average` or the last step.
      network: w_t: parameters and running statistics alike, so that these are of the network that is
        evaluated. What is no floating-point number (counts, keys) is taken as it is.
      step: t, int32 scalar, 1 for the first step.
      decay: d, in [0, 1).

    Returns:
      () if there is none. In the average's dtypes: of a network in bfloat16, in which steps would be
      lost, an average in float32.

    Source: the exponential average of Polyak, Juditsky, SIAM J. Control Optim. 1992, with the true mean
    at first, as in Tarvainen, Valpola, NeurIPS 2017, https://arxiv.org/abs/1703.01780.

    Example:
      >>> average = first_average(jnp.array(9.0), decay=0.5)
      >>> for step, w in ((1, 2.0), (2, 4.0), (3, 8.0)):  # the mean of 2 and 4, then half of 8
      ...     average = updated_average(average, jnp.array(w), jnp.array(step), decay=0.5)
      ...     print(float(average))
      2.0
      3.0
      5.5
    """
    if not decay:
        return ()
    share = jnp.maximum(1 - decay, 1 / step)

    def moved(a: jax.Array, w: jax.Array) -> jax.Array:
        return a + (share * (w.astype(a.dtype) - a)).astype(a.dtype) if _floating(w) else w

    return jax.tree.map(moved, average, network)


def _floating(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def _wide(x: jax.Array) -> Any:
    return jnp.promote_types(x.dtype, jnp.float32)
