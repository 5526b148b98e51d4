"""Which parameters the gradient of a loss reaches.

A head that the loss does not read, or one behind `stop_gradient`, has a gradient that is 0 whatever the
numbers are. Found by following every parameter through the traced program, so what is only 0 by
chance (a dead unit, a weight of 0) does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.layers.jaxprs import Traced, propagate, trace

PyTree = Any
_Leaves = frozenset[int]
# No gradient passes these; nor what gives whole numbers or truth values.
_FLAT = frozenset({"stop_gradient", "sign", "floor", "ceil", "round"})


def reaching(
    forward: Traced, loss: Callable[[PyTree, PyTree], PyTree], batch: PyTree, num_params: int
) -> frozenset[int]:
    """The parameter leaves that the gradient of `loss(outputs, batch)` reaches.

    Args:
      forward: a traced forward pass, `(params, ...) -> (outputs, new_model_state)`.
      loss: what its outputs are judged by; traced, not run.
      batch: arrays or shape structs.
      num_params: the number of leaves of params.
    """
    closed = forward.closed
    others = len(closed.jaxpr.invars) - num_params
    marks = [frozenset([i]) for i in range(num_params)] + [frozenset()] * others
    found = _follow(closed.jaxpr, marks)
    numbers, _ = jax.tree.unflatten(forward.treedef, range(len(found)))
    aval = closed.out_avals
    outputs = jax.tree.map(lambda i: jax.ShapeDtypeStruct(aval[i].shape, aval[i].dtype), numbers)
    program = trace(loss, outputs, batch).closed
    marks = [found[i] for i in jax.tree.leaves(numbers)]
    marks += [frozenset()] * (len(program.jaxpr.invars) - len(marks))
    return _join(_follow(program.jaxpr, marks))


def _follow(jaxpr: Any, marks: Sequence[_Leaves]) -> list[_Leaves]:
    def opaque(eqn: Any, inputs: list[_Leaves]) -> list[_Leaves]:
        passed = frozenset() if eqn.primitive.name in _FLAT else _join(inputs)
        return [
            passed if jnp.issubdtype(out.aval.dtype, jnp.inexact) else frozenset()
            for out in eqn.outvars
        ]

    return propagate(jaxpr, marks, opaque, _join, closed=_has_own_derivative)


def _has_own_derivative(eqn: Any) -> bool:
    """A straight-through estimator rounds, and passes the gradient all the same."""
    return eqn.primitive.name.startswith(("custom_jvp", "custom_vjp"))


def _join(marks: Sequence[_Leaves]) -> _Leaves:
    return frozenset().union(*marks)
