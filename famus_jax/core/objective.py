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

from famus_jax.core.losses import ExampleLoss, MetaLoss, mean_of

PyTree = Any


class Objective(NamedTuple):
    """A method, as pure functions.

    Attributes:
      name: for messages and reports.
      init: `(key, n) -> θ`; `n` is the batch size (only per-example methods look at it).
      loss: `(θ, outputs, batch) -> (T, weights)`; T a scalar, differentiable in θ and outputs;
        `weights` float [n] such that T = Σ_i weights_i ℓ_i where the method is a weighting
        (`weighs`); else how far the method believes each label, 1/n for wholly.
      meta_optimizer: moves θ along its meta gradient (learning rate β inside).
      example_loss: `(outputs, batch) -> ℓ [n]`, the loss that `loss` weighs.
      fresh: θ starts again from `init` for every batch (L2R) instead of being carried along.
      meta_loss: `(outputs, meta_batch) -> ()`, L_val unless the user gives another; None for the mean
        of `example_loss`. Read it as `l_val`.
      weighs: T = Σ_i weights_i ℓ_i; False for a method that corrects labels or outputs instead.
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
    meta_loss: MetaLoss | None = None
    weighs: bool = True

    @property
    def learns(self) -> bool:
        """Whether there is any θ; without one a meta update is a plain step."""
        theta = jax.eval_shape(lambda key: self.init(key, 1), jax.random.key(0))
        return bool(jax.tree.leaves(theta))

    @property
    def per_example(self) -> bool:
        """Whether θ holds a number for every example of a batch: its shape depends on n."""
        two, three = (
            jax.eval_shape(lambda key, n=n: self.init(key, n), jax.random.key(0)) for n in (2, 3)
        )
        shapes = [[leaf.shape for leaf in jax.tree.leaves(theta)] for theta in (two, three)]
        return shapes[0] != shapes[1]

    @property
    def l_val(self) -> MetaLoss:
        """The meta loss where the user gives none."""
        return self.meta_loss or mean_of(self.example_loss)
