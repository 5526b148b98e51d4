"""From values per example to weights: over their sum, or over how many they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

Normalization = Literal["sum", "n"]


def normalize_by_sum(values: jax.Array) -> jax.Array:
    """values / Σ values for values ≥ 0; all zero where they are, with a gradient free of NaN.

    Tiny values have a gradient too: (Σ values)², by which it is divided, would be 0 in float32 from
    1e-19 on, so they are first made larger, by a power of two, which rounds nothing. A NaN among the
    values is not hidden: it makes every weight NaN.

    Args:
      values: an array, 0 or more everywhere.

    Example:
      >>> normalize_by_sum(jnp.array([1.0, 3.0])).tolist(), normalize_by_sum(jnp.zeros(2)).tolist()
      ([0.25, 0.75], [0.0, 0.0])
    """
    half = 2.0 ** (jnp.finfo(values.dtype).minexp // 2)  # its square is no underflow
    tiny = jax.lax.stop_gradient(values.max()) < half
    values = values * jnp.where(tiny, jnp.asarray(1 / half, values.dtype), 1)
    total = values.sum()
    return jnp.where(total != 0, values / jnp.where(total != 0, total, 1), 0)


def normalizer(normalize: Normalization) -> Callable[[jax.Array], jax.Array]:
    """The function that a name stands for: values over their sum, or over how many they are.

    Args:
      normalize: `"sum"` or `"n"`.

    Raises:
      ValueError: for another name.

    Example:
      >>> normalizer("n")(jnp.array([1.0, 3.0])).tolist()
      [0.5, 1.5]
    """
    if normalize == "sum":
        return normalize_by_sum
    if normalize == "n":
        return lambda values: values / values.shape[0]
    raise ValueError(f'normalize must be "sum" or "n"; got {normalize!r}')
