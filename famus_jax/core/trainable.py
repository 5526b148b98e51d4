"""Which of the parameters are trained, and a tree of them cut in two.

A filter says so in one of four ways (`problem(..., trainable=)`), and `Split` is what it says of one
tree of parameters: which leaves are trained. The trained ones make a tree like the whole with None,
which is no leaf, in the place of every frozen one, so that paths, layers and optimizers see what they
know; the frozen ones are a plain tuple.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.layers.partition import path_name

PyTree = Any
Filter = Any


@dataclasses.dataclass(frozen=True)
class Mask:
    """A pytree of bools, as a value that can be hashed."""

    treedef: Any
    flags: tuple[bool, ...]


@dataclasses.dataclass(frozen=True)
class Split:
    """Which leaves of a tree of parameters are trained.

    Attributes:
      treedef: the structure of the whole tree.
      flags: for every leaf, in tree order, whether it is trained.
    """

    treedef: Any
    flags: tuple[bool, ...]

    def trained(self, tree: PyTree) -> PyTree:
        """`tree` with None in the place of every frozen leaf."""
        if all(self.flags):
            return tree
        leaves = [x if on else None for x, on in self._pairs(tree)]
        return jax.tree.unflatten(self.treedef, leaves)

    def frozen(self, tree: PyTree) -> tuple[Any, ...]:
        """The frozen leaves of `tree`."""
        return tuple(x for x, on in self._pairs(tree) if not on)

    def whole(self, trained: PyTree, frozen: Sequence[Any]) -> PyTree:
        """The inverse: a whole tree again."""
        if all(self.flags):
            return trained
        new, still = iter(jax.tree.leaves(trained)), iter(frozen)
        return jax.tree.unflatten(self.treedef, [next(new if on else still) for on in self.flags])

    def whole_gradient(self, gradient: PyTree, params: PyTree) -> PyTree:
        """A gradient of the trained leaves as one of all, 0 where they are frozen."""
        return self.whole(gradient, [jnp.zeros_like(x) for x in self.frozen(params)])

    def _pairs(self, tree: PyTree) -> Iterator[tuple[Any, bool]]:
        return zip(self.treedef.flatten_up_to(tree), self.flags, strict=True)


def as_filter(trainable: Filter) -> Filter:
    """The filter, in a form that can be hashed.

    Raises:
      ValueError: for what is none.
    """
    if trainable is None:
        return None
    leaves, treedef = jax.tree.flatten(trainable)
    if leaves and all(map(_is_bool, leaves)):
        return Mask(treedef, tuple(map(bool, leaves)))
    if not callable(trainable):
        raise ValueError(
            "trainable must be a function of a parameter's path, lambda path: 'lora' in path; a pytree "
            f"of bools shaped like the parameters; or a class, such as nnx.LoRAParam; got {trainable!r}"
        )
    return trainable


def split_of(trainable: Filter, params: PyTree) -> Split:
    """What a filter, from `as_filter`, says of these parameters (arrays or shape structs).

    Raises:
      ValueError: if it chooses none of them or all, if it is a mask of another structure, or if it
        returns no bool.

    Example:
      >>> params = {"body": jnp.ones(3), "head": jnp.ones(2)}
      >>> split = split_of(lambda path: path == "head", params)
      >>> split.flags, split.trained(params)["body"]
      ((False, True), None)
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
    if trainable is None:
        return Split(treedef, (True,) * len(leaves))
    if isinstance(trainable, Mask):
        if trainable.treedef != treedef:
            raise ValueError(
                "trainable is a mask of another structure than the parameters: expected "
                f"{treedef}, got {trainable.treedef}. jax.tree_util.tree_map_with_path(lambda path, x: "
                "..., params) makes one that fits"
            )
        flags = trainable.flags
    elif isinstance(trainable, type):
        flags = _by_node(params, trainable, lambda path, node: isinstance(node, trainable))
    elif _takes_two(trainable):
        flags = _by_node(params, None, trainable)
    else:
        flags = tuple(_bool(trainable(path_name(p)), path_name(p)) for p, _ in leaves)
    if not any(flags) or all(flags):
        paths = [path_name(path) for path, _ in leaves]
        shown = ", ".join(map(repr, paths[:8])) + (", ..." if len(paths) > 8 else "")
        what, do = (
            ("all of the parameters: nothing would be frozen", "leave it out")
            if any(flags)
            else ("none of the parameters", "name some of them")
        )
        raise ValueError(f"trainable={trainable!r} chooses {what}; {do}. Their paths are {shown}")
    return Split(treedef, flags)


def taking_frozen(forward: Callable[..., Any], split: Split) -> Callable[..., Any]:
    """`forward` of the trained parameters and a model state `(frozen, model_state)`."""

    def whole(params: PyTree, state: tuple[Any, PyTree], *others: Any) -> Any:
        return forward(split.whole(params, state[0]), state[1], *others)

    return whole


def _by_node(
    params: PyTree, kind: type | None, chooses: Callable[[tuple, Any], Any]
) -> tuple[bool, ...]:
    """The flags by a function of a path and the node there: a node of class `kind`, or one that holds
    an array as its `value`, as the variables of NNX do; a bare array stands for itself."""

    def is_node(x: Any) -> bool:
        return isinstance(x, kind) if kind else hasattr(type(x), "value")

    flags: list[bool] = []
    for path, node in jax.tree_util.tree_leaves_with_path(params, is_leaf=is_node):
        chosen = _bool(chooses(tuple(map(_key, path)), node), path_name(path))
        flags += [chosen] * len(jax.tree.leaves(node))
    return tuple(flags)


def _key(entry: Any) -> Any:
    """What a key of a path is: a name or a number."""
    for name in ("key", "idx", "name"):
        if hasattr(entry, name):
            return getattr(entry, name)
    return entry


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether it is a function `(path, variable)`, as the filters of NNX are."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [
        p
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    return len(needed) == 2


def _is_bool(x: Any) -> bool:
    """Python's or numpy's; an array of bools is none, since it would choose within a leaf."""
    return isinstance(x, bool) or type(x).__name__ in ("bool", "bool_")


def _bool(value: Any, path: str) -> bool:
    if not _is_bool(value):
        raise ValueError(
            f"trainable must say True or False of every parameter; of {path!r} it said {value!r}"
        )
    return bool(value)
