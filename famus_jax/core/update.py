"""One meta update: reweight the batch with a meta-model that has just been corrected.

Algorithm 1 of FaMUS (https://arxiv.org/abs/2104.15092), on one linearized forward pass:
virtual step, meta gradient on the active layers, θ', then the weights and the gradient of the actual
step. Everything that a user calls (the reweighter, the optax transformation, the training step) is a
thin shell around `meta_update`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from famus_jax.core import guard, stages
from famus_jax.core.checks import check_batches
from famus_jax.core.dependence import check_reached
from famus_jax.core.estimator import Estimator
from famus_jax.core.frozen import trained_inputs
from famus_jax.core.meta_gradient import linearize_training, training_cotangent
from famus_jax.core.problem import Inputs, Problem
from famus_jax.core.programs import Program
from famus_jax.core.state import MetaState, StepInfo, empty_info, loss_dtype
from famus_jax.core.unrolled import with_window
from famus_jax.differentiate import collectives
from famus_jax.layers.find import checked
from famus_jax.layers.jaxprs import Traced, trace
from famus_jax.memory import check_index, read, reading, rewritten, updated_rows

PyTree = Any


class MetaUpdate(NamedTuple):
    """The result of `meta_update`.

    Attributes:
      gradient: ∇_w T at w under the weights in `info`: the actual step's gradient; None for every
        frozen parameter.
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
    problem, inputs = trained_inputs(problem, with_window(estimator, inputs))
    check_batches(problem, inputs)
    collectives.check_axis(problem.axis, inputs.params, inputs.batch)
    if problem.method.memory is None:
        new = _step(problem, estimator, state, inputs, program)
        return _guarded(new, state, inputs.model_state)[0]
    method, memory = problem.method, state.memory
    check_index(method, inputs.batch, memory)
    problem = problem._replace(method=reading(method, memory))
    state = state._replace(memory=())  # not through the branches, where it would be copied
    new = _step(problem, estimator, state, inputs, program)
    batch = collectives.gather(inputs.batch, problem.axis)
    before = read(method, memory, batch)
    after = updated_rows(method, before, new.outputs, batch)
    new, fine = _guarded(new, state, inputs.model_state, guard.stays_finite(after, before))
    memory = rewritten(method, memory, batch, after, fine)
    return new._replace(state=new.state._replace(memory=memory))


def _step(
    problem: Problem,
    estimator: Estimator,
    state: MetaState,
    inputs: Inputs,
    program: Program | None,
) -> MetaUpdate:
    """A step with or without a meta update, whichever is due."""
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


def _guarded(
    new: MetaUpdate, state: MetaState, model_state: PyTree, remembers: jax.Array | None = None
) -> tuple[MetaUpdate, jax.Array]:
    """Without a trace of the step, but for the count, if its numbers are not finite; and whether they
    are. `remembers`: whether those are that the memory would keep. The gradient is left as it is: what
    becomes of the parameters is the optimizer's to say (`apply_if_finite`)."""
    info = new.info
    learned = ("theta", "opt_state", "active", "draws", "control_variate", "carried")
    after, before = ([getattr(s, name) for name in learned] for s in (new.state, state))
    fine = (
        jnp.isfinite(info.loss) & jnp.isfinite(info.meta_loss) & guard.stays_finite(after, before)
    )
    if remembers is not None:
        fine &= remembers
    alike = jax.tree.structure(new.model_state) == jax.tree.structure(model_state)
    if alike:
        fine &= guard.stays_finite(new.model_state, model_state)
        model_state = guard.keep(fine, new.model_state, model_state)
    new = new._replace(
        state=guard.keep_state(fine, new.state, state),
        model_state=model_state if alike else new.model_state,
    )
    return new, fine


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
    seen = stages.seen_before(problem, estimator, inputs, *sizes)
    theta, opt_state = stages.begin(problem, state, sizes[0])

    training = linearize_training(problem, theta, inputs, estimator, forward)
    if problem.axis is None:  # else T is of all devices' outputs, which are not there yet
        programs = kind.programs(seen.layers)
        check_reached(
            seen.layers, programs, forward, _loss_at(problem, theta), inputs.batch, "loss"
        )
    virtual = stages.virtual_train(problem, estimator, state, theta, inputs, training, n)  # Eq. 3
    draw = stages.draw_layers(estimator, state, seen._replace(gradient=virtual.gradient))  # §4.2
    carried = stages.carry(problem, estimator, theta, inputs, program, state)
    meta = stages.meta_train(  # Eq. 4, 9
        problem, estimator, theta, virtual, draw, program, carried, seen
    )
    gradient, variate = stages.controlled(
        problem, estimator, theta, virtual, meta, program, state, seen
    )
    new_theta, opt_state = stages.descend(method, theta, opt_state, gradient, meta.added)  # Eq. 12
    actual, loss, weights, training = stages.actual_train(  # Eq. 5
        problem, estimator, new_theta, inputs, training, virtual
    )
    active, draws, reports = stages.learn(kind, state, draw, meta, virtual, actual, seen)  # §4.2

    info = empty_info(estimator, loss_dtype(inputs.params))._replace(
        weights=_wide(weights),
        theta_norm=optax.tree.norm(gradient).astype(jnp.float32),
        open_layers=stages.open_layers(kind, draw, seen),
        updated=jnp.ones((), jnp.float32),
        cost=stages.step_cost(problem, estimator, state, draw, seen, *sizes),
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
        skipped=state.skipped,
        carried=carried,
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


def _loss_at(problem: Problem, theta: PyTree) -> Callable[[PyTree, PyTree], jax.Array]:
    return lambda outputs, batch: problem.method.loss(theta, outputs, batch)[0]


def _wide(x: jax.Array) -> jax.Array:
    """In float32 or wider: one type, whatever the network computes in."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _mean(losses: jax.Array) -> tuple[jax.Array, jax.Array]:
    return losses.mean(), jnp.full_like(losses, 1 / losses.shape[0])
