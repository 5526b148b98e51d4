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

from famus_jax.core.estimators import Estimator
from famus_jax.core.losses import ExampleLoss
from famus_jax.core.meta_update import init_meta, meta_update
from famus_jax.core.objectives import Objective
from famus_jax.core.problem import Point, Problem

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


def free_weights(example_loss: ExampleLoss) -> Objective:
    """T = Σ_i V_i ℓ_i with θ = V itself, so that the meta gradient is ∂L_val/∂V.

    On a part of the batch the leading weights count, with the sum of all of them.
    """

    def init(key: jax.Array, n: int) -> jax.Array:
        del key
        return jnp.full((n,), 1 / n, jnp.float32)

    def loss(weights: jax.Array, outputs: PyTree, batch: PyTree) -> tuple[jax.Array, jax.Array]:
        losses = example_loss(outputs, batch)
        kept = weights[: losses.shape[0]]
        kept = kept * jax.lax.stop_gradient(weights.sum() / kept.sum())
        return jnp.vdot(kept.astype(losses.dtype), losses), kept

    return Objective("free_weights", init, loss, optax.sgd(1.0), example_loss)


def weight_gradient(
    problem: Problem,
    estimator: Estimator,
    point: Point,
    weights: jax.Array,
    key: jax.Array,
    gates: PyTree = None,
) -> jax.Array:
    """s = ∂L_val/∂V as `estimator` sees it; float [n].

    Args:
      problem: a weighting method's; only its forward, losses and groups are used.
      estimator: any; `every` and `correct_every`, which say when and not what, are ignored.
      point: see `Point`.
      weights: V at which the virtual step is taken, [n].
      key: for a drawn set of groups.
      gates: the state of learned gates, where they are to be those of a run.

    On a part of the batch the entries of the other examples are 0.
    """
    objective = free_weights(problem.objective.example_loss)
    problem = problem._replace(objective=objective)
    estimator = estimator.replace(every=1, correct_every=0)
    m = jax.tree.leaves(point.meta_batch)[0].shape[0]
    state = init_meta(problem, estimator, key, point.params, weights.shape[0], m)
    state = state._replace(theta=weights, opt_state=objective.meta_optimizer.init(weights))
    if gates is not None:
        state = state._replace(gates=gates)
    return weights - meta_update(problem, estimator, state, point).state.theta


def normalised_gradient(gradient: jax.Array, weights: jax.Array) -> jax.Array:
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
