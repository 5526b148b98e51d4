"""Layers: an ordered partition of a parameter pytree, bottom (0) to top (L - 1).

FaMUS decides per layer whether to keep its share of the meta gradient. `Layers` is that notion of
"layer" for any pytree of parameters: a hashable value, so that it may be a static argument of a
compiled function. `famus_jax.find_layers` finds the partition by tracing the network; `layers_by`
builds one from the user's own rule.

A *part* of a parameter tree is a tuple of its leaves that lie in some chosen layers, in tree order.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any
Part = tuple[jax.Array, ...]


@dataclasses.dataclass(frozen=True)
class Layers:
    """An ordered partition of the leaves of a parameter pytree.

    Attributes:
      names: one name per layer, bottom to top; unique.
      index: the layer of every leaf, in tree order.
      treedef: the structure of the parameters.
      costs: each layer's share of the FLOPs of one forward pass, summing to 1. Layer l's share is
        what lies between the first use of its parameters and the first use of layer l + 1's.

    Raises:
      ValueError: if names repeat, a layer is empty, or the numbers do not fit together.
    """

    names: tuple[str, ...]
    index: tuple[int, ...]
    treedef: Any
    costs: tuple[float, ...]

    def __post_init__(self):
        if len(set(self.names)) != len(self.names):
            twice = sorted({n for n in self.names if self.names.count(n) > 1})
            raise ValueError(f"layer names must be unique; given twice: {twice}")
        if len(self.index) != self.treedef.num_leaves:
            raise ValueError(
                f"{len(self.index)} leaves have a layer, but the parameters have "
                f"{self.treedef.num_leaves} leaves"
            )
        if set(self.index) != set(range(len(self.names))):
            raise ValueError(
                f"every layer 0..{len(self.names) - 1} needs at least one parameter; "
                f"the leaves name the layers {sorted(set(self.index))}"
            )
        if len(self.costs) != len(self.names) or not math.isclose(sum(self.costs), 1, rel_tol=1e-6):
            raise ValueError(f"costs must be {len(self.names)} shares that sum to 1: {self.costs}")

    def __len__(self) -> int:
        """The number of layers, L."""
        return len(self.names)

    @property
    def all(self) -> tuple[int, ...]:
        """Every layer, bottom to top."""
        return tuple(range(len(self)))

    def share_above(self, layer: int) -> float:
        """The share of a forward pass at or above `layer` (0 for `layer == L`)."""
        return sum(self.costs[layer:])

    def find(self, names: Sequence[str]) -> tuple[int, ...]:
        """The layers of these names, sorted.

        A name is a layer's own, or the path of a module: then all layers inside it.

        Raises:
          ValueError: for a name that is neither.
        """
        found: set[int] = set()
        for name in names:
            start = name.rstrip("/")
            inside = [
                i for i, n in enumerate(self.names) if n == start or n.startswith(start + "/")
            ]
            if not inside:
                raise ValueError(
                    f"no layer is named {name!r}, or inside a module of that name; the layers are "
                    f"{list(self.names)}"
                )
            found.update(inside)
        return tuple(sorted(found))

    def only(self, kept: Sequence[bool]) -> Layers:
        """The layers of a tree that has None in place of the leaves that are not kept.

        A layer of which nothing is left is none any more; its share of the FLOPs goes to the one below
        it, at the bottom to the one above.

        Args:
          kept: for every leaf, in tree order.
        """
        left = sorted({layer for layer, keep in zip(self.index, kept, strict=True) if keep})
        costs = [0.0] * len(left)
        for layer, cost in enumerate(self.costs):
            costs[max(sum(other <= layer for other in left) - 1, 0)] += cost
        leaves = [i if keep else None for i, keep in enumerate(kept)]
        return Layers(
            names=tuple(self.names[layer] for layer in left),
            index=tuple(left.index(layer) for layer, keep in zip(self.index, kept) if keep),
            treedef=jax.tree.structure(jax.tree.unflatten(self.treedef, leaves)),
            costs=tuple(costs),
        )

    def part(self, tree: PyTree, active: Sequence[int]) -> Part:
        """The leaves of `tree` that lie in the layers `active`."""
        leaves = self.leaves(tree)
        return tuple(x for x, g in zip(leaves, self.index) if g in active)

    def place(self, part: Part, tree: PyTree, active: Sequence[int]) -> PyTree:
        """`tree` with the leaves of the layers `active` replaced by `part`."""
        new = iter(part)
        leaves = [next(new) if g in active else x for x, g in zip(self.leaves(tree), self.index)]
        return jax.tree.unflatten(self.treedef, leaves)

    def part_index(self, active: Sequence[int]) -> tuple[int, ...]:
        """The layer of every leaf of a part."""
        return tuple(g for g in self.index if g in active)

    def leaves(self, tree: PyTree) -> list[Any]:
        """The leaves of `tree`. Raises `ValueError` unless it has the parameters' structure."""
        leaves, treedef = jax.tree.flatten(tree)
        if treedef != self.treedef:
            raise ValueError(
                "these layers were found for parameters of another structure; find them anew with "
                f"famus_jax.find_layers. Expected {self.treedef}, got {treedef}"
            )
        return leaves

    def as_tree(self) -> PyTree:
        """A pytree of ints shaped like the parameters: the layer of every leaf."""
        return jax.tree.unflatten(self.treedef, self.index)

    def describe(self, params: PyTree) -> str:
        """A table for people: layer, name, number of parameters, share of the forward pass."""
        sizes = [0] * len(self)
        for leaf, layer in zip(self.leaves(params), self.index):
            sizes[layer] += math.prod(jnp.shape(leaf))
        rows = zip(range(len(self)), self.names, sizes, self.costs)
        return "\n".join(f"{i:3d}  {n:40s} {s:>12,d}  {c:7.2%}" for i, n, s, c in rows)


def layers_by(
    params: PyTree,
    rule: PyTree | Callable[[str], int],
    names: Sequence[str] | None = None,
    costs: Sequence[float] | None = None,
) -> Layers:
    """Layers from the user's own rule.

    Args:
      params: the parameters (arrays or shape structs).
      rule: a pytree of ints shaped like `params`, or a function from a leaf's path, written
        `"Dense_0/kernel"`, to an int. Layers are numbered from 0, bottom to top.
      names: one name per layer; by default the longest path prefix its leaves share.
      costs: see `Layers`; by default equal shares.

    Raises:
      ValueError: if a layer is empty, or the two trees differ in structure.

    Example:
      >>> import jax.numpy as jnp
      >>> params = {"body": jnp.zeros((3, 4)), "head": jnp.zeros((4, 2))}
      >>> layers_by(params, {"body": 0, "head": 1}).names
      ('body', 'head')
    """
    paths_and_leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
    paths = [path_name(path) for path, _ in paths_and_leaves]
    if isinstance(rule, Callable):
        index = tuple(operator.index(rule(path)) for path in paths)
    else:
        values, given = jax.tree.flatten(rule)
        if given != treedef:
            raise ValueError(f"rule must be shaped like the parameters {treedef}; got {given}")
        index = tuple(operator.index(value) for value in values)
    size = max(index, default=-1) + 1
    if names is None:
        names = unique_names(
            [common_prefix([p for p, g in zip(paths, index) if g == i]) for i in range(size)]
        )
    costs = [1 / size] * size if costs is None else costs
    return Layers(tuple(names), index, treedef, tuple(float(c) for c in costs))


def check_arrays(params: PyTree) -> None:
    """Every leaf of the parameters must be an array.

    Example:
      >>> check_arrays({"w": jnp.ones(2), "unused": None})  # None is no leaf

    Raises:
      ValueError: naming the leaf, for anything else: a number, a string, a function.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
            continue
        what = f"a {type(leaf).__name__}, {textwrap.shorten(repr(leaf), 80)}"
        if isinstance(leaf, int | float) and not isinstance(leaf, bool):
            what += f" (pass jnp.asarray({float(leaf)!r}) if it is to be trained)"
        raise ValueError(
            f"parameter {path_name(path)!r} must be an array but is {what}: pass only arrays as params "
            "and let forward put the rest beside them; of an Equinox module, params, static = "
            "eqx.partition(model, eqx.is_inexact_array), and eqx.combine(params, static) in forward"
        )


def path_name(path: Sequence[Any]) -> str:
    """A key path as `"Dense_0/kernel"`; wrappers such as NNX's `.value` are left out."""
    return "/".join(path_keys(path))


def path_keys(path: Sequence[Any]) -> tuple[str, ...]:
    """The keys of a key path as strings."""
    keys = tuple(jax.tree_util.keystr((entry,), simple=True) for entry in path)
    return keys[:-1] if len(keys) > 1 and keys[-1] in ("value", "raw_value", "_value") else keys


def common_prefix(paths: Sequence[str]) -> str:
    """The longest run of leading path keys that all `paths` share (one path: itself)."""
    split = [path.split("/") for path in paths]
    shared = []
    for keys in zip(*split):
        if len(set(keys)) > 1:
            break
        shared.append(keys[0])
    return "/".join(shared) or "params"


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names, later ones of equal names numbered: `a, b, a` becomes `a, b, a#2`."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(unique)
