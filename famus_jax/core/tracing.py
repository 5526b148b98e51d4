"""Find a network's layer groups by tracing its forward pass; works for any model library.

Parameters are ordered by the first equation in which a value derived from the parameter meets a
value derived from the batch. What happens to a parameter before that (casts, reshapes, weight
standardisation, a product with another parameter) does not count, so a bfloat16 cast of the whole
tree at the top changes nothing. Calls (`jit`, `remat`, `custom_jvp`, `cond`, ...) are entered; a
`scan` or `while` is one equation, so the stacked layers inside it form one group.

Leaves are then grouped by the innermost module that owns them. A module that owns nothing but
vectors (a norm's scale and bias, a free bias) joins the layer it *follows* in the forward pass; at
the very bottom, the layer it precedes. Joining downwards keeps a cut cheap: the lowest parameter of
a group is then its kernel, whose gradient needs no derivative with respect to the layer's input.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.extend import core as jex

from famus_jax.core.groups import LayerGroups, PyTree, common_prefix, path_keys, unique_names
from famus_jax.core.linearize import Forward

_Sources = frozenset[int]  # which parameter leaves a value is made of; None once the batch is in it


@dataclasses.dataclass
class _Trace:
    """What a walk through the equations has found so far."""

    position: int = 0  # counts the equations in which the batch takes part
    first_use: dict[int, int] = dataclasses.field(default_factory=dict)  # leaf -> position
    flops: dict[int, float] = dataclasses.field(default_factory=dict)  # position -> FLOPs


def layer_groups(
    forward: Forward,
    params: PyTree,
    model_state: PyTree,
    rng: jax.Array,
    batch: PyTree,
    *,
    by: str = "module",
    axis: str | None = None,
) -> LayerGroups:
    """The layer groups of a network, bottom to top, found by tracing `forward` (nothing is run).

    Args:
      forward: `(params, model_state, rng, batch) -> (outputs, new_model_state)`.
      params, model_state, rng, batch: its arguments, arrays or `jax.ShapeDtypeStruct`s.
      by: `"module"` (a group per module) or `"tensor"` (a group per leaf, as in the code released
        with the paper).
      axis: a mesh axis that the forward pass names (synchronised BatchNorm), if it is to be traced
        outside of a program that has it.

    Returns:
      `LayerGroups`, with each group's share of the forward FLOPs. A parameter that the batch never
      meets joins its module, or else the bottom.

    Raises:
      ValueError: for another `by`, or if there are no parameters.
    """
    if by not in ("module", "tensor"):
        raise ValueError(f'by must be "module" or "tensor"; got {by!r}')
    paths_and_leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
    if not paths_and_leaves:
        raise ValueError("there are no parameters to group: params has no leaves")
    trace = _walk_forward(forward, params, model_state, rng, batch, axis)
    keys = [path_keys(path) for path, _ in paths_and_leaves]
    is_entry = [isinstance(p[-1], jax.tree_util.SequenceKey) for p, _ in paths_and_leaves]
    is_vector = [len(leaf.shape) <= 1 for _, leaf in paths_and_leaves]
    if by == "tensor":
        owners = keys
        is_vector = [False] * len(keys)
    else:
        owners = [
            k if entry or len(k) == 1 else k[:-1] for k, entry in zip(keys, is_entry, strict=True)
        ]
    positions = _positions(trace, owners)
    runs = _runs(positions, owners, is_vector, by)

    index = [0] * len(keys)
    for group, run in enumerate(runs):
        for leaf in run:
            index[leaf] = group
    names = unique_names([_name(run, owners, is_vector) for run in runs])
    costs = _costs([min(positions[leaf] for leaf in run) for run in runs], trace.flops)
    return LayerGroups(names, tuple(index), treedef, costs)


def _positions(trace: _Trace, owners: Sequence[tuple[str, ...]]) -> list[int]:
    """The position of every leaf; unused leaves go with their module, or to the bottom."""
    by_owner: dict[tuple[str, ...], int] = {}
    for leaf, position in trace.first_use.items():
        owner = owners[leaf]
        by_owner[owner] = min(position, by_owner.get(owner, position))
    return [trace.first_use.get(i, by_owner.get(o, -1)) for i, o in enumerate(owners)]


def _runs(
    positions: Sequence[int],
    owners: Sequence[tuple[str, ...]],
    is_vector: Sequence[bool],
    by: str,
) -> list[list[int]]:
    """Leaves in the order of use, cut where the owner changes; vectors joined to what precedes."""
    if by == "tensor":
        return [[leaf] for leaf in sorted(range(len(positions)), key=lambda i: (positions[i], i))]
    at: dict[int, list[int]] = {}
    for leaf, position in enumerate(positions):
        at.setdefault(position, []).append(leaf)
    runs: list[list[int]] = []
    last_owner = None
    for position in sorted(at):
        leaves = at[position]  # leaves that meet the batch in one equation belong together
        owner = _owner(leaves, owners)
        if runs and owner == last_owner:
            runs[-1] += leaves
        else:
            runs.append(leaves)
        last_owner = owner
    joined: list[list[int]] = []
    for run in runs:
        if joined and (_all_vectors(run, is_vector) or _all_vectors(joined[-1], is_vector)):
            joined[-1] += run
        else:
            joined.append(run)
    return joined


def _all_vectors(run: Sequence[int], is_vector: Sequence[bool]) -> bool:
    return all(is_vector[leaf] for leaf in run)


def _owner(leaves: Sequence[int], owners: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(common_prefix(["/".join(owners[i]) for i in leaves]).split("/"))


def _name(run: Sequence[int], owners: Sequence[tuple[str, ...]], is_vector: Sequence[bool]) -> str:
    """A group is named after the layer it is about, not after the norms that joined it."""
    return "/".join(_owner([i for i in run if not is_vector[i]] or list(run), owners))


def _costs(starts: Sequence[int], flops: dict[int, float]) -> tuple[float, ...]:
    """Each group's share of the forward FLOPs, from its first use to the next group's."""
    total = sum(flops.values())
    if not total:
        return (1 / len(starts),) * len(starts)
    bounds = [-math.inf, *starts[1:], math.inf]
    shares = [
        sum(cost for position, cost in flops.items() if start <= position < end)
        for start, end in zip(bounds, bounds[1:])
    ]
    return tuple(share / total for share in shares)


def _walk_forward(forward: Forward, params, model_state, rng, batch, axis) -> _Trace:
    axes = None if axis is None else [(axis, 1)]
    closed = jax.make_jaxpr(forward, axis_env=axes)(params, model_state, rng, batch)
    num_params, num_batch = len(jax.tree.leaves(params)), len(jax.tree.leaves(batch))
    num_middle = len(closed.jaxpr.invars) - num_params - num_batch
    taints: list[_Sources | None] = [frozenset([i]) for i in range(num_params)]
    taints += [frozenset()] * num_middle
    taints += [None] * num_batch
    trace = _Trace()
    _walk(closed.jaxpr, taints, trace)
    return trace


def _walk(jaxpr: Any, taints: Sequence[_Sources | None], trace: _Trace) -> list[_Sources | None]:
    """Follows parameters and batch through the equations; returns the taints of the outputs."""
    known: dict[Any, _Sources | None] = dict(zip(jaxpr.invars, taints, strict=True))

    def taint(atom: Any) -> _Sources | None:
        return frozenset() if isinstance(atom, jex.Literal) else known.get(atom, frozenset())

    for eqn in jaxpr.eqns:
        inputs = [taint(atom) for atom in eqn.invars]
        if eqn.primitive.name == "optimization_barrier":  # an identity on many values at once
            outputs = inputs
        elif (inner := _called(eqn)) is not None:
            skip = len(eqn.invars) - len(inner[0].invars)  # a cond's branch index
            branches = [_walk(branch, inputs[skip:], trace) for branch in inner]
            outputs = [_join(values) for values in zip(*branches, strict=True)]
        elif None in inputs:
            for leaf in frozenset().union(*(t for t in inputs if t is not None)):
                trace.first_use.setdefault(leaf, trace.position)
            trace.flops[trace.position] = _flops(eqn)
            trace.position += 1
            outputs = [None] * len(eqn.outvars)
        else:
            outputs = [_join(inputs)] * len(eqn.outvars)
        known.update(zip(eqn.outvars, outputs, strict=True))
    return [taint(atom) for atom in jaxpr.outvars]


def _join(taints: Sequence[_Sources | None]) -> _Sources | None:
    if None in taints:
        return None
    return frozenset().union(*(t for t in taints if t is not None))


def _called(eqn: Any) -> list[Any] | None:
    """The jaxprs that an equation calls on its own arguments, or None for an opaque equation."""
    if eqn.primitive.name in ("scan", "while"):
        return None
    if eqn.primitive.name == "cond":
        return [branch.jaxpr for branch in eqn.params["branches"]]
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = eqn.params.get(key)
        inner = getattr(inner, "jaxpr", inner)  # a closed jaxpr, or an open one
        if hasattr(inner, "eqns") and len(inner.invars) == len(eqn.invars):
            return [inner]
    return None


def _flops(eqn: Any) -> float:
    """FLOPs of the matrix products and convolutions of an equation, bodies of loops included."""
    name = eqn.primitive.name
    if name == "dot_general":
        ((contract, _), _) = eqn.params["dimension_numbers"]
        lhs = eqn.invars[0].aval.shape
        return 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(lhs[d] for d in contract)
    if name == "conv_general_dilated":
        kernel = eqn.invars[1].aval.shape
        out_features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
        return 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) / out_features
    repeats = eqn.params.get("length", 1) if name == "scan" else 1
    total = 0.0
    for value in eqn.params.values():
        for inner in value if isinstance(value, tuple | list) else [value]:
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                total += sum(_flops(e) for e in inner.eqns)
    return repeats * total
