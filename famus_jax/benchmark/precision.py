"""The number formats that a step can be benchmarked in.

Two switches make a format: what the network computes in (`compute_in`), and what matrix units may do
with float32 operands (`jax_default_matmul_precision`). Parameters are float32 in all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import jax


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
    p.name: p
    for p in (
        Precision("float32", "float32", "highest"),
        # What JAX does on NVIDIA GPUs unless it is told otherwise: 10 bits of mantissa for factors.
        Precision("tf32", "float32", "tensorfloat32"),
        Precision("bfloat16", "bfloat16", "default"),
    )
}


def precision_of(name: str, platform: str | None = None) -> Precision:
    """A format by its name.

    Args:
      name: `"float32"` (all of it), `"tf32"` or `"bfloat16"`.
      platform: `"cpu"`, `"gpu"` or `"tpu"`; by default that of the first device.

    Raises:
      ValueError: for an unknown name, or TF32 on anything but a GPU, which would run as another
        format under its name.
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
