"""Optimizers that are more than a gradient's function: a pair of parameters, the loss's value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.problem import Inputs, Problem
from famus_jax.core.update import MetaUpdate

PyTree = Any


def check_pair(opt_state: PyTree, params: PyTree) -> None:
    """Raises `ValueError` unless the parameters are a pair where `optax.lookahead` steps, and only
    there: without it the slow ones would never move."""
    pair, wanted = isinstance(params, optax.LookaheadParams), _looks_ahead(opt_state)
    if wanted and not pair:
        raise ValueError(
            "optax.lookahead steps a pair of parameters: pass params="
            "optax.LookaheadParams.init_synced(params), and let forward read params.fast"
        )
    if pair and not wanted:
        raise ValueError(
            "params are an optax.LookaheadParams, whose slow half only optax.lookahead moves: pass "
            "params.fast, or optimizer=optax.lookahead(...)"
        )


def gradient_for(opt_state: PyTree, gradient: PyTree) -> PyTree:
    """What the optimizer takes of a gradient: `optax.lookahead` the fast parameters' alone."""
    return gradient.fast if _looks_ahead(opt_state) else gradient


def virtual_update(
    optimizer: optax.GradientTransformationExtraArgs, opt_state: PyTree, params: PyTree
) -> Callable[[PyTree], PyTree]:
    """`gradient -> updates`, for a virtual step through the optimizer; raises as
    `virtual_optimizer`'s."""
    update = virtual_optimizer(optimizer)
    return lambda gradient: update(gradient, opt_state, params)[0]


def virtual_optimizer(
    optimizer: optax.GradientTransformationExtraArgs,
) -> Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]:
    """`(gradient, opt_state, params) -> (updates, opt_state)`, for virtual steps.

    The function raises `ValueError` for an optimizer that reads the loss: how its step depends on the
    gradient through the loss, or through a search along a line, is not known.
    """

    def update(gradient: PyTree, opt_state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        try:
            return optimizer.update(gradient_for(opt_state, gradient), opt_state, params)
        except TypeError as error:
            if "required keyword-only argument" not in str(error):
                raise
            reads = str(error).rpartition(":")[2].strip()
            raise ValueError(
                "through_optimizer=True takes the virtual step through the optimizer as a function of "
                f"the gradient alone, but this one reads the loss ({reads}): use "
                "through_optimizer=False, a virtual step by SGD"
            ) from error

    return update


def loss_for_optimizer(
    problem: Problem, inputs: Inputs, new: MetaUpdate, opt_state: PyTree
) -> dict[str, Any]:
    """What optimizers that read the loss ask for: `polyak_sgd`, `reduce_on_plateau`, `lbfgs`."""
    given = {"value": new.info.loss, "grad": gradient_for(opt_state, new.gradient)}
    method = problem.method
    if not method.reweights or method.in_forward or problem.axis is not None:
        return given

    def value_fn(params: PyTree) -> jax.Array:
        """T under the weights of this step."""
        outputs, _ = problem.forward(params, *inputs[1:4])
        losses = method.example_loss(outputs, inputs.batch)
        return jnp.vdot(new.info.weights.astype(losses.dtype), losses)

    return {**given, "value_fn": value_fn}


def _looks_ahead(opt_state: PyTree) -> bool:
    def is_pair(x: Any) -> bool:
        return isinstance(x, optax.LookaheadState)

    return any(map(is_pair, jax.tree.leaves(opt_state, is_leaf=is_pair)))
