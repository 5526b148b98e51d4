"""One meta update: reweight the batch with a meta-model that has just been corrected.

Algorithm 1 of FaMUS (https://arxiv.org/abs/2104.15092), on one linearized forward pass:
virtual step, meta gradient on the active layers, θ', then the weights and the gradient of the actual
step. Everything that a user calls (the reweighter, the optax transformation, the training step) is a
thin shell around `meta_update`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
from famus_jax.core.checks import check_batches, check_uncoupled, checked, examples_heard
from famus_jax.core.cost import control_variate_cost, program_costs
from famus_jax.core.estimator import Estimator
from famus_jax.core.meta_gradient import linearize_training, training_cotangent
from famus_jax.core.method import Method
from famus_jax.core.problem import PART, Inputs, Problem
from famus_jax.core.programs import Program
from famus_jax.core.state import (
    MetaState,
    StepInfo,
    empty_info,
    loss_dtype,
    push_draw,
    step_keys,
)
from famus_jax.differentiate import collectives
from famus_jax.differentiate.linearize import Linearized
from famus_jax.layers.jaxprs import Traced, trace

PyTree = Any


class MetaUpdate(NamedTuple):
    """The result of `meta_update`.

    Attributes:
      gradient: ∇_w T at w under the weights in `info`: the actual step's gradient.
      state: the new `MetaState`.
      model_state: the model state after the training batch's forward pass.
      outputs: the network's outputs on the training batch, that of all devices.
      info: `StepInfo`, with the weights.
    """

    gradient: PyTree
    state: MetaState
    model_state: PyTree
    outputs: PyTree
    info: StepInfo


def meta_update(
    problem: Problem,
    estimator: Estimator,
    state: MetaState,
    inputs: Inputs,
    *,
    program: Program | None = None,
) -> MetaUpdate:
    """One update of the meta-model, and the gradient of the actual step under it.

    In a step without a meta update (`Estimator.update_every`) the batch is reweighted with θ as it is;
    by a method whose θ lives one batch (L2R), which has none then, with equal weights.

    Args:
      problem: what is learned; its layers are found if they are not given.
      estimator: how the meta gradient is estimated.
      state: from `init` of one of the three uses, or the last update.
      inputs: parameters, batches and α; see `Inputs`.
      program: which compiled program, so that it has no branches; it must be the one that the state
        calls for (`programs.upcoming`). None leaves the choice to `lax.cond` and `lax.switch`.

    Returns:
      A `MetaUpdate`. Compile the call (`jax.jit`): what is not used of it is then never computed.
      With `problem.axis` the batches are this device's share; all results are those of all devices',
      alike on each.

    Raises:
      ValueError: when traced, for inputs that can't work; the message names the value and the fix.

    Example:
      >>> import famus_jax as famus
      >>> problem = famus.problem(famus.stateless_forward(lambda w, x: x @ w, input="x"), famus.l2r())
      >>> w = jnp.zeros((2, 2))
      >>> trusted = {"x": jnp.eye(2), "label": jnp.array([0, 1])}
      >>> batch = {"x": jnp.eye(2), "label": jnp.array([0, 0])}  # the second label is wrong
      >>> reweighter = famus.reweighter(problem, step_size=0.1)
      >>> state = reweighter.init(jax.random.key(0), w, (), batch, trusted)
      >>> inputs = famus.Inputs(w, (), None, batch, trusted, step_size=0.1)
      >>> meta_update(problem, famus.all_layers(), state, inputs).info.weights.tolist()
      [1.0, 0.0]
    """
    check_batches(problem, inputs)
    collectives.check_axis(problem.axis, inputs.params, inputs.batch)
    forward = trace(checked(problem.forward_under(state.theta)), *inputs[:4])
    if problem.layers is None:
        by = estimator.active.layers_by
        problem = problem.on(*inputs[:4], by=by, traced=forward)
    if not problem.method.has_theta or (program is not None and not program.meta):
        return _plain_step(problem, estimator, state, inputs, forward)
    if program is not None or estimator.update_every == 1:
        return _algorithm_1(problem, estimator, state, inputs, forward, program)
    return jax.lax.cond(
        state.step % estimator.update_every == 0,
        lambda: _algorithm_1(problem, estimator, state, inputs, forward, program),
        lambda: _plain_step(problem, estimator, state, inputs, forward),
    )


def _algorithm_1(
    problem: Problem,
    estimator: Estimator,
    state: MetaState,
    inputs: Inputs,
    forward: Traced,
    program: Program | None,
) -> MetaUpdate:
    """A step with a meta update, in the paper's order."""
    method, kind = problem.method, estimator.active
    n, m = check_batches(problem, inputs)
    devices = collectives.device_count(problem.axis)
    sizes = n * devices, m * devices  # of the whole batches, as `Estimator.examples` is
    seen = _seen(problem, estimator, inputs, *sizes)
    theta, opt_state = _begin(problem, state, sizes[0])

    training = linearize_training(problem, theta, inputs, estimator, forward)
    virtual = _virtual_train(problem, estimator, theta, inputs, training, n)  # Eq. 3
    draw = _draw(estimator, state, seen._replace(gradient=virtual.gradient))  # §4.2
    meta = _meta_train(problem, estimator, theta, virtual, draw, program, seen)  # Eq. 4, 9
    gradient, variate = _controlled(problem, estimator, theta, virtual, meta, program, state, seen)
    new_theta, opt_state = _descend(method, theta, opt_state, gradient, meta.added)  # Eq. 12
    actual, loss, weights, training = _actual_train(  # Eq. 5
        problem, estimator, new_theta, inputs, training, virtual
    )
    active, draws, reports = _learn(kind, state, draw, meta, virtual, actual, seen)  # §4.2

    info = empty_info(estimator, loss_dtype(inputs.params))._replace(
        weights=_wide(weights),
        theta_norm=optax.tree.norm(gradient).astype(jnp.float32),
        open_layers=_open_layers(kind, draw, seen),
        updated=jnp.ones((), jnp.float32),
        cost=_cost(problem, estimator, state, draw, seen, *sizes),
        active=reports,
    )
    info = info._replace(
        loss=loss.astype(info.loss.dtype),
        meta_loss=meta.meta_loss.astype(info.loss.dtype),
        program=info.program if draw is None else draw.program,
    )
    new_state = MetaState(
        step=state.step + 1,
        updates=state.updates + 1,
        key=state.key,
        theta=() if method.reset_each_batch else new_theta,
        opt_state=() if method.reset_each_batch else opt_state,
        active=active,
        draws=draws,
        control_variate=variate,
        info=info._replace(weights=()),
    )
    return MetaUpdate(actual, new_state, training.model_state, training.outputs, info)


def _plain_step(
    problem: Problem, estimator: Estimator, state: MetaState, inputs: Inputs, forward: Traced
) -> MetaUpdate:
    """A step without a meta update."""
    method = problem.method
    if method.reset_each_batch:  # no θ outlives its batch: weight all alike
        example_loss = method.example_loss
        problem = problem._replace(
            method=method._replace(loss=lambda theta, *args: _mean(example_loss(*args)))
        )
    training = linearize_training(problem, state.theta, inputs, estimator, forward)
    cotangent, (loss, weights) = training_cotangent(problem, state.theta, training)
    info = empty_info(estimator, loss_dtype(inputs.params))
    info = info._replace(
        weights=_wide(weights),
        loss=loss.astype(info.loss.dtype),
        cost=jnp.ones((), jnp.float32),
    )
    state = state._replace(step=state.step + 1, info=info._replace(weights=()))
    gradient = training.vjp(cotangent)
    return MetaUpdate(gradient, state, training.model_state, training.outputs, info)


def _seen(problem: Problem, estimator: Estimator, inputs: Inputs, n: int, m: int) -> Seen:
    """What is known before the step."""
    layers = problem.layers
    assert layers is not None
    some = estimator.active.drawn or estimator.active.programs(layers) != (layers.all,)
    if some and estimator.through_optimizer and inputs.optimizer_update is not None:
        check_uncoupled(inputs.optimizer_update, inputs.params, layers)
    return Seen(layers, program_costs(problem, estimator, n, m), inputs.step_size)


def _begin(problem: Problem, state: MetaState, n: int) -> tuple[PyTree, PyTree]:
    """θ and its optimizer's state at the start of this batch."""
    method = problem.method
    if not method.reset_each_batch:
        return state.theta, state.opt_state
    key = step_keys(state.key, state.step).theta
    theta = method.init(key, n)
    return theta, method.meta_optimizer.init(theta)


def _virtual_train(
    problem: Problem,
    estimator: Estimator,
    theta: PyTree,
    inputs: Inputs,
    training: Linearized,
    n: int,
) -> VirtualTrain:
    """The examples that are heard, T at θ, and the gradient where every layer steps."""
    size = examples_heard(estimator, n, problem.axis)
    if size < n:
        batch = jax.tree.map(lambda x: _spaced(x, n, size), inputs.batch)
        inputs = inputs._replace(batch=batch, rng=inputs.derived_rng(PART))
        training = linearize_training(problem, theta, inputs, estimator)
    cotangent, (loss, weights) = training_cotangent(problem, theta, training)
    gradient = None
    if estimator.virtual_step != "active" and not problem.method.zero_virtual_step:
        gradient = training.vjp(cotangent)
    return VirtualTrain(
        inputs=inputs,
        lin=training,
        cotangent=cotangent,
        loss=loss,
        weights=weights,
        gradient=gradient,
    )


def _spaced(x: Any, n: int, size: int) -> Any:
    """`size` of an array's n rows, evenly spaced, so that a batch that is spread over devices leaves
    each of them an equal part: leading examples would all lie on the first ones."""
    if not jnp.ndim(x) or jnp.shape(x)[0] != n:
        return x
    if n % size == 0:  # as a reshape, which moves nothing between devices
        return jnp.reshape(x, (size, n // size, *jnp.shape(x)[1:]))[:, 0]
    return jnp.asarray(x)[jnp.asarray(spaced_rows(n, size))]


def spaced_rows(n: int, size: int) -> list[int]:
    """`size` of n rows, evenly spaced."""
    return [i * n // size for i in range(size)]


def _draw(estimator: Estimator, state: MetaState, seen: Seen) -> Draw | None:
    """The layers in force; None where they are fixed."""
    kind = estimator.active
    if not kind.drawn:
        return None
    if kind.ahead:
        return jax.tree.map(lambda queue: queue[0], state.draws)
    key = step_keys(state.key, state.updates).draw
    return kind.draw(state.active, key, state.updates, seen)


def _meta_train(
    problem: Problem,
    estimator: Estimator,
    theta: PyTree,
    virtual: VirtualTrain,
    draw: Draw | None,
    program: Program | None,
    seen: Seen,
) -> ActiveGradient:
    """The active layers' meta gradient, by the program that covers them."""

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


def _controlled(
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

    def renewed() -> PyTree:
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
        variate = renewed() if program.control_variate else state.control_variate
    else:
        due = state.updates % estimator.control_variate_every == 0
        variate = jax.lax.cond(due, renewed, lambda: state.control_variate)
    return jax.tree.map(jnp.add, meta.theta, variate), variate


def _descend(
    method: Method, theta: PyTree, opt_state: PyTree, gradient: PyTree, added: PyTree | None
) -> tuple[PyTree, PyTree]:
    """θ' and its optimizer's state."""
    if added is not None:
        gradient = jax.tree.map(jnp.add, gradient, added)
    updates, opt_state = method.meta_optimizer.update(gradient, opt_state, theta)
    return optax.apply_updates(theta, updates), opt_state


def _actual_train(
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


def _learn(
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


def _open_layers(kind, draw: Draw | None, seen: Seen) -> jax.Array:
    if draw is None:
        return jnp.asarray(len(kind.programs(seen.layers)[0]), jnp.float32)
    return (draw.factors != 0).sum().astype(jnp.float32)


def _cost(problem, estimator, state, draw, seen, n, m) -> jax.Array:
    cost = jnp.asarray(seen.costs, jnp.float32)[0 if draw is None else draw.program]
    if every := estimator.control_variate_every:
        variate = control_variate_cost(problem, estimator, n, m)
        cost += jnp.where(state.updates % every == 0, variate, 0)
    return cost


def _wide(x: jax.Array) -> jax.Array:
    """In float32 or wider: one type, whatever the network computes in."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _mean(losses: jax.Array) -> tuple[jax.Array, jax.Array]:
    return losses.mean(), jnp.full_like(losses, 1 / losses.shape[0])
