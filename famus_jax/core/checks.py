"""Refuse what can't work, when traced, before any long work starts: each message names the value
that is wrong and the way out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import core

from famus_jax.core.active_layers import Seen
from famus_jax.core.batches import check_values, leading_size
from famus_jax.core.estimator import Estimator
from famus_jax.core.problem import Inputs, Problem
from famus_jax.differentiate.collectives import device_count
from famus_jax.layers.partition import check_arrays, path_name

PyTree = Any


def check_params(params: PyTree) -> None:
    """Parameters must be floating-point arrays. Two leaves that are one array are two parameters that
    start alike.

    Raises:
      ValueError: for leaves that are no arrays, and for integer, boolean or PRNG-key ones.
    """
    check_arrays(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name, dtype = path_name(path), jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(
                f"parameter {name!r} has dtype {dtype}, which has no gradient: keep counters and "
                "PRNG keys in model_state, and pass only floating-point leaves as params"
            )


def is_known(x: Any) -> bool:
    """Whether an array's values can be looked at: not while a program is traced, nor if it is but a
    shape or lies on other processes' devices."""
    known = not isinstance(x, core.Tracer | jax.ShapeDtypeStruct)
    return known and getattr(x, "is_fully_addressable", True)


def check_batches(problem: Problem, inputs: Inputs) -> tuple[int, int]:
    """The sizes n and m of the training and the meta batch, on this device.

    Raises:
      ValueError: see `leading_size` and `check_values`; or if the parameters are no arrays, or not
        those the layers were found for.
    """
    check_arrays(inputs.params)
    if problem.layers is not None:
        problem.layers.leaves(inputs.params)
    n = leading_size(inputs.batch, "training batch")
    check_values(inputs.batch, "training batch")
    if inputs.meta_batch is not None:
        m = leading_size(inputs.meta_batch, "meta batch")
        check_values(inputs.meta_batch, "meta batch")
        return n, m
    if problem.method.has_theta:
        raise ValueError(
            f"{problem.method.name} learns from trusted examples, but meta_batch is None: pass "
            "meta_batch=..., a batch like the training batch with labels that you trust"
        )
    return n, 0


def check_is_estimator(estimator: Any) -> None:
    """Raises `ValueError` for a name, or a function that was not called."""
    if not isinstance(estimator, Estimator):
        raise ValueError(
            "estimator must be an Estimator, such as famus_jax.all_layers(examples=8) or, for l2r, "
            f'famus_jax.last_layers(1, virtual_step="active"); got {estimator!r}. Leave it out for the '
            "default"
        )


def examples_heard(estimator: Estimator, n: int, axis: str | None = None) -> int:
    """How many examples the meta gradient is taken on, of a batch of n.

    With an `axis`, of n examples on each device.

    Raises:
      ValueError: if they can't be divided evenly among the devices.
    """
    devices = device_count(axis)
    if estimator.examples is None or estimator.examples >= n * devices:
        return n
    if estimator.examples % devices:
        raise ValueError(
            f"examples={estimator.examples} can't be shared evenly by {devices} devices: use "
            f"examples={-(-estimator.examples // devices) * devices}"
        )
    return estimator.examples // devices


def check_estimator(
    problem: Problem, estimator: Estimator, seen: Seen | None, n: int | None = None
) -> None:
    """The estimator must fit the network and the method.

    Args:
      problem, estimator: see there.
      seen: layers and costs; None where they are not known yet.
      n: the training batch size, if known.

    Raises:
      ValueError: for layers that are not there, or a pairing that has no meaning.
    """
    method, active = problem.method, estimator.active
    check_identity(problem, estimator)
    if seen is not None:
        active.programs(seen.layers)  # looks them up
        active.check(seen)
    if (
        seen is not None
        and estimator.control_variate_every
        and active.programs(seen.layers) == (seen.layers.all,)
    ):
        raise ValueError(
            f"{active.label} hears every layer, which is exact already: use control_variate_every=0"
        )
    if active.reads_virtual_gradient and method.zero_virtual_step:
        raise ValueError(
            f"{method.name} takes no virtual step, so {active.label} can't draw from its gradient: use "
            "learned_gates(..., lag=1) or more, which draws them from the last actual step"
        )
    if method.zero_virtual_step and not method.reset_each_batch:
        raise ValueError(
            f"method {method.name!r} says that its virtual step does not move (zero_virtual_step) but "
            "carries θ along (reset_each_batch=False), after which it would: set "
            "reset_each_batch=True or zero_virtual_step=False"
        )
    if method.reset_each_batch and estimator.virtual_step == "actual":
        raise ValueError(
            f"{method.name} starts θ anew for every batch, so a meta update with "
            'virtual_step="actual" would come a batch too late: use virtual_step="all", which costs no '
            "virtual backward pass here"
        )
    if method.reset_each_batch and method.per_example and estimator.examples is not None:
        raise ValueError(
            f"{method.name} learns one weight per example, so examples={estimator.examples} would "
            "leave the others without: use examples=None"
        )
    if estimator.unrolls and (method.reset_each_batch or method.memory is not None):
        why = "starts θ anew for every batch" if method.reset_each_batch else "keeps a memory"
        raise ValueError(
            f"{method.name} {why}, so it can't be judged after {estimator.steps} batches "
            f'({estimator.label}): use virtual_step="all"'
        )
    if estimator.unrolls and (problem.micro_batches > 1 or problem.axis is not None):
        raise ValueError(
            f"{estimator.label} runs whole batches in one program: use micro_batches=1 and axis=None "
            "(under jax.jit the batches may be sharded along their second axis); got "
            f"micro_batches={problem.micro_batches}, axis={problem.axis!r}"
        )
    if method.reset_each_batch and estimator.control_variate_every:
        raise ValueError(
            f"{method.name} starts θ anew for every batch, so a correction from an earlier batch "
            "means nothing to it: use control_variate_every=0, or random_depth()"
        )
    if n is not None:
        for size, what in (
            (n, "the batch size"),
            (
                examples_heard(estimator, n),
                "the number of examples that the meta gradient is taken on,",
            ),
        ):
            if size % problem.micro_batches:
                raise ValueError(f"micro_batches={problem.micro_batches} must divide {what} {size}")


def check_identity(problem: Problem, estimator: Estimator) -> None:
    """The cheap routes rest on θ acting on the outputs only; `second_order` covers the rest.

    Raises:
      ValueError: if θ acts inside the forward pass and another route is asked for; if the meta batch
        has no forward of its own then; or for second order in micro-batches.
    """
    method = problem.method
    if problem.micro_batches < 1:
        raise ValueError(f"micro_batches must be at least 1; got {problem.micro_batches}")
    if estimator.route == "second_order" and problem.micro_batches > 1:
        raise ValueError(
            f"second order keeps the whole batch's passes: micro_batches={problem.micro_batches} would "
            "spare nothing. Use all_layers(), which is the same number"
        )
    if not method.in_forward:
        return
    if estimator.route != "second_order":
        raise ValueError(
            f"{method.name} lets θ act inside the forward pass (in_forward=True). This estimator "
            f"(route={estimator.route!r}) rests on all of θ's influence coming after the outputs, and "
            "would drop the rest: use second_order()"
        )
    if method.reset_each_batch:
        raise ValueError(
            f"{method.name} lets θ act inside the forward pass and starts it anew for every batch, "
            "which is not covered: carry θ along (reset_each_batch=False)"
        )
    whole = estimator.examples is None and estimator.virtual_step != "actual"
    if not whole or problem.meta_forward is None:
        raise ValueError(
            f"{method.name} lets θ act inside the forward pass: give meta_forward, a forward of the "
            'meta batch without θ, and use second_order() with virtual_step="all" on the whole batch'
        )
