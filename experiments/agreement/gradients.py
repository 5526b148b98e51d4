"""How close an estimate of the meta gradient comes to the exact one, in the space of weights.

Symbols: V = the weights of the training examples (they sum to 1), s_i = ∂L_val/∂V_i, n = batch size.
θ-gradients of small weighting nets are alike even for random directions, so θ proves little; what an
estimator says about each example's weight is what counts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.active_layers import Draw
from famus_jax.core.checks import leading_size
from famus_jax.core.estimator import Estimator
from famus_jax.core.examples import heard_rows
from famus_jax.core.method import ExampleLoss, Method
from famus_jax.core.problem import Inputs, Problem
from famus_jax.core.programs import Program
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update

PyTree = Any


class Agreement(NamedTuple):
    """An estimate beside the exact gradient; scalars.

    Attributes:
      cosine: of the angle between them, in [-1, 1]; 0 if either is 0.
      sign_agreement: the share of entries with equal signs, in [0, 1].
      relative_error: ‖estimate − exact‖ / ‖exact‖.
    """

    cosine: jax.Array
    sign_agreement: jax.Array
    relative_error: jax.Array


def free_weights(example_loss: ExampleLoss) -> Method:
    """T = Σ_i V_i ℓ_i with θ = V itself, so that the meta gradient is ∂L_val/∂V.

    On a part of the batch its examples' weights count, with the sum of all of them; `batch["row"]`
    says which they are.
    """

    def init(key: jax.Array, n: int) -> jax.Array:
        del key
        return jnp.full((n,), 1 / n, jnp.float32)

    def loss(weights: jax.Array, outputs: PyTree, batch: PyTree) -> tuple[jax.Array, jax.Array]:
        losses = example_loss(outputs, batch)
        kept = weights[batch["row"]]
        kept = kept * jax.lax.stop_gradient(weights.sum() / kept.sum())
        return jnp.vdot(kept.astype(losses.dtype), losses), kept

    return Method("free_weights", init, loss, optax.sgd(1.0), example_loss)


def weight_gradient(
    problem: Problem,
    estimator: Estimator,
    inputs: Inputs,
    weights: jax.Array,
    draw: Draw | None = None,
) -> jax.Array:
    """s = ∂L_val/∂V as `estimator` sees it; float [n].

    Args:
      problem: a reweighting method's; only its forward, losses and layers are used.
      estimator: any; `update_every` and `control_variate_every`, which say when and not what, are
        ignored.
      inputs: see `Inputs`.
      weights: V at which the virtual step is taken, [n].
      draw: the layers in force, of an estimator that draws them.

    On a part of the batch the entries of the other examples are 0.
    """
    method = free_weights(problem.method.example_loss)
    batch = {**inputs.batch, "row": jnp.arange(weights.shape[0])}
    inputs = inputs._replace(batch=batch)
    return theta_gradient(problem._replace(method=method), estimator, inputs, weights, draw)


def rows(n: int, size: int) -> jax.Array:
    """The rows that `weight_gradient` hears, int32 [size]."""
    return heard_rows(jax.random.key(0), 0, n, size)


def theta_gradient(
    problem: Problem,
    estimator: Estimator,
    inputs: Inputs,
    theta: PyTree,
    draw: Draw | None = None,
) -> PyTree:
    """The meta gradient at `theta` as `estimator` sees it, a tree like θ; see `weight_gradient`.

    Not read off a step of θ, whose rounding would drown it late in a decayed schedule. L2R's virtual
    step, which is no step at its θ, is taken all the same.
    """
    method = problem.method._replace(
        meta_optimizer=_recorder(), reset_each_batch=False, zero_virtual_step=False
    )
    problem = problem._replace(method=method)
    estimator = estimator.replace(update_every=1, control_variate_every=0)
    n = leading_size(inputs.batch, "training batch")
    m = leading_size(inputs.meta_batch, "meta batch")
    state = init_state(problem, estimator, jax.random.key(0), inputs.params, n, m)
    state = state._replace(theta=theta, key=jax.random.key(0))
    if draw is not None:
        draws = jax.tree.map(lambda queue, new: queue.at[0].set(new), state.draws, draw)
        state = state._replace(draws=draws)
    # The first program serves every draw: it has the most layers, and closed ones count 0 times.
    program = Program() if estimator.active.drawn else None
    return meta_update(problem, estimator, state, inputs, program=program).state.opt_state


def _recorder() -> optax.GradientTransformation:
    """Moves nothing; its state is the gradient that it was last given."""

    def update(updates, state, params=None):
        del state, params
        return jax.tree.map(jnp.zeros_like, updates), updates

    return optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), update)


def normalized_gradient(gradient: jax.Array, weights: jax.Array) -> jax.Array:
    """s − ⟨V, s⟩: what is left of it when only weights relative to their sum count."""
    return gradient - jnp.vdot(weights, gradient) / weights.sum()


def agreement(estimate: jax.Array, exact: jax.Array) -> Agreement:
    """How close two gradients are; arrays of any one shape."""
    estimate, exact = estimate.astype(jnp.float32).ravel(), exact.astype(jnp.float32).ravel()
    length = jnp.linalg.norm(exact)
    both = jnp.linalg.norm(estimate) * length
    return Agreement(
        jnp.where(both > 0, jnp.vdot(estimate, exact) / jnp.where(both > 0, both, 1), 0),
        (jnp.sign(estimate) == jnp.sign(exact)).mean(),
        jnp.linalg.norm(estimate - exact) / jnp.where(length > 0, length, 1),
    )
