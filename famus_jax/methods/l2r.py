"""Learning to reweight: weights from gradients alone. Symbols: see `famus_jax.core.method`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import ExampleLoss, Method
from famus_jax.losses import normalize_by_sum, softmax_cross_entropy


def l2r(example_loss: ExampleLoss = softmax_cross_entropy) -> Method:
    """Learning to reweight: every example's weight is how far it helps the trusted batch.

    θ = ε ∈ Rⁿ starts at 0 for every batch; the weights are max(−∂L_val/∂ε, 0) over their sum. At
    ε = 0 the virtual step does not move (ŵ = w), so it is never computed. If no example helps the meta
    batch, every weight is 0 and the step changes nothing but momentum and decay.

    Args:
      example_loss: `(outputs, batch) -> ℓ [n]`.

    Returns:
      A `Method`.

    Source: Ren et al., Learning to Reweight Examples for Robust Deep Learning, ICML 2018,
    https://arxiv.org/abs/1803.09050.

    Example:
      >>> method = l2r()
      >>> epsilon = method.init(jax.random.key(0), 3)
      >>> gradient = jnp.array([-3.0, 2.0, -1.0])  # the second example would hurt
      >>> state = method.meta_optimizer.init(epsilon)
      >>> method.meta_optimizer.update(gradient, state, epsilon)[0].tolist()
      [0.75, 0.0, 0.25]
    """

    def init(key, n):
        del key
        return jnp.zeros((n,), jnp.float32)

    def loss(epsilon, outputs, batch):
        losses = example_loss(outputs, batch)
        return jnp.vdot(epsilon.astype(losses.dtype), losses), epsilon

    return Method(
        "l2r", init, loss, rectify(), example_loss, reset_each_batch=True, zero_virtual_step=True
    )


def rectify() -> optax.GradientTransformation:
    """The rule of `l2r`: an update max(−g, 0) / Σ max(−g, 0), 0 where that would be 0 / 0.

    Returns:
      An `optax.GradientTransformation` without a state.

    Example:
      >>> rule = rectify()
      >>> rule.update(jnp.array([1.0, 2.0]), rule.init(jnp.zeros(2)))[0].tolist()  # nothing helps
      [0.0, 0.0]
    """

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda g: normalize_by_sum(jnp.maximum(-g, 0)), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
