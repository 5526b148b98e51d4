"""Refuse what can't work, when traced, before any long work starts: each message names the value
that is wrong and the way out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.core.data_parallel import count
from famus_jax.core.estimators import Estimator
from famus_jax.core.gates import LearnedGates
from famus_jax.core.groups import path_name
from famus_jax.core.objective import Objective
from famus_jax.core.problem import Point, Problem
from famus_jax.core.variants import cut_costs

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
        if not isinstance(leaf, float) and id(leaf) in seen:
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
    if point.meta_batch is not None:
        return n, leading_size(point.meta_batch, "meta batch")
    if problem.objective.learns:
        raise ValueError(
            f"{problem.objective.name} learns from trusted examples, but meta_batch is None: pass "
            "meta_batch=..., a batch like the training batch with labels that you trust"
        )
    return n, 0


def check_kinds(objective: Any, estimator: Any) -> None:
    """A method and an estimator must be what the functions of this library return.

    Raises:
      ValueError: for a name, or a function that was not called.
    """
    if not isinstance(objective, Objective):
        raise ValueError(
            f"objective must be an Objective, such as famus_jax.mwnet() or famus_jax.l2r(); got "
            f"{objective!r}"
        )
    if not isinstance(estimator, Estimator):
        raise ValueError(
            "estimator must be an Estimator, such as famus_jax.exact() or "
            f'famus_jax.top_k(1, lookahead="active_only"); got {estimator!r}'
        )


def part_size(estimator: Estimator, n: int, axis: str | None = None) -> int:
    """How many examples the meta gradient is taken on, of a batch of n.

    With an `axis`, of n examples on each device.

    Raises:
      ValueError: if the whole batch's part can't be divided evenly among the devices.
    """
    devices = count(axis)
    size = max(1, math.ceil(estimator.part * n * devices - 1e-9))
    if size % devices:
        raise ValueError(
            f"part={estimator.part} of a batch of {n * devices} is {size} examples, which {devices} "
            f"devices can't share evenly: use a part of {-(-size // devices) / n:g}"
        )
    return size // devices


def part_rows(n: int, size: int) -> list[int]:
    """Which examples those are: `size` of n, evenly spaced."""
    return [i * n // size for i in range(size)]


def check_estimator(
    problem: Problem, estimator: Estimator, rho: float = 1.0, n: int | None = None
) -> None:
    """The estimator must fit the network and the method.

    Args:
      problem, estimator: see there.
      rho: ρ, meta batch over training batch size.
      n: the training batch size, if known.

    Raises:
      ValueError: for groups that are not there, or a pairing that has no meaning.
    """
    objective, active = problem.objective, estimator.active
    check_identity(problem, estimator)
    costs = cut_costs(problem, estimator, rho)  # looks the groups up
    if isinstance(active, LearnedGates):
        active.check_budget(costs)
        if objective.stationary and active.lag == 0:
            raise ValueError(
                f"{objective.name} takes no virtual step, so gates can't be drawn from its gradient: "
                "use learned_gates(..., lag=1) or more, which draws them from the last actual step"
            )
    if objective.stationary and not objective.fresh:
        raise ValueError(
            f"objective {objective.name!r} says that its virtual step does not move (stationary) but "
            "carries θ along (fresh=False), after which it would: set fresh=True or stationary=False"
        )
    if objective.fresh and estimator.lookahead == "one_pass":
        raise ValueError(
            f"{objective.name} weighs each batch by a θ of its own, so a one-pass update would come "
            'a batch too late: use lookahead="full", which costs no virtual backward pass here'
        )
    if objective.fresh and objective.per_example and estimator.part < 1:
        raise ValueError(
            f"{objective.name} learns one weight per example, so part={estimator.part} would leave the "
            "other examples without: use part=1"
        )
    if objective.fresh and estimator.correct_every:
        raise ValueError(
            f"{objective.name} starts θ anew for every batch, so a correction from an earlier batch "
            "means nothing to it: use correct_every=0, or random_depth()"
        )
    if n is not None and n % problem.micro_batches:
        raise ValueError(f"micro_batches={problem.micro_batches} must divide the batch size {n}")
    if n is not None and part_size(estimator, n) % problem.micro_batches:
        raise ValueError(
            f"micro_batches={problem.micro_batches} must divide the part of the batch that the meta "
            f"gradient is taken on, {part_size(estimator, n)} examples"
        )


def check_identity(problem: Problem, estimator: Estimator) -> None:
    """The cheap routes rest on θ acting on the outputs only; `second_order` covers the rest.

    Raises:
      ValueError: if θ acts inside the forward pass and another route is asked for; if the meta batch
        has no forward of its own then; or for second order in micro-batches.
    """
    objective = problem.objective
    if problem.micro_batches < 1:
        raise ValueError(f"micro_batches must be at least 1; got {problem.micro_batches}")
    if estimator.route == "second_order" and problem.micro_batches > 1:
        raise ValueError(
            f"second order keeps the whole batch's passes: micro_batches={problem.micro_batches} would "
            "spare nothing. Use exact(), which is the same number"
        )
    if not objective.in_forward:
        return
    if estimator.route != "second_order":
        raise ValueError(
            f"{objective.name} lets θ act inside the forward pass (in_forward=True). This estimator "
            "(route={0!r}) rests on all of θ's influence coming after the outputs, and would drop the "
            "rest: use second_order()".format(estimator.route)
        )
    if objective.fresh:
        raise ValueError(
            f"{objective.name} lets θ act inside the forward pass and starts it anew for every batch, "
            "which is not covered: carry θ along (fresh=False)"
        )
    if estimator.lookahead == "one_pass" or estimator.part < 1 or problem.meta_forward is None:
        raise ValueError(
            f"{objective.name} lets θ act inside the forward pass: give meta_forward, a forward of the "
            'meta batch without θ, and use second_order() with lookahead="full" on the whole batch'
        )


def check_forward(problem: Problem, theta: PyTree, point: Point) -> None:
    """θ may reach L_val only through the objective: the identity behind the cheap routes needs it.

    Looks for θ, or a value computed from it, among the constants that the traced forward passes and
    the meta loss close over. Parameters, model state and batches count as given: a meta gradient
    is taken at fixed w.

    Raises:
      ValueError: if it is there; or if forward or a loss returns something of another shape than
        it should.
    """
    leaves = {id(leaf) for leaf in jax.tree.leaves(theta)}
    if not leaves or problem.objective.in_forward:
        return

    def training_pass(params: PyTree) -> jax.Array:
        forward = problem.forward_under(theta)
        result = forward(params, point.model_state, point.rng, point.batch)
        if not isinstance(result, tuple) or len(result) != 2:
            raise ValueError(
                "forward must return (outputs, model_state), with () for no state; got "
                f"{type(result).__name__}: famus_jax.stateless_forward adapts a plain function"
            )
        losses = problem.objective.example_loss(result[0], point.batch)
        n = leading_size(point.batch, "training batch")
        if jnp.shape(losses) != (n,):
            raise ValueError(
                f"example_loss must return one number per example, shape ({n},); got "
                f"{jnp.shape(losses)}: take the mean over the other axes"
            )
        return losses

    def meta_pass(params: PyTree) -> jax.Array:
        forward = problem.meta_forward or problem.forward
        outputs, _ = forward(params, point.model_state, point.rng, point.meta_batch)
        value = problem.meta_loss(outputs, point.meta_batch)
        if jnp.shape(value):
            raise ValueError(
                f"meta_loss must return a scalar; got shape {jnp.shape(value)}: take its mean"
            )
        return value

    for function in (training_pass, meta_pass):
        constants = _constants(jax.make_jaxpr(function)(point.params))
        if any(id(value) in leaves for const in constants for value in _ancestors(const)):
            raise ValueError(
                "forward closes over the meta-parameters θ (or meta_loss does, or over a value "
                "computed from them): a meta gradient that reaches the network other than through "
                "objective.loss is not what these estimators compute, and it would silently be "
                "dropped. Let θ act in objective.loss, on the outputs; or, if it must act inside the "
                "forward pass, let forward take it as a fifth argument, set in_forward=True on the "
                "objective and use second_order()"
            )


def _constants(closed: Any) -> Iterator[Any]:
    """The constants of a closed jaxpr, those of compiled functions inside it included."""
    yield from closed.consts
    for eqn in closed.jaxpr.eqns:
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if hasattr(inner, "consts") and hasattr(inner, "jaxpr"):
                    yield from _constants(inner)


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
