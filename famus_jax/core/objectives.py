"""Training objectives T(f, θ): what the meta-model does to the training loss.

Symbols: θ = meta-parameters, f = the network's outputs, ℓ_i = example i's loss, V_i(θ) = its weight,
n = batch size, T = the training loss that both the virtual and the actual step descend.

An `Objective` says how θ starts, what T is, and which optax transformation moves θ. It knows nothing
of how the meta gradient is estimated; estimators know nothing of objectives. To add a method, write
an `init` and a `loss`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.losses import ExampleLoss, softmax_cross_entropy

PyTree = Any
Normalisation = Literal["sum", "n"]


class Objective(NamedTuple):
    """A method, as pure functions.

    Attributes:
      name: for messages and reports.
      init: `(key, n) -> θ`; `n` is the batch size (only per-example methods look at it).
      loss: `(θ, outputs, batch) -> (T, weights)`; T a scalar, differentiable in θ and outputs;
        `weights` float [n] such that T = Σ_i weights_i ℓ_i where the method is a weighting.
      meta_optimizer: moves θ along its meta gradient (learning rate β inside).
      example_loss: `(outputs, batch) -> ℓ [n]`, the loss that `loss` weighs; its mean over the meta
        batch is the meta loss, unless the user gives another.
      fresh: θ starts again from `init` for every batch (L2R) instead of being carried along.
      stationary: at its initial θ, T is 0 for every w, so that the virtual step is no step, ŵ = w.
      in_forward: θ acts inside the forward pass too, which then takes it as a fifth argument:
        `forward(params, model_state, rng, batch, θ)`. Only `second_order()` covers that.
    """

    name: str
    init: Callable[[jax.Array, int], PyTree]
    loss: Callable[[PyTree, PyTree, PyTree], tuple[jax.Array, jax.Array]]
    meta_optimizer: optax.GradientTransformation
    example_loss: ExampleLoss
    fresh: bool = False
    stationary: bool = False
    in_forward: bool = False

    @property
    def learns(self) -> bool:
        """Whether there is any θ; without one a meta update is a plain step."""
        theta = jax.eval_shape(lambda key: self.init(key, 1), jax.random.key(0))
        return bool(jax.tree.leaves(theta))


def cross_entropy(example_loss: ExampleLoss = softmax_cross_entropy) -> Objective:
    """Plain training: T = mean ℓ_i, no θ. (With another `example_loss`, its mean.)"""

    def loss(theta, outputs, batch):
        del theta
        losses = example_loss(outputs, batch)
        return losses.mean(), jnp.full_like(losses, 1 / losses.shape[0])

    return Objective("cross_entropy", lambda key, n: (), loss, optax.identity(), example_loss)


def mwnet(
    example_loss: ExampleLoss = softmax_cross_entropy,
    *,
    hidden: int = 100,
    normalise: Normalisation = "sum",
    meta_optimizer: optax.GradientTransformation | None = None,
) -> Objective:
    """Meta-Weight-Net: V_i = sigmoid(MLP(ℓ_i)), T = Σ V_i ℓ_i, with V over its sum or over n.

    The weighting net 1–`hidden`–1 (ReLU inside) sees the loss as a number: no derivative flows into
    the network through it.

    Args:
      example_loss: `(outputs, batch) -> ℓ [n]`.
      hidden: hidden units.
      normalise: `"sum"` divides V by Σ V over the batch (0 when every V is 0), `"n"` by n.
      meta_optimizer: by default SGD, 1e-3, momentum 0.9 (paper, supplement).

    Raises:
      ValueError: for another `normalise`.

    Source: Shu et al., Meta-Weight-Net, NeurIPS 2019.
    """
    scale = _normaliser(normalise)

    def init(key, n):
        del n
        keys = jax.random.split(key, 4)
        bound = 1 / hidden**0.5

        def uniform(key, shape, bound):
            return jax.random.uniform(key, shape, jnp.float32, -bound, bound)

        return {
            "kernel_1": uniform(keys[0], (1, hidden), 1.0),
            "bias_1": uniform(keys[1], (hidden,), 1.0),
            "kernel_2": uniform(keys[2], (hidden, 1), bound),
            "bias_2": uniform(keys[3], (1,), bound),
        }

    def loss(theta, outputs, batch):
        losses = example_loss(outputs, batch)
        weights = scale(mwnet_weight(theta, jax.lax.stop_gradient(losses)))
        return jnp.vdot(weights, losses), weights

    meta_optimizer = meta_optimizer or optax.sgd(1e-3, momentum=0.9)
    return Objective("mwnet", init, loss, meta_optimizer, example_loss)


def mwnet_weight(theta: PyTree, losses: jax.Array) -> jax.Array:
    """The weighting net of `mwnet` by itself: losses [n] -> V in (0, 1), [n], not normalised."""
    x = losses[:, None].astype(theta["kernel_1"].dtype)
    hidden = jax.nn.relu(x @ theta["kernel_1"] + theta["bias_1"][None, :])
    return jax.nn.sigmoid(hidden @ theta["kernel_2"] + theta["bias_2"][None, :])[:, 0]


def l2r(example_loss: ExampleLoss = softmax_cross_entropy) -> Objective:
    """Learning to reweight: θ = ε ∈ Rⁿ, 0 for every batch; weights max(−∂L_val/∂ε, 0) over their sum.

    At ε = 0 the virtual step does not move (ŵ = w), so it is never computed. If no example helps the
    meta batch, every weight is 0 and the step changes nothing but momentum and decay.

    Source: Ren et al., Learning to Reweight Examples for Robust Deep Learning, ICML 2018.
    """

    def init(key, n):
        del key
        return jnp.zeros((n,), jnp.float32)

    def loss(epsilon, outputs, batch):
        losses = example_loss(outputs, batch)
        return jnp.vdot(epsilon.astype(losses.dtype), losses), epsilon

    return Objective("l2r", init, loss, rectify(), example_loss, fresh=True, stationary=True)


def rectify() -> optax.GradientTransformation:
    """The rule of `l2r`: an update max(−g, 0) / Σ max(−g, 0), 0 where that would be 0 / 0."""

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda g: normalise_by_sum(jnp.maximum(-g, 0)), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def normalise_by_sum(values: jax.Array) -> jax.Array:
    """values / Σ values for values ≥ 0; all zero where they are, with a gradient free of NaN.

    A NaN among the values is not hidden: it makes every weight NaN.
    """
    total = values.sum()
    return jnp.where(total != 0, values / jnp.where(total != 0, total, 1), 0)


def _normaliser(normalise: Normalisation) -> Callable[[jax.Array], jax.Array]:
    if normalise == "sum":
        return normalise_by_sum
    if normalise == "n":
        return lambda values: values / values.shape[0]
    raise ValueError(f'normalise must be "sum" or "n"; got {normalise!r}')
