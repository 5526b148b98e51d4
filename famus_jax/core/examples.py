"""Which examples of a batch the meta gradient is taken on (`Estimator.examples`).

The batch is cut into as many runs of neighbors as examples are heard, and every step draws one of
each. So each example is heard equally often, whatever order the batch has (a sampler that deals
classes out in turn would otherwise have the same class heard in every step), and a batch that is
spread over devices leaves each of them an equal part.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any
_ROWS = int.from_bytes(b"ROWS")


def heard_rows(
    key: jax.Array, step: jax.Array | int, n: int, size: int, device: Any = 0, devices: int = 1
) -> jax.Array:
    """The rows that step number `step` hears: int32 [size], ascending, one of each run.

    Args:
      key: the key of the `MetaState`.
      step: the number of the step.
      n, size: rows of a device, and how many of them are heard.
      device, devices: which of how many devices; all of them draw, and each takes its own.

    Example:
      >>> rows = heard_rows(jax.random.key(0), 0, n=64, size=8)
      >>> (rows // 8).tolist()  # eight runs of eight neighbors
      [0, 1, 2, 3, 4, 5, 6, 7]
    """
    key = jax.random.fold_in(jax.random.fold_in(key, _ROWS), step)
    uniform = jax.random.uniform(key, (devices, size), jnp.float32)[device]
    starts = jnp.asarray([i * n // size for i in range(size + 1)], jnp.int32)
    lengths = starts[1:] - starts[:-1]
    within = (uniform * lengths.astype(uniform.dtype)).astype(jnp.int32)
    return starts[:-1] + jnp.minimum(within, lengths - 1)  # the product may round up


def take_rows(batch: PyTree, rows: jax.Array, n: int) -> PyTree:
    """The rows of every array that leads with n; what has no batch axis stays whole."""
    size = rows.shape[0]

    def take(x: Any) -> Any:
        if not jnp.ndim(x) or jnp.shape(x)[0] != n:
            return x
        if n % size:
            return jnp.take(jnp.asarray(x), rows, axis=0)
        # One of each run: moves nothing between devices that hold whole runs.
        runs = jnp.reshape(x, (size, n // size, *jnp.shape(x)[1:]))
        return jax.vmap(lambda run, i: run[i])(runs, rows % (n // size))

    return jax.tree.map(take, batch)
