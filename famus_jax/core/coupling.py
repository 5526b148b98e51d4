"""Does an optimiser's update of one layer group depend on another group's gradient?

Clipping by the global norm couples all groups, and so do trust ratios over the whole tree; then the way
back from a look-ahead through the optimiser needs the full gradient, and a subset of groups won't do.
Found by following every gradient leaf through the traced update.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from famus_jax.core.groups import LayerGroups

PyTree = Any
_SAME_ARGUMENTS = (
    "jit",
    "pjit",
    "closed_call",
    "checkpoint",
    "remat",
    "remat2",
    "custom_jvp_call",
    "custom_vjp_call",
)


def coupled_groups(
    descend: Callable[[PyTree], PyTree], params: PyTree, groups: LayerGroups
) -> tuple[str, str] | None:
    """Two groups' names such that the first one's update depends on the second one's gradient.

    Args:
      descend: `gradient -> updates`.
      params: the parameters (their shapes count).
      groups: their layer groups.

    Returns:
      None if there are none. Inside loops and branches everything is taken to depend on everything.
    """
    gradient = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    closed = jax.make_jaxpr(lambda g: groups.leaves(descend(g)))(gradient)
    reached = _follow(closed.jaxpr, [frozenset({group}) for group in groups.index])
    for group, sources in zip(groups.index, reached, strict=True):
        if others := sources - {group}:
            return groups.names[group], groups.names[min(others)]
    return None


def check_uncoupled(
    descend: Callable[[PyTree], PyTree], params: PyTree, groups: LayerGroups
) -> None:
    """Raises `ValueError` if the optimiser couples layer groups."""
    if pair := coupled_groups(descend, params, groups):
        raise ValueError(
            f"this optimiser's update of {pair[0]!r} depends on the gradient of {pair[1]!r} (clipping "
            "by the global norm and trust ratios do that), so the way back through it needs every "
            'group: use exact(virtual_step="optimizer"), or virtual_step="sgd"'
        )


def _follow(jaxpr: Any, sources: list[frozenset[int]]) -> list[frozenset[int]]:
    known: dict[Any, frozenset[int]] = dict(zip(jaxpr.invars, sources, strict=True))
    nothing: frozenset[int] = frozenset()

    def of(var: Any) -> frozenset[int]:
        return (
            nothing
            if not hasattr(var, "count") and hasattr(var, "val")
            else known.get(var, nothing)
        )

    for eqn in jaxpr.eqns:
        given = [of(var) for var in eqn.invars]
        inner = _body(eqn)
        if inner is not None and len(inner.invars) == len(given):
            results = _follow(inner, given)
        else:
            everything = frozenset().union(*given)
            results = [everything] * len(eqn.outvars)
        known.update(zip(eqn.outvars, results, strict=True))
    return [of(var) for var in jaxpr.outvars]


def _body(eqn: Any) -> Any:
    if eqn.primitive.name not in _SAME_ARGUMENTS:
        return None
    for name in ("jaxpr", "call_jaxpr"):
        if name in eqn.params:
            return getattr(eqn.params[name], "jaxpr", eqn.params[name])
    return None
