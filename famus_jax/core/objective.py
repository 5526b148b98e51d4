"""What a training objective T(f, θ) is: what the meta-model does to the training loss.

Symbols: θ = meta-parameters, f = the network's outputs, ℓ_i = example i's loss, V_i(θ) = its weight,
n = batch size, T = the training loss that both the virtual and the actual step descend.

An `Objective` says how θ starts, what T is, and which optax transformation moves θ. It knows nothing
of how the meta gradient is estimated; estimators know nothing of objectives. To add a method, write
an `init` and a `loss`; those of the literature are in `famus_jax.objectives`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from famus_jax.core.losses import ExampleLoss

PyTree = Any


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
