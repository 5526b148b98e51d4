"""The meta gradient ∇_θ L_val(ŵ(θ)), layer by layer, in two forms that agree.

Symbols: w = parameters, α = step size of the virtual step, θ = meta-parameters, T = training loss,
f = network outputs, J = ∂f/∂w, ŵ(θ) = w − α ∇_w T(f(w), θ) (Eq. 3), S = the active layers,
v_l = ∂L_val/∂ŵ_l, g_l = the virtual gradient of layer l, d_l = (∂ŵ_l/∂g_l)ᵀ v_l = −α v_l (another
one if ŵ is the real optimizer's step).

* `layerwise_meta_gradient`: the paper's form (Eq. 7, 9): for every active layer the vector-Jacobian
  product of θ ↦ ŵ_l(θ) with v_l.
* `fused_meta_gradient`: all of θ's influence on ŵ comes after the outputs f, hence

      Σ_{l∈S} (∂ŵ_l/∂θ)ᵀ v_l = ∇_θ ⟨∂T/∂f (f, θ), J d_S⟩,   f held fixed:

  one forward-mode product for all layers, and a gradient through the small function T. Where
  forward mode is missing, J d is a finite difference of outputs. The form of DARTS and SAMA,
  (∇_θ T(w + ε d) − ∇_θ T(w − ε d)) / 2ε, differs where T looks at values it does not differentiate
  (MW-Net's losses): it moves those too, a term that the definition does not have.

The third form, differentiating the definition, is in `second_order`. Paper: FaMUS,
https://arxiv.org/abs/2104.15092.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.core.active_layers import AllLayers
from famus_jax.core.batches import compared_with, leading_size
from famus_jax.core.checks import check_identity
from famus_jax.core.dependence import check_closure, check_meta_loss, check_reached
from famus_jax.core.estimator import Estimator
from famus_jax.core.frozen import trained_inputs
from famus_jax.core.problem import Inputs, Problem
from famus_jax.core.virtual_step import pull_back, virtual_step
from famus_jax.differentiate import collectives
from famus_jax.differentiate.finite_difference import finite_difference
from famus_jax.differentiate.linearize import (
    Forward,
    Linearized,
    function_of_params,
    join_outputs,
    linearize,
)
from famus_jax.differentiate.micro_batches import micro_batched
from famus_jax.layers.jaxprs import trace
from famus_jax.layers.partition import Layers, Part

PyTree = Any


def layerwise_meta_gradient(
    problem: Problem,
    theta: PyTree,
    inputs: Inputs,
    *,
    active: Sequence[int] | None = None,
    **how: Any,
) -> dict[str, PyTree]:
    """The meta gradient of every active layer, by one `jax.vjp` per layer (Eq. 7, 9).

    Args:
      problem: what is learned; its layers are found if they are not given.
      theta: θ.
      inputs: parameters, batches and α; see `Inputs`.
      active: the active layers' numbers; None for all.
      **how: the virtual step, as fields of `Estimator`: `virtual_step` (`"all"` or `"active"`),
        `through_optimizer`, `epsilon`.

    Returns:
      `{layer name: pytree like θ}`; the parts sum to the whole meta gradient. Gates multiply them.

    Raises:
      ValueError: if θ reaches L_val other than through the method's loss, among others.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import famus_jax as famus
      >>> forward = famus.stateless_forward(lambda w, x: jnp.tanh(x @ w["a"]) @ w["b"], input="x")
      >>> problem = famus.problem(forward, famus.l2r())
      >>> params = {"a": jnp.eye(2), "b": jnp.eye(2)}
      >>> batch = {"x": jnp.array([[1.0, 0.0], [0.0, 1.0]]), "label": jnp.array([0, 0])}
      >>> inputs = famus.Inputs(params, (), jax.random.key(0), batch, batch, step_size=0.1)
      >>> parts = layerwise_meta_gradient(problem, jnp.zeros(2), inputs)
      >>> {name: part.shape for name, part in parts.items()}
      {'a': (2,), 'b': (2,)}
    """
    estimator = Estimator(AllLayers(), route="vjp", **how)
    problem, active, lin, d = _direction(problem, theta, inputs, estimator, active)
    return _layer_products(problem, theta, lin, d, active)


def fused_meta_gradient(
    problem: Problem,
    theta: PyTree,
    inputs: Inputs,
    *,
    active: Sequence[int] | None = None,
    **how: Any,
) -> PyTree:
    """The sum of `layerwise_meta_gradient` over the active layers, by one J d.

    Args:
      problem, theta, inputs, active: see there.
      **how: also `route`: `"jvp"`, `"finite_difference"` or `"darts"`.

    Returns:
      A pytree like θ.

    Raises:
      ValueError: see `layerwise_meta_gradient`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import famus_jax as famus
      >>> problem = famus.problem(famus.stateless_forward(lambda w, x: x @ w, input="x"), famus.l2r())
      >>> batch = {"x": jnp.eye(2), "label": jnp.array([0, 1])}
      >>> inputs = famus.Inputs(jnp.zeros((2, 2)), (), None, batch, batch, step_size=1.0)
      >>> fused_meta_gradient(problem, jnp.zeros(2), inputs).tolist()  # each helps itself
      [-0.25, -0.25]
    """
    estimator = Estimator(AllLayers(), **how)
    problem, active, lin, d = _direction(problem, theta, inputs, estimator, active)
    return direction_to_theta(problem, theta, estimator, lin, d, active)


def _direction(problem, theta, inputs, estimator, active):
    """The training batch's derivative, and d at the virtual step."""
    problem, inputs = trained_inputs(problem, inputs)
    problem, layers = with_layers(problem, inputs)
    active = layers.all if active is None else tuple(active)
    check_identity(problem, estimator)
    lin = linearize_training(problem, theta, inputs, estimator)
    cotangent, _ = training_cotangent(problem, theta, lin)
    only = estimator.virtual_step == "active"
    gradient = lin.vjp_part(cotangent, active) if only else lin.vjp(cotangent)
    ahead = virtual_step(layers, inputs, estimator, gradient, active)
    _, v = meta_loss_gradient(problem, theta, inputs, ahead, active)
    return problem, active, lin, pull_back(layers, inputs, estimator, gradient, v, active)


# What both forms, and the training step, are made of.


def with_layers(problem: Problem, inputs: Inputs, **how: Any) -> tuple[Problem, Layers]:
    """The problem with its layers known, and those; see `Problem.on`."""
    problem = problem.on(inputs.params, inputs.model_state, inputs.rng, inputs.batch, **how)
    assert problem.layers is not None
    return problem, problem.layers


def linearize_training(
    problem: Problem,
    theta: PyTree,
    inputs: Inputs,
    estimator: Estimator,
    forward: Forward | None = None,
) -> Linearized:
    """The training batch's forward pass at w, differentiable as the route needs it.

    Args:
      problem, theta, inputs, estimator: see there.
      forward: the forward pass, if it is traced already; only for programs that run whole batches.
    """
    how = linearize
    if estimator.route in ("finite_difference", "darts"):
        how = functools.partial(finite_difference, epsilon=estimator.epsilon)
    in_parts = problem.micro_batches > 1 or problem.axis is not None
    if forward is None or in_parts:
        forward = problem.forward_under(theta)
    if not in_parts:
        forward = trace(forward, *inputs[:4])
    check_closure(problem, theta, forward, inputs)
    how = micro_batched(how, problem.micro_batches, problem.axis)
    how = collectives.on_all_devices(how, problem.axis)
    assert problem.layers is not None
    return how(forward, *inputs[:4], problem.layers)


def training_cotangent(
    problem: Problem, theta: PyTree, lin: Linearized
) -> tuple[list[jax.Array], tuple[jax.Array, jax.Array]]:
    """∂T/∂f at the outputs f, with (T, weights)."""

    def loss(f: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        return problem.method.loss(theta, lin.outputs_at(f), lin.batch)

    value, cotangent = jax.value_and_grad(loss, has_aux=True)(lin.f)
    return cotangent, value


def meta_loss_gradient(
    problem: Problem, theta: PyTree, inputs: Inputs, params: PyTree, active: Sequence[int]
) -> tuple[jax.Array, Part]:
    """L_val at ŵ = `params`, and v_S = its gradient there with respect to the active layers.

    The backward pass ends at the lowest active layer.
    """
    axis, layers, batch = problem.axis, problem.layers, inputs.meta_batch
    assert layers is not None
    params, state = collectives.pvary((params, inputs.model_state), axis)
    rng = collectives.device_key(inputs.meta_rng, axis)
    with compared_with(batch, inputs.batch):
        forward = trace(problem.meta_forward or problem.forward, params, state, rng, batch)
    meta_pass = function_of_params(forward, state, rng, batch)

    def outputs_of(part: Part) -> tuple[list[jax.Array], Any]:
        f, (rest, _) = meta_pass(layers.place(part, params, active))
        return f, rest

    f, pull, rest = jax.vjp(outputs_of, layers.part(params, active), has_aux=True)
    mine = join_outputs(f, rest)
    f, rest = collectives.gathered_outputs(mine, leading_size(batch, "meta batch"), axis)
    batch = collectives.gather(batch, axis)

    def meta_loss(f: list[jax.Array]) -> jax.Array:
        return problem.meta_loss(join_outputs(f, rest), batch)

    check_meta_loss(problem, theta, forward, meta_loss, f)
    check_reached(layers, [active], forward, problem.meta_loss, inputs.meta_batch, "meta loss")
    value, c = jax.value_and_grad(meta_loss)(f)
    return value, collectives.psum(pull(collectives.local_rows(c, axis))[0], axis)


def direction_to_theta(
    problem: Problem,
    theta: PyTree,
    estimator: Estimator,
    lin: Linearized,
    d: Part,
    active: Sequence[int],
) -> PyTree:
    """Where a direction in the space of gradients, 0 outside `active`, meets θ: (∂g/∂θ)ᵀ d."""
    if estimator.route == "vjp":
        parts = _layer_products(problem, theta, lin, d, active).values()
        return jax.tree.map(lambda *x: sum(x), *parts)
    if estimator.route == "darts":
        assert lin.shifted is not None
        plus, minus, eps = lin.shifted(d, active)

        def slope(f: list[jax.Array]) -> PyTree:
            loss = problem.method.loss
            return jax.grad(lambda t: loss(t, lin.outputs_at(f), lin.batch)[0])(theta)

        return jax.tree.map(lambda a, b: (a - b) / (2 * eps), slope(plus), slope(minus))
    return outputs_to_theta(problem, theta, lin, lin.jvp(d, active))


def outputs_to_theta(
    problem: Problem, theta: PyTree, lin: Linearized, jv: list[jax.Array]
) -> PyTree:
    """∇_θ ⟨∂T/∂f (f, θ), jv⟩ at fixed f: where a direction in output space meets θ."""

    def slope(theta: PyTree) -> jax.Array:
        def loss(f: list[jax.Array]) -> jax.Array:
            return problem.method.loss(theta, lin.outputs_at(f), lin.batch)[0]

        # In reverse mode, as the actual step: a fused loss may have no other (`jax.custom_vjp`).
        products = [jnp.vdot(c, x) for c, x in zip(jax.grad(loss)(lin.f), jv, strict=True)]
        return jnp.stack(products).sum()

    return jax.grad(slope)(theta)


def _layer_products(
    problem: Problem,
    theta: PyTree,
    lin: Linearized,
    d: Part,
    active: Sequence[int],
) -> dict[str, PyTree]:
    """(∂ŵ_l/∂θ)ᵀ v_l = (∂g_l/∂θ)ᵀ d_l for every active layer l, each by its own `jax.vjp`."""
    layers = problem.layers
    assert layers is not None
    owner = layers.part_index(active)
    products = {}
    for layer in active:

        def gradient_of_layer(theta: PyTree, layer: int = layer) -> Part:
            """θ ↦ g_l(θ), the part of Eq. 3 that moves with θ."""
            cotangent, _ = training_cotangent(problem, theta, lin)
            return lin.vjp_part(cotangent, (layer,))

        _, pull = jax.vjp(gradient_of_layer, theta)
        d_l = tuple(x for x, g in zip(d, owner) if g == layer)
        (products[layers.names[layer]],) = pull(d_l)
    return products
