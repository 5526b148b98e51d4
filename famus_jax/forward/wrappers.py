"""Another forward pass with the same meaning: less memory, or a cheaper number format.

Both work on any forward pass `(params, model_state, rng, batch) -> (outputs, model_state)`. They are
used as functions; they are classes so that two made from equal arguments are equal and `jax.jit`
compiles once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any
PRODUCTS = ("conv_general_dilated", "dot_general")


@dataclasses.dataclass(frozen=True)
class rematerialize:
    """`forward`, which keeps only the results of the named operations for its backward passes.

    All else (normalization, activations, additions) is computed again where it is needed, once for
    every product: an elementwise pass each instead of the memory. `keep=()` keeps nothing but the
    inputs and runs the whole forward pass again for every product.

    Args:
      forward: the forward pass.
      keep: names of JAX primitives; by default convolutions and matrix products.

    Example:
      >>> forward = rematerialize(lambda params, state, rng, batch: (batch @ params, state))
      >>> forward(jnp.ones((2, 1)), (), None, jnp.ones((1, 2)))[0].tolist()
      [[2.0]]
    """

    forward: Callable[..., tuple[PyTree, PyTree]]
    keep: tuple[str, ...] = PRODUCTS

    def __call__(
        self, params: PyTree, model_state: PyTree, rng: jax.Array, batch: PyTree
    ) -> tuple[PyTree, PyTree]:
        """As `forward`."""

        def policy(primitive: Any, *_: Any, **__: Any) -> bool:
            return primitive.name in self.keep

        return jax.checkpoint(self.forward, policy=policy)(params, model_state, rng, batch)


@dataclasses.dataclass(frozen=True)
class compute_in:
    """`forward` with parameters and inputs cast to `dtype`, and float32 (or wider) outside it.

    The parameters stay as they are (master weights), and so do their gradients, the directions v
    and all inner products; outputs come back in the parameters' dtype, the model state in its own.
    Model state goes in as it is: running statistics lose nothing.

    Args:
      forward: the forward pass.
      dtype: the dtype of the computation, `bfloat16` by default.

    Example:
      >>> forward = compute_in(lambda params, state, rng, batch: (batch @ params, state))
      >>> str(forward(jnp.ones((2, 1)), (), None, jnp.ones((1, 2)))[0].dtype)
      'float32'
    """

    forward: Callable[..., tuple[PyTree, PyTree]]
    dtype: Any = jnp.bfloat16

    def __call__(
        self, params: PyTree, model_state: PyTree, rng: jax.Array, batch: PyTree
    ) -> tuple[PyTree, PyTree]:
        """As `forward`."""
        wide = jnp.result_type(*jax.tree.leaves(params))
        outputs, new_state = self.forward(
            _cast(params, self.dtype), model_state, rng, _cast(batch, self.dtype)
        )
        new_state = jax.tree.map(
            lambda new, old: new.astype(jnp.result_type(old)) if _floating(new) else new,
            new_state,
            model_state,
        )
        return _cast(outputs, wide), new_state


def _cast(tree: PyTree, dtype: Any) -> PyTree:
    return jax.tree.map(lambda x: x.astype(dtype) if _floating(x) else x, tree)


def _floating(x: Any) -> bool:
    return hasattr(x, "astype") and jnp.issubdtype(jnp.result_type(x), jnp.floating)
