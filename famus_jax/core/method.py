"""What a method is: what the meta-model does to the training loss.

Symbols: θ = meta-parameters, f = the network's outputs, ℓ_i = example i's loss, V_i(θ) = its weight,
n = batch size, T(f, θ) = the training loss that both the virtual and the actual step descend.

A `Method` says how θ starts, what T is, and which optax transformation moves θ. It knows nothing of
how the meta gradient is estimated; estimators know nothing of methods. To add one, write an `init`
and a `loss`; those of the literature are in `famus_jax.methods`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from famus_jax.memory import Memory

PyTree = Any
ExampleLoss = Callable[[PyTree, PyTree], jax.Array]
MetaLoss = Callable[[PyTree, PyTree], jax.Array]


class Method(NamedTuple):
    """A method, as pure functions.

    Attributes:
      name: for messages and reports.
      init: `(key, n) -> θ`; `n` is the batch size (only per-example methods look at it).
      loss: `(θ, outputs, batch) -> (T, weights)`; T a scalar, differentiable in θ and outputs;
        `weights` float [n] such that T = Σ_i weights_i ℓ_i where the method reweights; else how far
        it believes each label, 1/n for wholly.
      meta_optimizer: moves θ along its meta gradient (learning rate β inside).
      example_loss: `(outputs, batch) -> ℓ [n]`, the loss that `loss` weights.
      reset_each_batch: θ starts again from `init` for every batch (L2R) instead of being carried.
      zero_virtual_step: at its initial θ, T is 0 for every w, so that the virtual step does not
        move: ŵ = w.
      in_forward: θ acts inside the forward pass too, which then takes it as a fifth argument:
        `forward(params, model_state, rng, batch, θ)`. Only `second_order()` covers that.
      meta_loss: `(outputs, meta_batch) -> ()`, L_val unless the user gives another; None for the
        mean of `example_loss`. Read it as `l_val`.
      reweights: T = Σ_i weights_i ℓ_i; False for a method that corrects labels or outputs instead.
      memory: what it keeps of every training example, or of the run, which the loss is given as
        `batch["memory"]`; None for nothing. See `Memory`.

    Example:
      >>> import jax.numpy as jnp
      >>> import famus_jax as famus
      >>> def init(key, n):
      ...     return jnp.zeros(())
      >>> def loss(theta, outputs, batch):  # one number weights all examples alike
      ...     losses = famus.losses.softmax_cross_entropy(outputs, batch)
      ...     weights = jnp.full_like(losses, 1 / losses.shape[0]) * jnp.exp(theta)
      ...     return weights @ losses, weights
      >>> method = famus.Method("one number", init, loss, optax.sgd(0.1),
      ...                       famus.losses.softmax_cross_entropy)
      >>> method.has_theta, method.per_example
      (True, False)
    """

    name: str
    init: Callable[[jax.Array, int], PyTree]
    loss: Callable[[PyTree, PyTree, PyTree], tuple[jax.Array, jax.Array]]
    meta_optimizer: optax.GradientTransformation
    example_loss: ExampleLoss
    reset_each_batch: bool = False
    zero_virtual_step: bool = False
    in_forward: bool = False
    meta_loss: MetaLoss | None = None
    reweights: bool = True
    memory: Memory | None = None

    @property
    def has_theta(self) -> bool:
        """Whether there is any θ; without one a meta update is a plain step."""
        return bool(_theta_shapes(self.init, 1))

    @property
    def per_example(self) -> bool:
        """Whether θ holds a number for every example of a batch: its shape depends on n."""
        return _theta_shapes(self.init, 2) != _theta_shapes(self.init, 3)

    @property
    def l_val(self) -> MetaLoss:
        """The meta loss where the user gives none."""
        return self.meta_loss or mean_of(self.example_loss)


@functools.lru_cache(maxsize=1024)
def _theta_shapes(init: Callable[[jax.Array, int], PyTree], n: int) -> tuple[Any, ...]:
    """The shapes of θ's leaves. Kept, since `init` is traced for them."""
    theta = jax.eval_shape(lambda key: init(key, n), jax.random.key(0))
    return tuple(leaf.shape for leaf in jax.tree.leaves(theta))


def mean_of(example_loss: ExampleLoss) -> MetaLoss:
    """The meta loss L_val as the plain mean of a loss per example, a scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> squared = mean_of(lambda outputs, batch: (outputs - batch["y"]) ** 2)
      >>> float(squared(jnp.array([1.0, 2.0]), {"y": jnp.array([1.0, 0.0])}))
      2.0
    """
    return lambda outputs, batch: example_loss(outputs, batch).mean()
