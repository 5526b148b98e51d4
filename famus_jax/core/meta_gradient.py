"""The meta gradient ∇_θ L_val(ŵ(θ)), layer by layer, in three forms that agree.

Symbols: w = parameters, α = learning rate of the virtual step, θ = meta-parameters, T = training
objective, f = network outputs, J = ∂f/∂w, ŵ(θ) = w − α ∇_w T(f(w), θ) (Eq. 3), S = the active
groups, v_l = ∂L_val/∂ŵ_l, g_l = the virtual gradient of group l, d_l = (∂ŵ_l/∂g_l)ᵀ v_l = −α v_l
(another one if ŵ is the real optimiser's step).

* `layerwise_meta_gradient`: the paper's form (Eq. 7, 9): for every active group the vector-Jacobian
  product of θ ↦ ŵ_l(θ) with v_l.
* `fused_meta_gradient`: all of θ's influence on ŵ comes after the outputs f, hence

      Σ_{l∈S} (∂ŵ_l/∂θ)ᵀ v_l = ∇_θ ⟨∂T/∂f (f, θ), J d_S⟩,   f held fixed:

  one forward-mode product for all groups, and a gradient through the small function T. Where
  forward mode is missing, J d is a finite difference of outputs. The form of DARTS and SAMA,
  (∇_θ T(w + ε d) − ∇_θ T(w − ε d)) / 2ε, differs where T looks at values it does not differentiate
  (MW-Net's losses): it moves those too, a term that the definition does not have.
* `second_order_meta_gradient`: differentiate the definition. The baseline, and the oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from famus_jax.core import data_parallel
from famus_jax.core.checks import check_forward, check_identity, leading_size
from famus_jax.core.estimators import AllGroups, Estimator
from famus_jax.core.finite_difference import reverse_only
from famus_jax.core.groups import Part
from famus_jax.core.linearize import Linearized, Split, linearize
from famus_jax.core.look_ahead import look_ahead, way_back
from famus_jax.core.micro_batch import micro_batched
from famus_jax.core.problem import Point, Problem

PyTree = Any


def layerwise_meta_gradient(
    problem: Problem,
    theta: PyTree,
    point: Point,
    *,
    active: Sequence[int] | None = None,
    **how: Any,
) -> dict[str, PyTree]:
    """The meta gradient of every active layer group, by one `jax.vjp` per group (Eq. 7, 9).

    Args:
      problem: the functions; see `Problem`.
      theta: θ.
      point: parameters, batches and α; see `Point`.
      active: the active groups' numbers; None for all.
      **how: the look-ahead, as fields of `Estimator`: `lookahead` (`"full"`, every group takes the
        virtual step, or `"active_only"`), `closed`, `virtual_step`, `epsilon`.

    Returns:
      `{group name: pytree like θ}`; the parts sum to the whole meta gradient. Gates multiply them.
    """
    estimator = Estimator(AllGroups(), route="vjp", **how)
    active, lin, gradient, v = _up_to_v(problem, theta, point, estimator, active)
    d = way_back(problem, point, estimator, gradient, v, active)
    return layer_products(problem, theta, lin, d, active)


def layer_products(
    problem: Problem,
    theta: PyTree,
    lin: Linearized,
    d: Part,
    active: Sequence[int],
) -> dict[str, PyTree]:
    """(∂ŵ_l/∂θ)ᵀ v_l = (∂g_l/∂θ)ᵀ d_l for every active group l, each by its own `jax.vjp`."""
    groups, owner = problem.groups, problem.groups.part_index(active)
    products = {}
    for group in active:

        def virtual_group(theta: PyTree, group: int = group) -> Part:
            """θ ↦ g_l(θ), the part of Eq. 3 that moves with θ."""
            cotangent, _ = training_cotangent(problem, theta, lin)
            return lin.pull_part(cotangent, (group,))

        _, pull_back = jax.vjp(virtual_group, theta)
        d_l = tuple(x for x, g in zip(d, owner) if g == group)
        (products[groups.names[group]],) = pull_back(d_l)
    return products


def fused_meta_gradient(
    problem: Problem,
    theta: PyTree,
    point: Point,
    *,
    active: Sequence[int] | None = None,
    **how: Any,
) -> PyTree:
    """The sum of `layerwise_meta_gradient` over the active groups, by one J d. Same arguments, and
    `route`: `"jvp"`, `"finite_difference"` or `"darts"`."""
    estimator = Estimator(AllGroups(), **how)
    active, lin, gradient, v = _up_to_v(problem, theta, point, estimator, active)
    d = way_back(problem, point, estimator, gradient, v, active)
    return direction_to_theta(problem, theta, estimator, lin, d, active)


def second_order_meta_gradient(
    problem: Problem,
    theta: PyTree,
    point: Point,
    *,
    active: Sequence[int] | None = None,
    **how: Any,
) -> tuple[jax.Array, PyTree]:
    """L_val and its gradient by reverse mode over reverse mode, through the virtual step itself.

    Same arguments as `layerwise_meta_gradient`; returns `(L_val, pytree like θ)`. Nothing here uses
    the identity of this module's docstring, so that θ may act inside the forward pass as well
    (`Objective.in_forward`). In a program that runs once per device every device gathers both batches
    and does all of the work: the numbers are right (with the dropout masks and BatchNorm statistics
    of one device), the time is not spread; under the global view of `jax.jit` it is.
    """
    groups = problem.groups
    estimator = Estimator(AllGroups(), route="second_order", **how)
    active = groups.all if active is None else tuple(active)
    check_identity(problem, estimator)
    whole = data_parallel.gather((point.batch, point.meta_batch), problem.axis)
    point = point._replace(batch=whole[0], meta_batch=whole[1])

    def training_loss(params: PyTree, theta: PyTree) -> jax.Array:
        forward = problem.forward_under(theta)
        outputs, _ = forward(params, point.model_state, point.rng, point.batch)
        return problem.objective.loss(theta, outputs, point.batch)[0]

    def l_val(theta: PyTree) -> jax.Array:
        gradient = jax.grad(training_loss)(point.params, theta)
        kept = groups.part(gradient, active)
        gradient = groups.place(kept, jax.lax.stop_gradient(gradient), active)
        if estimator.lookahead == "active_only":
            gradient = groups.part(gradient, active)
        ahead = look_ahead(problem, point, estimator, gradient, active)
        if estimator.virtual_step == "optimizer" and estimator.lookahead != "active_only":
            closed = jax.lax.stop_gradient(ahead)  # what other groups' gradients did to these
            ahead = groups.place(groups.part(ahead, active), closed, active)
        forward = problem.meta_forward or problem.forward
        outputs, _ = forward(ahead, point.model_state, point.meta_rng, point.meta_batch)
        return problem.meta_loss(outputs, point.meta_batch)

    return jax.value_and_grad(l_val)(theta)


def _up_to_v(problem, theta, point, estimator, active):
    """The training batch's derivative, the virtual gradient, and v at the look-ahead."""
    active = problem.groups.all if active is None else tuple(active)
    check_identity(problem, estimator)
    check_forward(problem, theta, point)
    lin = linearize_training(problem, theta, point, estimator)
    cotangent, _ = training_cotangent(problem, theta, lin)
    only = estimator.lookahead == "active_only"
    gradient = lin.pull_part(cotangent, active) if only else lin.pull(cotangent)
    ahead = look_ahead(problem, point, estimator, gradient, active)
    _, v = judge(problem, point, ahead, active)
    return active, lin, gradient, v


# The steps that the three forms, and the compiled training step, are made of.


def linearize_training(
    problem: Problem, theta: PyTree, point: Point, estimator: Estimator
) -> Linearized:
    """The training batch's forward pass at w, differentiable as the route needs it."""
    arguments = (
        problem.forward_under(theta),
        point.params,
        point.model_state,
        point.rng,
        point.batch,
        problem.groups,
    )

    def how(*arguments: Any) -> Linearized:
        if estimator.route in ("finite_difference", "darts"):
            return reverse_only(*arguments, epsilon=estimator.epsilon)
        return linearize(*arguments)

    def in_parts(*arguments: Any) -> Linearized:
        return micro_batched(*arguments, count=problem.micro_batches, how=how)

    one_device = in_parts if problem.micro_batches > 1 else how
    return data_parallel.of_all_devices(one_device, problem.axis)(*arguments)


def training_cotangent(
    problem: Problem, theta: PyTree, lin: Linearized
) -> tuple[list[jax.Array], tuple[jax.Array, jax.Array]]:
    """∂T/∂f at the outputs f, with (T, weights)."""

    def loss(f: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        return problem.objective.loss(theta, lin.rebuild(f), lin.batch)

    value, cotangent = jax.value_and_grad(loss, has_aux=True)(lin.f)
    return cotangent, value


def judge(
    problem: Problem, point: Point, params: PyTree, active: Sequence[int]
) -> tuple[jax.Array, Part]:
    """L_val at ŵ = `params`, and v_S = its gradient there with respect to the active groups.

    The backward pass ends at the lowest active group.
    """
    axis, groups, batch = problem.axis, problem.groups, point.meta_batch
    params, state = data_parallel.own((params, point.model_state), axis)
    rng = data_parallel.own_key(point.meta_rng, axis)
    meta_pass = Split(problem.meta_forward or problem.forward, state, rng, batch)

    def outputs_of(part: Part) -> tuple[list[jax.Array], Any]:
        return meta_pass(groups.place(part, params, active))

    f, pull, (rest, _) = jax.vjp(outputs_of, groups.part(params, active), has_aux=True)
    mine = meta_pass.rebuild(rest)(f)
    f, rebuild = data_parallel.outputs_of_all(mine, leading_size(batch, "meta batch"), axis)
    batch = data_parallel.gather(batch, axis)
    value, c = jax.value_and_grad(lambda f: problem.meta_loss(rebuild(f), batch))(f)
    return value, data_parallel.total(pull(data_parallel.own_rows(c, axis))[0], axis)


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
        parts = layer_products(problem, theta, lin, d, active).values()
        return jax.tree.map(lambda *x: sum(x), *parts)
    if estimator.route == "darts":
        assert lin.shifted is not None
        plus, minus, eps = lin.shifted(d, active)

        def slope(f: list[jax.Array]) -> PyTree:
            loss = problem.objective.loss
            return jax.grad(lambda t: loss(t, lin.rebuild(f), lin.batch)[0])(theta)

        return jax.tree.map(lambda a, b: (a - b) / (2 * eps), slope(plus), slope(minus))
    return pull_to_theta(problem, theta, lin, lin.push(d, active))


def pull_to_theta(problem: Problem, theta: PyTree, lin: Linearized, jv: list[jax.Array]) -> PyTree:
    """∇_θ ⟨∂T/∂f (f, θ), jv⟩ at fixed f: where a direction in output space meets θ."""

    def slope(theta: PyTree) -> jax.Array:
        def loss(f: list[jax.Array]) -> jax.Array:
            return problem.objective.loss(theta, lin.rebuild(f), lin.batch)[0]

        return jax.jvp(loss, (lin.f,), (jv,))[1]

    return jax.grad(slope)(theta)
