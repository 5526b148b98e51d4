"""The border at which frozen parameters leave: behind it the trained ones are all there are.

Symbols: w = (u, z), the trained and the frozen parameters; f(w) = the network.

Everything that differentiates, moves or copies parameters sees u, and a forward pass u ↦ f(u, z) that
holds z as it holds any constant. So no estimator knows of it; what is not there is neither
differentiated nor looked ahead, and no tree of directions, averages or moments has a place for it.
"""

from __future__ import annotations

from typing import Any

from famus_jax.core.problem import Inputs, Problem
from famus_jax.core.trainable import Split, split_of
from famus_jax.differentiate.linearize import Forward

PyTree = Any


def trained(problem: Problem, params: PyTree) -> tuple[Problem, PyTree, Split]:
    """The same problem about the trained parameters alone.

    Args:
      problem: what is learned.
      params: w, arrays.

    Returns:
      The problem, whose forward passes hold the frozen parameters; u, a tree like `params` with None
      for every frozen leaf; and the `Split` that puts both together. Without
      `problem(..., trainable=)`, problem and parameters as they were.

    Raises:
      ValueError: see `split_of`.
    """
    split = split_of(problem.trainable, params)
    if problem.trainable is None:
        return problem, params, split
    frozen = split.frozen(params)
    layers = problem.layers
    if layers is not None and layers.treedef == split.treedef:
        layers = layers.only(split.flags)
    meta_forward = problem.meta_forward
    problem = problem._replace(
        trainable=None,
        forward=_holding(problem.forward, split, frozen),
        meta_forward=None if meta_forward is None else _holding(meta_forward, split, frozen),
        layers=layers,
    )
    return problem, split.trained(params), split


def trained_inputs(problem: Problem, inputs: Inputs) -> tuple[Problem, Inputs]:
    """As `trained`, of all that a meta gradient is taken at; `inputs.optimizer_update` and
    `inputs.optimizer` take and return trees of all parameters, so they are given 0 for the frozen
    ones."""
    if problem.trainable is None:
        return problem, inputs
    whole, update, optimizer = inputs.params, inputs.optimizer_update, inputs.optimizer
    problem, params, split = trained(problem, whole)
    if update is not None:
        inputs = inputs._replace(
            optimizer_update=lambda g: split.trained(update(split.whole_gradient(g, whole)))
        )
    if optimizer is not None:
        frozen = split.frozen(whole)

        def step(g: PyTree, opt_state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
            g, params = split.whole_gradient(g, whole), split.whole(params, frozen)
            updates, opt_state = optimizer[0](g, opt_state, params)
            return split.trained(updates), opt_state

        inputs = inputs._replace(optimizer=(step, optimizer[1]))
    return problem, inputs._replace(params=params)


def _holding(forward: Forward, split: Split, frozen: tuple[Any, ...]) -> Forward:
    def whole(params: PyTree, *others: Any) -> tuple[PyTree, PyTree]:
        return forward(split.whole(params, frozen), *others)

    return whole
