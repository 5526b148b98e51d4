"""Weights over their sum, or over n. Symbols: V_i = the weight of example i, n = batch size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

Normalisation = Literal["sum", "n"]


def normalise_by_sum(values: jax.Array) -> jax.Array:
    """values / Σ values for values ≥ 0; all zero where they are, with a gradient free of NaN.

    A NaN among the values is not hidden: it makes every weight NaN.
    """
    total = values.sum()
    return jnp.where(total != 0, values / jnp.where(total != 0, total, 1), 0)


def normaliser(normalise: Normalisation) -> Callable[[jax.Array], jax.Array]:
    """The function that a name stands for. Raises `ValueError` for another name."""
    if normalise == "sum":
        return normalise_by_sum
    if normalise == "n":
        return lambda values: values / values.shape[0]
    raise ValueError(f'normalise must be "sum" or "n"; got {normalise!r}')
