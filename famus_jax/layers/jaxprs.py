"""One walk through traced programs, for all questions that the core asks of them.

What are the layers (`find`)? Which of them does a loss reach (`reach`)? Does a forward pass close over
θ, does an optimizer couple layers (`core.dependence`)? Each is answered by following marks from a
program's inputs through its equations to its outputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.extend import core as jex

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Traced:
    """A function that was traced once and is called as often as one likes; see `trace`.

    Attributes:
      closed: its closed jaxpr.
      treedef: the structure of what it returns.
    """

    closed: Any
    treedef: Any

    def __call__(self, *args: PyTree) -> PyTree:
        """The function's result; `args` of the shapes and dtypes that it was traced with."""
        leaves = jex.jaxpr_as_fun(self.closed)(*jax.tree.leaves(args))
        return jax.tree.unflatten(self.treedef, leaves)


def trace(function: Callable[..., PyTree], *args: PyTree, axis: str | None = None) -> Traced:
    """Runs `function` on abstract arguments (arrays or shape structs) and keeps its program.

    Args:
      function: a function of pytrees.
      *args: its arguments.
      axis: a mesh axis that `function` names, if it is traced outside of a program that has it.
    """
    if isinstance(function, Traced):
        return function
    axes = None if axis is None else [(axis, 1)]
    closed, shapes = jax.make_jaxpr(function, axis_env=axes, return_shape=True)(*args)
    return Traced(closed, jax.tree.structure(shapes))


def propagate(
    jaxpr: Any,
    marks: Sequence[Any],
    opaque: Callable[[Any, list[Any]], list[Any]],
    join: Callable[[Sequence[Any]], Any],
    *,
    closed: Callable[[Any], bool] = lambda eqn: False,
) -> list[Any]:
    """Follows marks through the equations of a program.

    Calls (`jit`, `remat`, `custom_jvp`, `cond`, ...) are entered; a `scan` or `while` is opaque.

    Args:
      jaxpr: the program.
      marks: one per input. What is made of constants alone has the mark `join([])`.
      opaque: `(equation, marks of its inputs) -> marks of its outputs`.
      join: the mark of a value that is made of several.
      closed: calls that are not to be entered, but opaque.

    Returns:
      The marks of the outputs.
    """
    known = dict(zip(jaxpr.invars, marks, strict=True))

    def mark(atom: Any) -> Any:
        return join([]) if isinstance(atom, jex.Literal) else known.get(atom, join([]))

    for eqn in jaxpr.eqns:
        inputs = [mark(atom) for atom in eqn.invars]
        if eqn.primitive.name == "optimization_barrier":  # an identity on many values at once
            outputs = inputs
        elif not closed(eqn) and (bodies := _called(eqn)) is not None:
            skip = len(eqn.invars) - len(bodies[0].invars)  # the index of a `cond`
            results = [
                propagate(body, inputs[skip:], opaque, join, closed=closed) for body in bodies
            ]
            outputs = [join([*inputs[:skip], *values]) for values in zip(*results, strict=True)]
        else:
            outputs = opaque(eqn, inputs)
        known.update(zip(eqn.outvars, outputs, strict=True))
    return [mark(atom) for atom in jaxpr.outvars]


def inner_programs(eqn: Any) -> Iterator[Any]:
    """The programs, open or closed, among an equation's parameters."""
    for value in eqn.params.values():
        for inner in value if isinstance(value, tuple | list) else (value,):
            if hasattr(getattr(inner, "jaxpr", inner), "eqns"):
                yield inner


def constants(closed: Any) -> Iterator[Any]:
    """What a program closes over, compiled functions inside it included."""
    yield from getattr(closed, "consts", ())
    for eqn in getattr(closed, "jaxpr", closed).eqns:
        for inner in inner_programs(eqn):
            yield from constants(inner)


def ancestors(value: Any) -> Iterator[Any]:
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


def _called(eqn: Any) -> list[Any] | None:
    """The programs that an equation calls on its own arguments; None for an opaque equation."""
    if eqn.primitive.name in ("scan", "while"):
        return None
    if eqn.primitive.name == "cond":
        return [branch.jaxpr for branch in eqn.params["branches"]]
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = eqn.params.get(key)
        inner = getattr(inner, "jaxpr", inner)  # closed, or open
        if hasattr(inner, "eqns") and len(inner.invars) == len(eqn.invars):
            return [inner]
    return None
