"""Gradient samplers Γ_l: small networks that decide, from a pooled gradient, whether a gate opens.

Symbols: η_l = the parameters of Γ_l, ḡ_l = its input, r_l ∈ {0, 1} = the gate. All samplers are
evaluated as one padded, batched product: inputs [L, D], with zeros where a layer is narrower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

PyTree = Any
_TINY = 1e-20


class GateSample(NamedTuple):
    """One sample of all gates.

    Attributes:
      hard: r, float32 [L] of 0 and 1; its gradient is that of `soft` (straight through).
      soft: the Gumbel-softmax probability behind it, [L].
      probability: the chance that the gate opens, [L] (over the Gumbel noise, no temperature).

    Example:
      >>> sample = GateSample(jnp.array([1.0]), jnp.array([0.8]), jnp.array([0.6]))
      >>> float(sample.hard.sum())  # how many gates are open
      1.0
    """

    hard: jax.Array
    soft: jax.Array
    probability: jax.Array


def init_samplers(
    key: jax.Array, widths: Sequence[int], hidden: int, layers: int, open_probability: float
) -> PyTree:
    """η of every layer, as stacked arrays.

    Args:
      key: a PRNG key.
      widths: the length of every layer's input.
      hidden: hidden units (paper: 128).
      layers: dense layers, 2 (paper) or more; PReLU between them.
      open_probability: added to the last bias, so that gates start near it; 0.5 adds nothing.

    Returns:
      `{"kernels": [[L, in, out], ...], "biases": [[L, out], ...], "slopes": [[L], ...]}`.

    Example:
      >>> eta = init_samplers(
      ...     jax.random.key(0), widths=(5, 2), hidden=8, layers=2, open_probability=0.5
      ... )
      >>> [kernel.shape for kernel in eta["kernels"]]
      [(2, 5, 8), (2, 8, 2)]
    """
    num_layers, sizes = len(widths), [max(widths)] + [hidden] * (layers - 1) + [2]
    kernels, biases = [], []
    for i, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:])):
        key_w, key_b, key = jax.random.split(key, 3)
        # Padding is not fan-in: a narrow layer starts as if its sampler had its own width.
        true = jnp.asarray(widths if i == 0 else [fan_in] * num_layers, jnp.float32)
        bound = 1 / jnp.sqrt(true)
        shape = (num_layers, fan_in, fan_out)
        kernels.append(_symmetric(key_w, shape) * bound[:, None, None])
        biases.append(_symmetric(key_b, shape[::2]) * bound[:, None])
    logit = math.log(open_probability / (1 - open_probability))
    biases[-1] = biases[-1] + jnp.asarray([[-logit / 2, logit / 2]], jnp.float32)
    slopes = [jnp.full((num_layers,), 0.25, jnp.float32) for _ in range(layers - 1)]
    return {"kernels": kernels, "biases": biases, "slopes": slopes}


def _symmetric(key: jax.Array, shape: Sequence[int]) -> jax.Array:
    return jax.random.uniform(key, shape, jnp.float32, -1, 1)


def sampler_logits(eta: PyTree, inputs: jax.Array) -> jax.Array:
    """Γ_l(ḡ_l) for every layer l.

    Args:
      eta: see `init_samplers`.
      inputs: ḡ, [L, D].

    Returns:
      Logits [L, 2]: closed, open.

    Example:
      >>> eta = {"kernels": [jnp.array([[[0.0, 2.0]]])], "biases": [jnp.zeros((1, 2))], "slopes": []}
      >>> sampler_logits(eta, jnp.array([[3.0]])).tolist()
      [[0.0, 6.0]]
    """
    h = inputs
    last = len(eta["kernels"]) - 1
    for i, (kernel, bias) in enumerate(zip(eta["kernels"], eta["biases"])):
        h = jnp.einsum("ld,ldh->lh", h, kernel) + bias
        if i < last:
            h = jnp.where(h > 0, h, eta["slopes"][i][:, None] * h)
    return h


def sample_gates(
    eta: PyTree,
    inputs: jax.Array,
    uniforms: jax.Array,
    temperature: float,
    shift: Callable[[jax.Array], jax.Array] | None = None,
) -> GateSample:
    """Samples all gates: straight-through Gumbel-softmax.

    Args:
      eta: see `init_samplers`.
      inputs: ḡ, [L, D].
      uniforms: numbers in [0, 1), [L, 2].
      temperature: of the softmax; scales the gates' slopes, not the gates.
      shift: log-odds of opening [L] -> a number to add to all of them, held constant.

    Source: FaMUS, https://arxiv.org/abs/2104.15092, §4.2; Jang et al., Categorical Reparameterization
    with Gumbel-Softmax, ICLR 2017, https://arxiv.org/abs/1611.01144.

    Example:
      >>> eta = {"kernels": [jnp.array([[[0.0, 2.0]]])], "biases": [jnp.zeros((1, 2))], "slopes": []}
      >>> sample = sample_gates(eta, jnp.array([[3.0]]), jnp.full((1, 2), 0.5), temperature=1.0)
      >>> sample.hard.tolist(), round(float(sample.probability[0]), 4)
      ([1.0], 0.9975)
    """
    logits = sampler_logits(eta, inputs)
    if shift is not None:
        odds = jax.lax.stop_gradient(logits[:, 1] - logits[:, 0])
        logits = logits + jnp.stack([jnp.zeros(()), shift(odds)])[None, :].astype(logits.dtype)
    gumbel = -jnp.log(-jnp.log(uniforms + _TINY) + _TINY)
    soft = jax.nn.softmax((logits + gumbel) / temperature)[:, 1]
    hard = (soft > 0.5).astype(soft.dtype)
    return GateSample(
        hard=hard + (soft - jax.lax.stop_gradient(soft)),
        soft=soft,
        probability=jax.nn.softmax(logits)[:, 1],
    )
