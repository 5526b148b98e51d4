"""Pooled gradients: what the gradient samplers see, and what gradient matching compares.

Symbols: g_l = the gradient of layer l (a tuple of tensors), ḡ_l = its pooled form, a vector;
L_g = the squared distance between the pooled last-layer gradients of training and meta batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from famus_jax.layers.partition import Layers, Part, PyTree

Pooling = Literal["mean", "standardized_sum", "rms"]
Matching = Literal["mean", "mean_std"]
_TINY = 1e-9


def pooled_width(shape: Sequence[int], out_axis: int = -1) -> int:
    """The length of a pooled tensor: its output channels, or all of a vector or scalar.

    Args:
      shape: the tensor's shape.
      out_axis: the output-channel axis.

    Example:
      >>> pooled_width((3, 3, 16, 32)), pooled_width((32,)), pooled_width(())
      (32, 32, 1)
    """
    return shape[out_axis] if len(shape) > 1 else math.prod(shape)


def layer_widths(layers: Layers, params: PyTree, out_axis: int = -1) -> tuple[int, ...]:
    """The length of ḡ_l for every layer l.

    Args:
      layers: the layers.
      params: the parameters (their shapes count).
      out_axis: see `pool_tensor`.

    Example:
      >>> import famus_jax as famus
      >>> params = {"conv": jnp.zeros((3, 3, 2, 5)), "head": jnp.zeros((5, 2))}
      >>> layer_widths(famus.layers_by(params, {"conv": 0, "head": 1}), params)
      (5, 2)
    """
    widths = [0] * len(layers)
    for leaf, layer in zip(layers.leaves(params), layers.index):
        widths[layer] += pooled_width(jnp.shape(leaf), out_axis)
    return tuple(widths)


def pool_tensor(tensor: jax.Array, how: Pooling, out_axis: int = -1) -> jax.Array:
    """Pools a gradient tensor over every axis but the output channels.

    Args:
      tensor: any shape; vectors and scalars stay as they are.
      how: `"mean"` (paper §4.2), `"standardized_sum"` (released code: the sum, minus its mean, over
        its unbiased standard deviation), `"rms"` (the mean; `pool_layers` then divides by the
        root mean square over the whole layer).
      out_axis: the output-channel axis: the last for flax, 0 for PyTorch's layout.

    Returns:
      A float32 vector of length `pooled_width`.

    Example:
      >>> pool_tensor(jnp.array([[1.0, 2.0], [3.0, 4.0]]), "mean").tolist()
      [2.0, 3.0]
    """
    tensor = tensor.astype(jnp.float32)
    if tensor.ndim > 1:
        tensor = jnp.moveaxis(tensor, out_axis, -1)
        tensor = tensor.reshape(-1, tensor.shape[-1])
        pooled = tensor.sum(0) if how == "standardized_sum" else tensor.mean(0)
    else:
        pooled = tensor.reshape(-1)
    if how == "standardized_sum":
        pooled = (pooled - pooled.mean()) / (_unbiased_std(pooled) + _TINY)
    return pooled


def pool_layers(
    part: Part,
    active: Sequence[int],
    layers: Layers,
    width: int,
    how: Pooling,
    out_axis: int = -1,
) -> jax.Array:
    """ḡ of every layer, padded with zeros to one width.

    Args:
      part: the gradient's leaves in the layers `active`; the other layers' rows are 0.
      active: see `part`.
      layers: the layers.
      width: at least the largest `layer_widths`.
      how, out_axis: see `pool_tensor`.

    Returns:
      float32 [L, width].

    Example:
      >>> import famus_jax as famus
      >>> gradient = {"body": jnp.array([[1.0, 2.0], [3.0, 4.0]]), "head": jnp.array([5.0])}
      >>> layers = famus.layers_by(gradient, {"body": 0, "head": 1})
      >>> part = layers.part(gradient, layers.all)
      >>> pool_layers(part, layers.all, layers, 2, "mean").tolist()
      [[2.0, 3.0], [5.0, 0.0]]
    """
    rows: list[list[jax.Array]] = [[] for _ in layers.names]
    for tensor, layer in zip(part, layers.part_index(active), strict=True):
        rows[layer].append(pool_tensor(tensor, how, out_axis))
    padded = []
    for tensors in rows:
        row = jnp.concatenate(tensors) if tensors else jnp.zeros((0,), jnp.float32)
        if how == "rms" and tensors:
            row = row / (jnp.sqrt(jnp.mean(row**2) + _TINY**2) + _TINY)
        padded.append(jnp.pad(row, (0, width - row.shape[0])))
    return jnp.stack(padded)


def gradient_matching(
    train: Sequence[jax.Array], val: Sequence[jax.Array], how: Matching, out_axis: int = -1
) -> jax.Array:
    """L_g = ‖ḡ_L^tra − ḡ_L^val‖², the distance of two pooled last-layer gradients.

    Args:
      train, val: the tensors of the last layer's gradient (kernel and bias). Gradients flow into
        `train` only.
      how: `"mean"`: mean over every axis but the output channels, squared distance (Eq. 11).
        `"mean_std"` (released code): the means and the unbiased standard deviations per output
        channel, squared distances averaged over channels; a bias is one row.
      out_axis: the output-channel axis of the kernels.

    Returns:
      A scalar.

    Source: FaMUS, https://arxiv.org/abs/2104.15092, Eq. 11.

    Example:
      >>> train, val = (jnp.array([1.0, 2.0]),), (jnp.array([1.0, 0.0]),)
      >>> float(gradient_matching(train, val, "mean"))
      4.0
    """
    val = jax.lax.stop_gradient(tuple(val))
    if how == "mean":
        pairs = [
            (pool_tensor(t, how, out_axis), pool_tensor(v, how, out_axis))
            for t, v in zip(train, val)
        ]
        return sum((((t - v) ** 2).sum() for t, v in pairs), start=jnp.float32(0))
    total = jnp.float32(0)
    for t, v in zip(train, val, strict=True):
        t, v = _rows(t, out_axis), _rows(v, out_axis)
        total += ((t.mean(1) - v.mean(1)) ** 2).mean()
        total += ((_unbiased_std(t, 1) - _unbiased_std(v, 1)) ** 2).mean()
    return total


def _rows(tensor: jax.Array, out_axis: int) -> jax.Array:
    """One row per output channel; a vector is a single row."""
    tensor = tensor.astype(jnp.float32)
    if tensor.ndim < 2:
        return tensor.reshape(1, -1)
    return jnp.moveaxis(tensor, out_axis, 0).reshape(tensor.shape[out_axis], -1)


def _unbiased_std(x: jax.Array, axis: int = 0) -> jax.Array:
    """The standard deviation with n − 1; 0, and a zero gradient, where all values are equal."""
    n = x.shape[axis]
    variance = ((x - x.mean(axis, keepdims=True)) ** 2).sum(axis) / max(n - 1, 1)
    positive = variance > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1)), 0)
