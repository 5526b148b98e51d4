"""The meta gradient by differentiating the definition: the usual baseline, and the oracle of tests.

Symbols: see `meta_gradient`. Nothing here uses the identity that the cheap routes rest on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from famus_jax.core.active_layers import AllLayers
from famus_jax.core.checks import check_identity
from famus_jax.core.estimator import Estimator
from famus_jax.core.frozen import trained_inputs
from famus_jax.core.meta_gradient import with_layers
from famus_jax.core.problem import Inputs, Problem
from famus_jax.core.virtual_step import virtual_step
from famus_jax.differentiate import collectives

PyTree = Any


def second_order_meta_gradient(
    problem: Problem,
    theta: PyTree,
    inputs: Inputs,
    *,
    active: Sequence[int] | None = None,
    **how: Any,
) -> tuple[jax.Array, PyTree]:
    """L_val and its gradient by reverse mode over reverse mode, through the virtual step itself.

    θ may act inside the forward pass as well (`Method.in_forward`). In a program that runs once per
    device every device gathers both batches and does all of the work: the numbers are right (with the
    dropout masks and BatchNorm statistics of one device), the time is not spread; under the global
    view of `jax.jit` it is.

    Args:
      problem, theta, inputs, active, **how: see `layerwise_meta_gradient`.

    Returns:
      `(L_val, pytree like θ)`.

    Example:
      >>> import jax.numpy as jnp
      >>> import famus_jax as famus
      >>> problem = famus.problem(famus.stateless_forward(lambda w, x: x @ w, input="x"), famus.l2r())
      >>> batch = {"x": jnp.eye(2), "label": jnp.array([0, 1])}
      >>> inputs = famus.Inputs(jnp.zeros((2, 2)), (), None, batch, batch, step_size=1.0)
      >>> value, gradient = second_order_meta_gradient(problem, jnp.zeros(2), inputs)
      >>> gradient.tolist()
      [-0.25, -0.25]
    """
    estimator = Estimator(AllLayers(), route="second_order", **how)
    problem, inputs = trained_inputs(problem, inputs)
    problem, layers = with_layers(problem, inputs)
    active = layers.all if active is None else tuple(active)
    check_identity(problem, estimator)
    batches = collectives.gather((inputs.batch, inputs.meta_batch), problem.axis)
    inputs = inputs._replace(batch=batches[0], meta_batch=batches[1])

    def training_loss(params: PyTree, theta: PyTree) -> jax.Array:
        forward = problem.forward_under(theta)
        outputs, _ = forward(params, inputs.model_state, inputs.rng, inputs.batch)
        return problem.method.loss(theta, outputs, inputs.batch)[0]

    def l_val(theta: PyTree) -> jax.Array:
        gradient = jax.grad(training_loss)(inputs.params, theta)
        kept = layers.part(gradient, active)
        gradient = layers.place(kept, jax.lax.stop_gradient(gradient), active)
        if estimator.virtual_step == "active":
            gradient = layers.part(gradient, active)
        ahead = virtual_step(layers, inputs, estimator, gradient, active)
        if estimator.through_optimizer and estimator.virtual_step != "active":
            closed = jax.lax.stop_gradient(ahead)  # what other layers' gradients did to these
            ahead = layers.place(layers.part(ahead, active), closed, active)
        forward = problem.meta_forward or problem.forward
        outputs, _ = forward(ahead, inputs.model_state, inputs.meta_rng, inputs.meta_batch)
        return problem.meta_loss(outputs, inputs.meta_batch)

    return jax.value_and_grad(l_val)(theta)
