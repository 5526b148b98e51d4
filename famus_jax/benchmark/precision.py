"""The number formats that a step can be measured in, and the rate of the chip's matrix units in each.

Two switches make a format: what the network computes in (`compute_in`), and what matrix units may do
with float32 operands (`jax_default_matmul_precision`). Parameters are float32 in all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Precision(NamedTuple):
    """One format.

    Attributes:
      name: on the command line.
      dtype: what the network computes in.
      matmul: for `jax.default_matmul_precision`.
    """

    name: str
    dtype: str
    matmul: str


PRECISIONS = {
    "float32": Precision("float32", "float32", "highest"),
    # What JAX does on NVIDIA GPUs unless it is told otherwise: 10 bits of mantissa for factors.
    "tf32": Precision("tf32", "float32", "tensorfloat32"),
    "bfloat16": Precision("bfloat16", "bfloat16", "default"),
}


def precision_of(name: str, platform: str | None = None) -> Precision:
    """A format by its name, for a platform (by default that of the first device).

    Raises:
      ValueError: for an unknown name, or TF32 anywhere but on a GPU: it would be another format.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision must be one of {tuple(PRECISIONS)}; got {name!r}")
    platform = platform or jax.devices()[0].platform
    if name == "tf32" and platform not in ("gpu", "cuda"):
        raise ValueError(
            f"precision 'tf32' is a format of NVIDIA's matrix units, and this is a {platform}: use "
            "float32 or bfloat16"
        )
    return PRECISIONS[name]


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
    """What the chip's matrix units reach: measured, not read from a data sheet.

    Times `products` products y <- y W of `size` x `size` matrices in one program, so that launching it
    does not count, `rounds` times after one warm-up. W has entries of variance 1/size, so that products
    neither overflow nor die out. The size is by default what fills the chip; `clock` is for tests.
    """
    size = size or (512 if jax.devices()[0].platform == "cpu" else 8192)
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
    return MatrixRate(
        flops_per_second=2 * size**3 * products / statistics.median(seconds),
        precision=precision.name,
        size=size,
        products=products,
        seconds=tuple(seconds),
    )
