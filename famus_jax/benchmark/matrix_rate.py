"""What a chip's matrix units reach: the rate that a network's step is measured against.

Measured, not read from a data sheet: large square products y <- y W, several in one program so that
launching it does not count, the median of several runs. W has entries of variance 1/size, so that
products neither overflow nor die out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from famus_jax.bench.precision import Precision

SIZES = {"cpu": 512}
"""Rows of the square matrices by platform; of accelerators `LARGE`."""
LARGE = 8192


class MatrixRate(NamedTuple):
    """A measurement.

    Attributes:
      flops_per_second: 2 size³ per product, at the median time.
      precision: the name of the format.
      size: rows of the square matrices.
      products: in one program.
      seconds: of that program, every timed run.
    """

    flops_per_second: float
    precision: str
    size: int
    products: int
    seconds: tuple[float, ...]


def matrix_rate(
    precision: Precision,
    *,
    size: int | None = None,
    products: int = 8,
    rounds: int = 9,
    clock: Callable[[], float] = time.perf_counter,
) -> MatrixRate:
    """Times `products` products of `size` x `size` matrices, `rounds` times after one warm-up.

    Args:
      precision: the format, from `precision_of`.
      size: rows and columns; by default what fills the chip.
      products, rounds: see above.
      clock: seconds; an argument for tests.
    """
    size = size or SIZES.get(jax.devices()[0].platform, LARGE)
    key_y, key_w = jax.random.split(jax.random.key(0))
    y = jax.random.normal(key_y, (size, size), jnp.dtype(precision.dtype))
    w = (jax.random.normal(key_w, (size, size)) / size**0.5).astype(y.dtype)

    def chain(y: jax.Array, w: jax.Array) -> jax.Array:
        for _ in range(products):
            y = y @ w
        return y

    with jax.default_matmul_precision(precision.matmul):
        run: Any = jax.jit(chain).lower(y, w).compile()
    seconds = []
    for number in range(rounds + 1):
        start = clock()
        jax.block_until_ready(run(y, w))
        if number:
            seconds.append(clock() - start)
    flops = 2 * size**3 * products
    rate = flops / statistics.median(seconds)
    return MatrixRate(rate, precision.name, size, products, tuple(seconds))
