"""The stages of Algorithm 1 (FaMUS, https://arxiv.org/abs/2104.15092), in its order.

`famus_jax.core.update` calls them one after the other; each is a function of what came before it.
Those that run the network are named scopes, which profilers and compiled programs show.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.active_gradient import (
    ActiveGradient,
    VirtualTrain,
    active_gradient,
    layer_slopes,
)
from famus_jax.core.active_layers import ActiveLayers, AllLayers, Draw, Seen
from famus_jax.core.carried import Carried, carried_gradient, renewed
from famus_jax.core.checks import examples_heard
from famus_jax.core.cost import program_costs, renewal_cost
from famus_jax.core.dependence import check_uncoupled
from famus_jax.core.estimator import Estimator
from famus_jax.core.examples import heard_rows, take_rows
from famus_jax.core.meta_gradient import linearize_training, training_cotangent
from famus_jax.core.method import Method
from famus_jax.core.problem import PART, Inputs, Problem
from famus_jax.core.programs import Program
from famus_jax.core.state import MetaState, push_draw, step_keys
from famus_jax.core.unrolled import unrolled_meta_gradient
from famus_jax.differentiate.collectives import device_count, device_index
from famus_jax.differentiate.linearize import Linearized

PyTree = Any


def seen_before(problem: Problem, estimator: Estimator, inputs: Inputs, n: int, m: int) -> Seen:
    """What is known before the step."""
    layers = problem.layers
    assert layers is not None
    some = estimator.active.drawn or estimator.active.programs(layers) != (layers.all,)
    if some and estimator.through_optimizer and inputs.optimizer_update is not None:
        check_uncoupled(inputs.optimizer_update, inputs.params, layers)
    return Seen(layers, program_costs(problem, estimator, n, m), inputs.step_size)


def begin(problem: Problem, state: MetaState, n: int) -> tuple[PyTree, PyTree]:
    """θ and its optimizer's state at the start of this batch."""
    method = problem.method
    if not method.reset_each_batch:
        return state.theta, state.opt_state
    key = step_keys(state.key, state.step).theta
    theta = method.init(key, n)
    return theta, method.meta_optimizer.init(theta)


@jax.named_scope("virtual_step")
def virtual_train(
    problem: Problem,
    estimator: Estimator,
    state: MetaState,
    theta: PyTree,
    inputs: Inputs,
    training: Linearized,
    n: int,
) -> VirtualTrain:
    """The examples that are heard, T at θ, and the gradient where every layer steps."""
    size = examples_heard(estimator, n, problem.axis)
    if size < n:
        place = device_index(problem.axis), device_count(problem.axis)
        rows = heard_rows(state.key, state.step, n, size, *place)
        batch = take_rows(inputs.batch, rows, n)
        inputs = inputs._replace(batch=batch, rng=inputs.derived_rng(PART))
        training = linearize_training(problem, theta, inputs, estimator)
    cotangent, (loss, weights) = training_cotangent(problem, theta, training)
    gradient = None
    if estimator.virtual_step in ("all", "actual") and not problem.method.zero_virtual_step:
        gradient = training.vjp(cotangent)
    return VirtualTrain(
        inputs=inputs,
        lin=training,
        cotangent=cotangent,
        loss=loss,
        weights=weights,
        gradient=gradient,
    )


def draw_layers(estimator: Estimator, state: MetaState, seen: Seen) -> Draw | None:
    """The layers in force; None where they are fixed."""
    kind = estimator.active
    if not kind.drawn:
        return None
    if kind.ahead:
        return jax.tree.map(lambda queue: queue[0], state.draws)
    key = step_keys(state.key, state.updates).draw
    return kind.draw(state.active, key, state.updates, seen)


@jax.named_scope("meta_gradient")
def meta_train(
    problem: Problem,
    estimator: Estimator,
    theta: PyTree,
    virtual: VirtualTrain,
    draw: Draw | None,
    program: Program | None,
    carried: Carried | tuple[()],
    seen: Seen,
) -> ActiveGradient:
    """The active layers' meta gradient, by the program that covers them."""
    if isinstance(carried, Carried):
        return carried_gradient(problem, estimator, theta, virtual, carried)
    if estimator.unrolls:
        value, gradient = unrolled_meta_gradient(problem, estimator, theta, virtual.inputs)
        return ActiveGradient(gradient, None, value)

    def run(active: tuple[int, ...]):
        return lambda factors: active_gradient(
            problem, estimator, theta, virtual, active, factors, seen
        )

    programs = [run(active) for active in estimator.active.programs(seen.layers)]
    if draw is None:
        return programs[0](None)
    if program is not None:
        return programs[program.index](draw.factors)
    return jax.lax.switch(draw.program, programs, draw.factors)


@jax.named_scope("meta_gradient")
def carry(
    problem: Problem,
    estimator: Estimator,
    theta: PyTree,
    inputs: Inputs,
    program: Program | None,
    state: MetaState,
) -> Carried | tuple[()]:
    """The direction that is carried, renewed when it is due."""
    kept = state.carried
    if not estimator.carries:
        return ()
    every = estimator.renews_every
    if not every or (program is not None and program.renews):
        return renewed(problem, estimator, theta, inputs, kept)
    if program is not None:
        return kept
    due = state.updates % every == 0
    return jax.lax.cond(due, lambda: renewed(problem, estimator, theta, inputs, kept), lambda: kept)


@jax.named_scope("meta_gradient")
def controlled(
    problem: Problem,
    estimator: Estimator,
    theta: PyTree,
    virtual: VirtualTrain,
    meta: ActiveGradient,
    program: Program | None,
    state: MetaState,
    seen: Seen,
) -> tuple[PyTree, PyTree]:
    """The meta gradient with the control variate in it, and that variate, renewed when it is due."""
    if not estimator.control_variate_every:
        return meta.theta, ()

    def exact_one() -> PyTree:
        whole = Estimator(
            AllLayers(),
            through_optimizer=estimator.through_optimizer,
            route=estimator.route,
            epsilon=estimator.epsilon,
        )
        moved = virtual
        if moved.gradient is None and not problem.method.zero_virtual_step:
            moved = moved._replace(gradient=moved.lin.vjp(moved.cotangent))
        exact = active_gradient(problem, whole, theta, moved, seen.layers.all, None, seen)
        return jax.tree.map(jnp.subtract, exact.theta, meta.theta)

    if program is not None:
        variate = exact_one() if program.renews else state.control_variate
    else:
        due = state.updates % estimator.control_variate_every == 0
        variate = jax.lax.cond(due, exact_one, lambda: state.control_variate)
    return jax.tree.map(jnp.add, meta.theta, variate), variate


def descend(
    method: Method, theta: PyTree, opt_state: PyTree, gradient: PyTree, added: PyTree | None
) -> tuple[PyTree, PyTree]:
    """θ' and its optimizer's state."""
    if added is not None:
        gradient = jax.tree.map(jnp.add, gradient, added)
    updates, opt_state = method.meta_optimizer.update(gradient, opt_state, theta)
    return optax.apply_updates(theta, updates), opt_state


@jax.named_scope("actual_step")
def actual_train(
    problem: Problem,
    estimator: Estimator,
    theta: PyTree,
    inputs: Inputs,
    training: Linearized,
    virtual: VirtualTrain,
) -> tuple[PyTree, jax.Array, jax.Array, Linearized]:
    """The actual gradient, T and the weights under θ', on the forward pass that is there."""
    if estimator.virtual_step == "actual":
        return virtual.gradient, virtual.loss, virtual.weights, training
    if problem.method.in_forward:
        training = linearize_training(problem, theta, inputs, estimator)
    cotangent, (loss, weights) = training_cotangent(problem, theta, training)
    return training.vjp(cotangent), loss, weights, training


def learn(
    kind: ActiveLayers,
    state: MetaState,
    draw: Draw | None,
    meta: ActiveGradient,
    virtual: VirtualTrain,
    actual: PyTree,
    seen: Seen,
) -> tuple[PyTree, PyTree, dict[str, jax.Array]]:
    """The active layers' own update, and their draws to come."""
    gradient = actual if virtual.gradient is None else virtual.gradient
    seen = seen._replace(gradient=gradient, added=meta.added, slopes=meta.slopes)
    if kind.reads_slopes and meta.slopes is None:  # nothing moved: judge by the actual gradient
        slopes = layer_slopes(seen.layers, seen.layers.all, actual, meta.direction)
        seen = seen._replace(slopes=slopes)
    active, reports = kind.learn(state.active, draw, seen)
    if not (kind.drawn and kind.ahead):
        return active, state.draws, reports
    update = state.updates + kind.ahead
    later = kind.draw(active, step_keys(state.key, update).draw, update, seen)
    return active, push_draw(state.draws, later), reports


def open_layers(kind: ActiveLayers, draw: Draw | None, seen: Seen) -> jax.Array:
    """How many layers are heard, float32."""
    if draw is None:
        return jnp.asarray(len(kind.programs(seen.layers)[0]), jnp.float32)
    return (draw.factors != 0).sum().astype(jnp.float32)


def step_cost(
    problem: Problem,
    estimator: Estimator,
    state: MetaState,
    draw: Draw | None,
    seen: Seen,
    n: int,
    m: int,
) -> jax.Array:
    """What this step costs in plain steps, by the layers' shares."""
    cost = jnp.asarray(seen.costs, jnp.float32)[0 if draw is None else draw.program]
    if every := estimator.renews_every or int(estimator.carries):
        renewal = renewal_cost(problem, estimator, n, m)
        cost += jnp.where(state.updates % every == 0, renewal, 0)
    return cost
