"""Find a network's layers by tracing its forward pass; works for any model library.

Parameters are ordered by the first equation in which a value derived from the parameter meets a
value derived from the batch. What happens to a parameter before that (casts, reshapes, weight
standardization, a product with another parameter) does not count, so a bfloat16 cast of the whole
tree at the top changes nothing. A `scan` or `while` is one equation, so the stacked layers inside it
form one layer.

Leaves are then grouped by the innermost module that owns them. A module that owns nothing but
vectors (a norm's scale and bias, a free bias) joins the layer it *follows* in the forward pass; at
the very bottom, the layer it precedes. Joining downwards keeps a program cheap: the lowest parameter
of a layer is then its kernel, whose gradient needs no derivative with respect to the layer's input.

A layer that the loss's gradient does not reach (a second head that the loss does not read, one that is
frozen) goes to the bottom, so that the last layers are the last ones that matter.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax

from famus_jax.layers.jaxprs import Traced, inner_programs, propagate, trace
from famus_jax.layers.partition import (
    Layers,
    PyTree,
    check_arrays,
    common_prefix,
    path_keys,
    unique_names,
)
from famus_jax.layers.reach import reaching

Forward = Callable[[PyTree, PyTree, jax.Array, PyTree], tuple[PyTree, PyTree]]
"""`(params, model_state, rng, batch) -> (outputs, new_model_state)`."""

_Sources = frozenset[int]  # which parameter leaves a value is made of; None once the batch is in it


@dataclasses.dataclass
class _Uses:
    """What a walk through the equations has found so far."""

    position: int = 0  # counts the equations in which the batch takes part
    first: dict[int, int] = dataclasses.field(default_factory=dict)  # leaf -> position
    flops: dict[int, float] = dataclasses.field(default_factory=dict)  # position -> FLOPs


def find_layers(
    forward: Forward,
    params: PyTree,
    model_state: PyTree,
    rng: jax.Array,
    batch: PyTree,
    *,
    by: str = "module",
    axis: str | None = None,
    loss: Callable[[PyTree, PyTree], PyTree] | None = None,
) -> Layers:
    """The layers of a network, bottom to top, found by tracing `forward` (nothing is run).

    Args:
      forward: `(params, model_state, rng, batch) -> (outputs, new_model_state)`.
      params, model_state, rng, batch: its arguments, arrays or `jax.ShapeDtypeStruct`s.
      by: `"module"` (a layer per module) or `"tensor"` (a layer per leaf, as in the code released
        with the paper).
      axis: a mesh axis that the forward pass names (synchronized BatchNorm), if it is to be traced
        outside of a program that has it.
      loss: `(outputs, batch) -> ℓ`, what the outputs are judged by, such as a method's
        `example_loss`; by default whatever reads all of them.

    Returns:
      `Layers`, with each layer's share of the forward FLOPs. A parameter that the batch never meets
      joins its module, or else the bottom.

    Raises:
      ValueError: for another `by`, if there are no parameters, for one that is no array, or if
        `forward` returns no pair.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def forward(params, model_state, rng, batch):
      ...     return jnp.tanh(batch @ params["body"]) @ params["head"], model_state
      >>> params = {"head": jnp.ones((4, 2)), "body": jnp.ones((3, 4))}
      >>> find_layers(forward, params, (), jax.random.key(0), jnp.ones((8, 3))).names
      ('body', 'head')
    """
    if by not in ("module", "tensor"):
        raise ValueError(f'by must be "module" or "tensor"; got {by!r}')
    paths_and_leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
    if not paths_and_leaves:
        raise ValueError("there are no layers to find: params has no leaves")
    check_arrays(params)
    whole = forward if isinstance(forward, Traced) else checked(forward)
    traced = trace(whole, params, model_state, rng, batch, axis=axis)
    uses = _uses(traced, len(paths_and_leaves), len(jax.tree.leaves(batch)))
    keys = [path_keys(path) or ("params",) for path, _ in paths_and_leaves]  # a bare array
    is_entry = [p and isinstance(p[-1], jax.tree_util.SequenceKey) for p, _ in paths_and_leaves]
    is_vector = [by == "module" and len(leaf.shape) <= 1 for _, leaf in paths_and_leaves]
    owners = keys
    if by == "module":
        owners = [
            k if entry or len(k) == 1 else k[:-1] for k, entry in zip(keys, is_entry, strict=True)
        ]
    positions = _positions(uses, owners)
    runs = _runs(positions, owners, is_vector, by)

    names = unique_names([_name(run, owners, is_vector) for run in runs])
    costs = _costs([min(positions[leaf] for leaf in run) for run in runs], uses.flops)
    reached = reaching(traced, loss or (lambda outputs, batch: outputs), batch, len(keys))
    order = sorted(range(len(runs)), key=lambda i: not reached.isdisjoint(runs[i]))  # stable

    index = [0] * len(keys)
    for layer, i in enumerate(order):
        for leaf in runs[i]:
            index[leaf] = layer
    return Layers(
        tuple(names[i] for i in order), tuple(index), treedef, tuple(costs[i] for i in order)
    )


def checked(forward: Forward) -> Forward:
    """`forward`, which says so if it returns anything but a pair."""

    def call(*args: Any) -> Any:
        result = forward(*args)
        if not isinstance(result, tuple) or len(result) != 2:
            raise ValueError(
                "forward must return (outputs, model_state), with () for no state; got "
                f"{type(result).__name__}: famus_jax.stateless_forward adapts a plain function"
            )
        return result

    return call


def _positions(uses: _Uses, owners: Sequence[tuple[str, ...]]) -> list[int]:
    """The position of every leaf; unused leaves go with their module, or to the bottom."""
    by_owner: dict[tuple[str, ...], int] = {}
    for leaf, position in uses.first.items():
        owner = owners[leaf]
        by_owner[owner] = min(position, by_owner.get(owner, position))
    return [uses.first.get(i, by_owner.get(o, -1)) for i, o in enumerate(owners)]


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
    """A layer is named after the module it is about, not after the norms that joined it."""
    return "/".join(_owner([i for i in run if not is_vector[i]] or list(run), owners))


def _costs(starts: Sequence[int], flops: dict[int, float]) -> tuple[float, ...]:
    """Each layer's share of the forward FLOPs, from its first use to the next layer's."""
    total = sum(flops.values())
    if not total:
        return (1 / len(starts),) * len(starts)
    bounds = [-math.inf, *starts[1:], math.inf]
    shares = [
        sum(cost for position, cost in flops.items() if start <= position < end)
        for start, end in zip(bounds, bounds[1:])
    ]
    return tuple(share / total for share in shares)


def _uses(traced: Traced, num_params: int, num_batch: int) -> _Uses:
    """Where the batch meets each leaf, and what the equations cost that it takes part in."""
    closed = traced.closed
    marks: list[_Sources | None] = [frozenset([i]) for i in range(num_params)]
    marks += [frozenset()] * (len(closed.jaxpr.invars) - num_params - num_batch)
    marks += [None] * num_batch
    uses = _Uses()

    def opaque(eqn: Any, inputs: list[_Sources | None]) -> list[_Sources | None]:
        if None not in inputs:
            return [_join(inputs)] * len(eqn.outvars)
        for leaf in frozenset().union(*(m for m in inputs if m is not None)):
            uses.first.setdefault(leaf, uses.position)
        uses.flops[uses.position] = _flops(eqn)
        uses.position += 1
        return [None] * len(eqn.outvars)

    propagate(closed.jaxpr, marks, opaque, _join)
    return uses


def _join(marks: Sequence[_Sources | None]) -> _Sources | None:
    if None in marks:
        return None
    return frozenset().union(*(m for m in marks if m is not None))


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
    bodies = [getattr(inner, "jaxpr", inner) for inner in inner_programs(eqn)]
    return repeats * float(sum(_flops(e) for body in bodies for e in body.eqns))
