"""What methods with memory per example share."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

_LEAST = 1e-4


def check_sizes(name: str, num_examples: int, num_classes: int) -> None:
    """Raises `ValueError` for a training set without examples, or fewer than two classes."""
    if num_examples < 1 or num_classes < 2:
        raise ValueError(
            f"{name}: num_examples must be at least 1 and num_classes at least 2; got {num_examples} "
            f"and {num_classes}"
        )


def memory_dtype(name: str, dtype: Any) -> Any:
    """The dtype, if a memory can be kept in it.

    Raises:
      ValueError: for float16, in which numbers near 0 are lost, and for what is no float.
    """
    dtype = jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.floating) or dtype == jnp.float16:
        raise ValueError(
            f'{name}: dtype of the memory must be "float32" or "bfloat16"; got "{dtype}"'
            + (" (its smallest number is 6e-8: 1e-8 would be 0 for ever)" * (dtype == jnp.float16))
        )
    return dtype


def bounded_probabilities(logits: jax.Array) -> jax.Array:
    """softmax within [1e-4, 1 − 1e-4], in float32 or wider: in bfloat16 1 − 1e-4 is 1.

    Source: the released code of ELR, https://arxiv.org/abs/2007.00151.

    Example:
      >>> bounded_probabilities(jnp.array([[0.0, 50.0]])).round(4).tolist()
      [[9.999999747378752e-05, 0.9998999834060669]]
    """
    wide = jnp.promote_types(logits.dtype, jnp.float32)
    return jnp.clip(jax.nn.softmax(logits.astype(wide)), _LEAST, 1 - _LEAST)


def mean_weights(losses: jax.Array) -> jax.Array:
    """1/n for each: what a method reports that believes every label wholly."""
    return jnp.full_like(losses, 1 / losses.shape[0])
