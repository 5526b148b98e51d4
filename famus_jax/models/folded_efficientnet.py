"""EfficientNet-Lite0 for inference: the pooled features, cheap on a CPU.

The same function as the Linen module up to rounding, in two ways quicker:

* **BatchNorm is folded.** With running mean m and variance v, scale s and bias b, the norm after a
  convolution with kernel k is the convolution with `k * s / sqrt(v + epsilon)`, and then
  `+ b - m * s / sqrt(v + epsilon)`.
* **A depthwise convolution is a sum of shifted products**, one for each of its 9 or 25 weights. XLA
  fuses them into one loop over the pixels; its own depthwise convolution takes many times as long on a
  CPU.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from famus_jax.models.efficientnet_lite import EPSILON, STAGES


class Unit(NamedTuple):
    """A convolution and its folded norm.

    Attributes:
      kernel: [h, w, in, out]; of a depthwise convolution [h, w, 1, channels].
      bias: [1, 1, 1, out].
    """

    kernel: Any
    bias: Any


def fold(variables: Mapping[str, Any], dtype: Any = jnp.float32) -> dict[str, Unit]:
    """The units of a network by name, `stem`, `block3/expand` and so on, its norms folded.

    Args:
      variables: of `EfficientNetLite0` with BatchNorm and the published stages.
      dtype: of the result; the folding itself is in float64.

    Returns:
      kernels and biases.
    """
    units = {}
    params, stats = variables["params"], variables["batch_stats"]
    for name in params:
        if name.startswith("block"):
            for layer in params[name]:
                if not layer.endswith("_norm"):
                    units[f"{name}/{layer}"] = _folded(params[name], stats[name], layer)
    units |= {name: _folded(params, stats, name) for name in ("stem", "top")}
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), units)


def pooled_features(units: Mapping[str, Unit], images: jax.Array) -> jax.Array:
    """What the head gets: the mean over all positions of the last convolution's result.

    Args:
      units: what `fold` gives.
      images: [n, H, W, 3] in the units' dtype, scaled as the weights expect.

    Returns:
      [n, 1280], in [0, 6].
    """
    x = _relu6(_conv(images, units["stem"], 2))
    i = 0
    for stage in STAGES:
        for j in range(stage.blocks):
            block, y = f"block{i}/", x
            if stage.expand != 1:
                y = _relu6(_conv(y, units[block + "expand"]))
            y = _relu6(_depthwise(y, units[block + "depthwise"], stage.strides if j == 0 else 1))
            y = _conv(y, units[block + "project"])
            x = x + y if x.shape == y.shape else y
            i += 1
    return _relu6(_conv(x, units["top"])).mean((1, 2))


def _folded(params: Mapping[str, Any], stats: Mapping[str, Any], layer: str) -> Unit:
    """In float64, as NumPy's arrays."""
    norm = {
        leaf: np.asarray(value, np.float64)
        for leaf, value in {**params[f"{layer}_norm"], **stats[f"{layer}_norm"]}.items()
    }
    by = norm["scale"] / np.sqrt(norm["var"] + EPSILON)
    kernel = np.asarray(params[layer]["kernel"], np.float64) * by
    return Unit(kernel, (norm["bias"] - norm["mean"] * by)[None, None, None])


def _relu6(x: jax.Array) -> jax.Array:
    return jnp.clip(x, 0, 6)


def _conv(x: jax.Array, unit: Unit, strides: int = 1) -> jax.Array:
    y = lax.conv_general_dilated(
        x, unit.kernel, (strides, strides), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y + unit.bias


def _depthwise(x: jax.Array, unit: Unit, strides: int) -> jax.Array:
    """y[p, q] = sum over i, j of x[s p + i - top, s q + j - left] * kernel[i, j]."""
    n, height, width, channels = x.shape
    size = unit.kernel.shape[0]
    pads = lax.padtype_to_pads((height, width), (size, size), (strides, strides), "SAME")
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    rows, columns = (-(-length // strides) for length in (height, width))
    weights = unit.kernel[:, :, None, None]  # [size, size, 1, 1, 1, channels]
    y = unit.bias
    for i in range(size):
        for j in range(size):
            ends = (i + (rows - 1) * strides + 1, j + (columns - 1) * strides + 1)
            shifted = lax.slice(x, (0, i, j, 0), (n, *ends, channels), (1, strides, strides, 1))
            y = y + shifted * weights[i, j]
    return y
