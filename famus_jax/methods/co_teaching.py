"""Co-teaching: two networks, each of which learns the examples that its peer finds easy.

Symbols: ℓ_ik = the loss of example i of n under network k = 1, 2; τ = the share of wrong labels;
t = the step, T_k = the steps of the ramp:

    R(t) = τ min(t / T_k, 1)                         the share that is left out     `forget_rate`
    K = (1 − R(t)) n, to the next whole number
    v_ik = 1 for the K smallest of ℓ_1k ... ℓ_nk, else 0                            `small_losses`
    T = Σ_k (1 / K) Σ_i v_{i, peer of k} ℓ_ik

A network learns simple patterns before it learns wrong labels by heart, so small losses are of right
labels, mostly. What one network takes for right by mistake is not what it learns itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import ExampleLoss, Method
from famus_jax.losses import softmax_cross_entropy

PyTree = Any


def forget_rate(step: jax.Array | int, noise_rate: float, ramp: int) -> jax.Array:
    """R(t): from 0 at step 0 to the noise rate at step `ramp`; without a ramp, that from the start.

    >>> [round(float(forget_rate(t, 0.4, 10)), 2) for t in (0, 5, 10, 99)]
    [0.0, 0.2, 0.4, 0.4]
    """
    risen = jnp.minimum(step / ramp, 1.0) if ramp else 1.0
    return jnp.asarray(noise_rate * risen, jnp.float32)


def small_losses(losses: jax.Array, count: jax.Array | int) -> jax.Array:
    """v: 1 for the `count` smallest of the losses [n], else 0; of equal ones the first are taken.

    >>> small_losses(jnp.array([0.3, 0.1, 0.3, 0.2]), 3).tolist()
    [1.0, 1.0, 0.0, 1.0]
    """
    losses = jax.lax.stop_gradient(losses)
    rank = jnp.argsort(jnp.argsort(losses, stable=True), stable=True)
    return (rank < count).astype(losses.dtype)


def co_teaching(
    noise_rate: float,
    *,
    ramp: int = 0,
    example_loss: ExampleLoss = softmax_cross_entropy,
) -> Method:
    """Co-teaching: two networks, no trusted labels, T as above.

    It is for two networks as one: `problem(famus_jax.forward.pair(forward), co_teaching(0.4))`, with
    `(params_1, params_2)` that start apart. Batches have their number as `"step"`, an int32 scalar. The
    weights that a step reports are the mean of what both networks weigh an example with; its loss is
    the sum of both losses.

    Published: the ramp takes 10 of 200 epochs, batches of 128, Adam.

    Args:
      noise_rate: τ, the share of wrong labels, known or estimated, in [0, 1); with 0 it is plain
        training of both.
      ramp: T_k, in steps.
      example_loss: `(outputs, batch) -> ℓ [n]`, of one network's logits.

    Raises:
      ValueError: for numbers that can't be; from the loss, for outputs of one network, and for a batch
        without a step.

    Source: Han et al., Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy
    Labels, NeurIPS 2018, https://arxiv.org/abs/1804.06872. There K is cut off, not rounded.

    Example:
      >>> method = co_teaching(0.5)
      >>> logits = jnp.log(jnp.array([[[0.9, 0.1], [0.2, 0.8]], [[0.6, 0.4], [0.5, 0.5]]]))
      >>> batch = {"label": jnp.array([0, 0]), "step": jnp.int32(0)}
      >>> loss, weights = method.loss((), {"pair": logits}, batch)
      >>> round(float(loss), 4), weights.tolist()  # -log 0.6 of the first, -log 0.2 of the second
      (2.1203, [0.5, 0.5])
    """
    if not 0 <= noise_rate < 1:
        raise ValueError(
            "noise_rate, the share of wrong labels, must lie in [0, 1) (0.4 for 40 %); got "
            f"{noise_rate}"
        )
    if ramp < 0:
        raise ValueError(f"ramp, a number of steps, must be 0 or more; got {ramp}")

    def losses_of(outputs: PyTree, batch: PyTree) -> jax.Array:
        """ℓ, [n, 2]."""
        logits = pair_of(outputs, "co_teaching")
        return jnp.stack([example_loss(logits[:, k], batch) for k in (0, 1)], 1)

    def loss(theta, outputs, batch):
        del theta
        losses = losses_of(outputs, batch)
        n = losses.shape[0]
        left_out = forget_rate(_step_of(batch), noise_rate, ramp)
        count = jnp.clip(jnp.round((1 - left_out) * n), 1, n)
        easy = jnp.stack([small_losses(losses[:, k], count) for k in (0, 1)], 1)
        weights = easy[:, ::-1] / count.astype(losses.dtype)  # the peer's
        return (weights * losses).sum(), weights.mean(1)

    return Method(
        name="co_teaching",
        init=lambda key, n: (),
        loss=loss,
        meta_optimizer=optax.identity(),
        example_loss=lambda outputs, batch: losses_of(outputs, batch).sum(1),
        reweights=False,
    )


def pair_of(outputs: PyTree, name: str) -> jax.Array:
    """Both networks' logits, [n, 2, C].

    Raises:
      ValueError: if the outputs are of one network.
    """
    if not isinstance(outputs, Mapping) or "pair" not in outputs:
        raise ValueError(
            f"{name} trains two networks as one: wrap the forward pass, "
            "famus_jax.forward.pair(forward), and give it a pair of parameters and of model states"
        )
    return outputs["pair"]


def _step_of(batch: PyTree) -> jax.Array:
    if not isinstance(batch, Mapping) or "step" not in batch:
        held = list(batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(
            'co_teaching reads batch["step"], the number of the step; this batch holds '
            f'{held}: add "step": numpy.int32(t)'
        )
    return batch["step"]
