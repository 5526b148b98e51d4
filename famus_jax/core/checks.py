"""Refuse what can't work, when traced, before any long work starts: each message names the value
that is wrong and the way out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.core.estimators import Estimator
from famus_jax.core.gates import LearnedGates
from famus_jax.core.groups import path_name
from famus_jax.core.problem import Point, Problem

PyTree = Any


def check_params(params: PyTree) -> None:
    """Parameters must be floating-point arrays, each leaf its own array.

    Raises:
      ValueError: for integer, boolean or PRNG-key leaves, or one array used for two leaves.
    """
    seen: dict[int, str] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name, dtype = path_name(path), jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(
                f"parameter {name!r} has dtype {dtype}, which has no gradient: keep counters and "
                "PRNG keys in model_state, and pass only floating-point leaves as params"
            )
        if isinstance(leaf, jax.Array) and id(leaf) in seen:
            raise ValueError(
                f"parameters {seen[id(leaf)]!r} and {name!r} are the same array: keep one leaf and "
                "use it twice in forward (a shared leaf would be updated as two)"
            )
        seen[id(leaf)] = name


def leading_size(batch: PyTree, what: str) -> int:
    """The size n that all arrays of a batch lead with.

    Raises:
      ValueError: if there is no array, n is 0, or two arrays disagree.
    """
    sizes = {
        path_name(path): jnp.shape(leaf)[0]
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch)
        if jnp.ndim(leaf)
    }
    if not sizes:
        raise ValueError(f"the {what} has no array with a leading batch axis: {batch!r}")
    if len(set(sizes.values())) > 1:
        raise ValueError(f"the arrays of the {what} must share their leading size; got {sizes}")
    size = next(iter(sizes.values()))
    if not size:
        raise ValueError(f"the {what} is empty (leading size 0): it needs at least one example")
    return size


def check_batches(problem: Problem, point: Point) -> tuple[int, int]:
    """The sizes n and m of the training and the meta batch.

    Raises:
      ValueError: see `leading_size`; or if the parameters are not those the groups were made for.
    """
    problem.groups.leaves(point.params)
    n = leading_size(point.batch, "training batch")
    m = leading_size(point.meta_batch, "meta batch") if point.meta_batch is not None else 0
    return n, m


def check_estimator(problem: Problem, estimator: Estimator) -> None:
    """The estimator must fit the network and the method.

    Raises:
      ValueError: for groups that are not there, or a pairing that has no meaning.
    """
    objective, active = problem.objective, estimator.active
    if isinstance(active, LearnedGates):
        active.cuts(problem.groups)
        if objective.stationary and active.lag == 0:
            raise ValueError(
                f"{objective.name} takes no virtual step, so gates can't be drawn from its gradient: "
                "use learned_gates(..., lag=1) or more, which draws them from the last actual step"
            )
    else:
        active.groups(problem.groups)
    if objective.fresh and estimator.lookahead == "one_pass":
        raise ValueError(
            f"{objective.name} weighs each batch by a θ of its own, so a one-pass update would come "
            'a batch too late: use lookahead="full", which costs no virtual backward pass here'
        )


def check_forward(problem: Problem, theta: PyTree, point: Point) -> None:
    """θ may reach the loss only through the objective: the identity behind the cheap routes needs it.

    Looks for θ, or a value computed from it, among the constants that the traced forward pass
    closes over.

    Raises:
      ValueError: if it is there.
    """
    leaves = {id(leaf) for leaf in jax.tree.leaves(theta)}
    if not leaves:
        return
    args = (point.params, point.model_state, point.rng, point.batch)
    constants = jax.make_jaxpr(problem.forward)(*args).consts
    if any(id(value) in leaves for const in constants for value in _ancestors(const)):
        raise ValueError(
            "forward closes over the meta-parameters θ (or a value computed from them): a meta "
            "gradient that reaches the network inside its forward pass is not what these "
            "estimators compute, and it would silently be dropped. Let θ act in objective.loss, on "
            "the outputs; or write the look-ahead loss yourself and take jax.grad of it"
        )


def _ancestors(value: Any) -> Iterator[Any]:
    """A traced value and all it was computed from, as far as the trace tells."""
    stack, seen = [value], set()
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        parent = getattr(value, "parent", None)
        stack.extend(getattr(parent, "in_tracers", ()) or ())
