"""A virtual step of many steps: θ is judged after k steps of the optimizer, on k batches.

Symbols: w_j, s_j = parameters and optimizer state after j virtual steps, w_0 = w; X_j = the batch of
step j; g_j = ∇_w T(f(w_j, X_j), θ); U = the optimizer, (u, s) its update and new state:

    (u_j, s_{j+1}) = U(g_j, s_j, w_j),   w_{j+1} = w_j + u_j,   j = 0 ... k − 1
    ∇_θ L_val(w_k(θ))

Without an optimizer u_j = −α g_j. Backward through step j, with w̄, s̄ = the slopes of L_val at w_{j+1},
s_{j+1}: U is pulled back by itself (it is elementwise, or nearly so), which gives ḡ; then

    w̄ ← w̄ + (∂g_j/∂w)ᵀ ḡ = w̄ + ∂/∂ε ∇_w T(w_j + ε ḡ, θ)
    θ̄ ← θ̄ + (∂g_j/∂θ)ᵀ ḡ = θ̄ + ∂/∂ε ∇_θ T(w_j + ε ḡ, θ)

Both are one forward-mode derivative of a reverse-mode gradient, since second derivatives commute: mixed
mode (Kemaev, Calian, Zintgraf, Farquhar, van Hasselt, 2025, https://arxiv.org/abs/2505.00793). Reverse
mode over reverse mode would keep what two backward passes need of each of the k steps. Here only w_j,
s_j and g_j are kept; the network's passes of a step are run again when its turn comes.

What a method takes as a number is a number in every step: MW-Net's net looks at losses without a
derivative, so that it is not heard how w_j changes V in a step j > 0. So it is in `jax.grad` of
`jax.grad`, to which this is equal.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.batches import leading_size
from famus_jax.core.dependence import check_meta_loss, check_reached
from famus_jax.core.estimator import Estimator
from famus_jax.core.problem import Inputs, Problem
from famus_jax.core.virtual_step import off_zero
from famus_jax.differentiate.linearize import function_of_params, join_outputs, split_outputs
from famus_jax.layers.jaxprs import trace

PyTree = Any


def first_batch(estimator: Estimator, batch: PyTree) -> tuple[PyTree, PyTree]:
    """The batch of this step, and the whole window of batches; None for an estimator without one.

    Args:
      estimator: see there.
      batch: arrays or shape structs [k, n, ...] where `estimator.unrolls`, else any batch.

    Raises:
      ValueError: if an array does not lead with k.
    """
    if not estimator.unrolls:
        return batch, None
    k = leading_size(batch, f"window of batches of {estimator.label}")
    if k != estimator.steps or any(jnp.ndim(x) == 0 for x in jax.tree.leaves(batch)):
        raise ValueError(
            f"{estimator.label} looks {estimator.steps} steps ahead, so the training batch must hold "
            f"{estimator.steps} batches in arrays [{estimator.steps}, n, ...], the one of this step "
            f"first; got arrays that lead with {k}: stack the batches that come next, "
            "jax.tree.map(lambda *x: jnp.stack(x), *batches)"
        )
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(batch)):
        return jax.eval_shape(lambda b: jax.tree.map(lambda x: x[0], b), batch), batch
    return jax.tree.map(lambda x: x[0], batch), batch


def with_window(estimator: Estimator, inputs: Inputs) -> Inputs:
    """The inputs of this step's batch, with the window beside it."""
    if inputs.window is not None:
        return inputs
    batch, window = first_batch(estimator, inputs.batch)
    return inputs._replace(batch=batch, window=window)


def unrolled_meta_gradient(
    problem: Problem, estimator: Estimator, theta: PyTree, inputs: Inputs
) -> tuple[jax.Array, PyTree]:
    """L_val after k steps, and its gradient with respect to θ.

    Args:
      problem: what is learned; its layers must be known.
      estimator: `route="jvp"` for mixed mode; `"second_order"` for reverse mode over reverse mode.
      theta: θ.
      inputs: with the `window` of batches [k, n, ...]; and, with `through_optimizer`, the `optimizer`.

    Returns:
      `(L_val, pytree like θ)`.

    Raises:
      ValueError: with `through_optimizer`, if there is no optimizer.
    """
    _check(problem, theta, inputs)
    update, opt_state = _optimizer(estimator, inputs)
    loss = _loss(problem, inputs)
    meta_forward = problem.meta_forward or problem.forward

    def meta_loss(params: PyTree) -> jax.Array:
        outputs, _ = meta_forward(params, inputs.model_state, inputs.meta_rng, inputs.meta_batch)
        return problem.meta_loss(outputs, inputs.meta_batch)

    def moved(w: PyTree, s: PyTree, g: PyTree) -> tuple[PyTree, PyTree]:
        u, s = update(jax.tree.map(off_zero, g), s, w)
        return jax.tree.map(lambda w, u: w + u.astype(w.dtype), w, u), s

    if estimator.route == "second_order":

        def l_val(theta: PyTree) -> jax.Array:
            w, s = inputs.params, opt_state
            for j in range(estimator.steps):
                w, s = moved(w, s, jax.grad(loss)(w, theta, jnp.asarray(j)))
            return meta_loss(w)

        return jax.value_and_grad(l_val)(theta)

    def ahead(at: tuple[PyTree, PyTree], j: jax.Array) -> tuple[Any, Any]:
        w, s = at
        g = jax.grad(loss)(w, theta, j)
        return moved(w, s, g), (w, s, g)

    def back(slopes: tuple[Any, ...], at: tuple[Any, ...]) -> tuple[Any, None]:
        (w_bar, s_bar, theta_bar), (w, s, g, j) = slopes, at
        s_now, counts = split_outputs(s)

        def differentiable(w: PyTree, s: list[jax.Array], g: PyTree) -> tuple[PyTree, list]:
            w, after = moved(w, join_outputs(s, counts), g)
            return w, split_outputs(after)[0]

        w_bar, s_bar, g_bar = jax.vjp(differentiable, w, s_now, g)[1]((w_bar, s_bar))

        def gradients(w: PyTree) -> tuple[PyTree, PyTree]:
            return jax.grad(loss, argnums=(0, 1))(w, theta, j)

        _, (curved, heard) = jax.jvp(gradients, (w,), (g_bar,))
        add = functools.partial(jax.tree.map, jnp.add)
        return (add(w_bar, curved), s_bar, add(theta_bar, heard)), None

    # The first step stands apart: nothing comes before it, so that its curvature is never computed.
    first, later = jnp.zeros((), jnp.int32), jnp.arange(1, estimator.steps)
    at, kept_first = ahead((inputs.params, opt_state), first)
    (w, s), kept = jax.lax.scan(ahead, at, later)
    value, w_bar = jax.value_and_grad(meta_loss)(w)
    flat = [jnp.zeros_like(x) for x in split_outputs(s)[0]]
    slopes = w_bar, flat, jax.tree.map(jnp.zeros_like, theta)
    slopes, _ = jax.lax.scan(back, slopes, (*kept, later), reverse=True)
    (_, _, gradient), _ = back(slopes, (*kept_first, first))
    return value, gradient


def _loss(problem: Problem, inputs: Inputs) -> Callable[[PyTree, PyTree, jax.Array], jax.Array]:
    """`(w, θ, j) -> T` on the batch of step j."""

    def loss(params: PyTree, theta: PyTree, j: jax.Array) -> jax.Array:
        batch = jax.tree.map(lambda x: jnp.asarray(x)[j], inputs.window)
        rng = inputs.rng
        if rng is not None:  # the first step's is this step's own
            rng = jnp.where(j == 0, rng, jax.random.fold_in(inputs.derived_rng(_STEP), j))
        outputs, _ = problem.forward_under(theta)(params, inputs.model_state, rng, batch)
        return problem.method.loss(theta, outputs, batch)[0]

    return loss


_STEP = int.from_bytes(b"STEP")


def _optimizer(
    estimator: Estimator, inputs: Inputs
) -> tuple[Callable[..., tuple[PyTree, PyTree]], PyTree]:
    """U and s_0; by default SGD."""
    if not estimator.through_optimizer:

        def descend(g: PyTree, s: PyTree, w: PyTree) -> tuple[PyTree, PyTree]:
            del w
            return jax.tree.map(lambda x: (-inputs.step_size * x).astype(x.dtype), g), s

        return descend, optax.EmptyState()
    if inputs.optimizer is None:
        raise ValueError(
            f"{estimator.label} takes its steps through the optimizer: pass "
            "optimizer=(optimizer.update, opt_state), or use through_optimizer=False"
        )
    return inputs.optimizer


def _check(problem: Problem, theta: PyTree, inputs: Inputs) -> None:
    """See `core.dependence`."""
    layers, batch = problem.layers, inputs.meta_batch
    assert layers is not None
    state, rng = inputs.model_state, inputs.meta_rng
    forward = trace(problem.meta_forward or problem.forward, inputs.params, state, rng, batch)
    f, (rest, _) = jax.eval_shape(function_of_params(forward, state, rng, batch), inputs.params)
    meta_loss = problem.meta_loss
    check_meta_loss(problem, theta, forward, lambda f: meta_loss(join_outputs(f, rest), batch), f)
    check_reached(layers, [layers.all], forward, meta_loss, batch, "meta loss")
