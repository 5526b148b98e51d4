"""Where a batch enters: what is no array is named, by its path, before anything else looks at it.

All three uses come through `leading_size`. Only types and shapes count, so inside a compiled program
nothing of it is left.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import core

from famus_jax.layers.partition import path_name

PyTree = Any


def leading_size(batch: PyTree, what: str) -> int:
    """The size n that all arrays of a batch lead with.

    Args:
      batch: a pytree of arrays (or their shapes); single numbers may be among them.
      what: which batch it is, for messages.

    Raises:
      ValueError: for a leaf that is no array, naming it by its path; if there is no array, n is 0, or
        two arrays disagree.

    Example:
      >>> leading_size({"x": jnp.zeros((4, 3)), "label": jnp.zeros(4, int)}, "training batch")
      4
    """
    sizes = {
        path_name(path): jnp.shape(leaf)[0]
        for path, leaf in _checked_leaves(batch, what)
        if jnp.ndim(leaf)
    }
    if not sizes:
        raise ValueError(
            f"the {what} has no array with a leading batch axis; it is {_said(batch)}: pass arrays of "
            "examples, such as {'x': numpy.asarray(x), 'label': numpy.asarray(label)}"
        )
    if len(set(sizes.values())) > 1:
        raise ValueError(f"the arrays of the {what} must share their leading size; got {sizes}")
    size = next(iter(sizes.values()))
    if not size:
        raise ValueError(f"the {what} is empty (leading size 0): it needs at least one example")
    _refuse_lists(batch, what, size)
    return size


def check_values(batch: PyTree, what: str) -> None:
    """Raises `ValueError` for a batch of which only shapes are there, where its values are read."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
        if isinstance(leaf, jax.ShapeDtypeStruct):
            raise ValueError(
                f"{_leaf(path)} of the {what} is but a shape, {leaf}: that will do for init and lower; "
                "pass the array itself"
            )


def check_given(batch: PyTree, what: str) -> None:
    """Refuses what a compiled call would refuse in JAX's words; what it looks at itself when it is
    traced is left to it, so that arrays on the device cost next to nothing.

    Raises:
      ValueError: see `leading_size` and `check_values`.
    """
    if not _on_device(batch):
        leading_size(batch, what)
        check_values(batch, what)


def _on_device(batch: PyTree) -> bool:
    try:
        leaves = jax.tree.leaves(batch)
    except (TypeError, ValueError):
        return False  # keys without an order
    return all(isinstance(leaf, jax.Array) and not leaf.is_deleted() for leaf in leaves)


@contextlib.contextmanager
def compared_with(batch: PyTree, training: PyTree) -> Iterator[None]:
    """An error in the meta batch's forward pass is told where that batch differs from the training
    batch, which went through: as a note, since the error may be the user's own."""
    try:
        yield
    except Exception as error:
        if differs := _differences(batch, training):
            error.add_note(
                f"This was the meta batch, which differs from the training batch: {differs}"
            )
        raise


def _checked_leaves(batch: PyTree, what: str) -> list[tuple[Any, Any]]:
    """The leaves, each of them an array, a number, or the shape of one."""
    try:
        leaves = jax.tree_util.tree_leaves_with_path(batch)
    except (TypeError, ValueError) as error:
        keys = _unsortable(batch)
        if keys is None:
            raise
        raise ValueError(
            f"a dict in the {what} has keys that can't be sorted, {textwrap.shorten(str(keys), 80)}: "
            "let all be strings"
        ) from error
    for path, leaf in leaves:
        if why := _why_no_array(leaf):
            raise ValueError(f"{_leaf(path)} of the {what} is {why}")
    return leaves


def _why_no_array(leaf: Any) -> str | None:
    """What it is instead, and what to do; None for what JAX takes as an array."""
    if isinstance(leaf, core.Tracer | jax.ShapeDtypeStruct):
        return None
    if isinstance(leaf, jax.Array):
        return (
            "an array that was deleted or donated to an earlier call: pass a new one"
            if leaf.is_deleted()
            else None
        )
    if hasattr(leaf, "mask") and hasattr(leaf, "filled"):
        return "a masked array, whose mask would be lost: use .filled(value), or pass the mask too"
    if isinstance(leaf, int) and not isinstance(leaf, bool):
        bounds = jnp.iinfo(jnp.result_type(int))
        if not bounds.min <= leaf <= bounds.max:
            return f"{textwrap.shorten(str(leaf), 30)}, which does not fit into {bounds.dtype}"
    try:
        jax.typeof(leaf)
    except Exception:  # whatever it raises for what it does not know
        return (
            f"{_said(leaf)}, which is no array of numbers: convert it by numpy.asarray(..., "
            "dtype='float32') or dtype='int32', or leave it out of the batch"
        )
    return None


def _refuse_lists(batch: PyTree, what: str, size: int) -> None:
    """A list of one number per example is an array that was forgotten: JAX takes it for n scalars."""
    nodes = jax.tree_util.tree_leaves_with_path(batch, is_leaf=lambda x: isinstance(x, list))
    for path, node in nodes:
        numbers = jax.tree.leaves(node) if isinstance(node, list) else []
        if numbers and len(node) == size and not any(map(jnp.ndim, numbers)):
            raise ValueError(
                f"{_leaf(path)} of the {what} is a list of {size} entries, which JAX takes for so many "
                "arrays of their own: pass numpy.asarray(...) of it"
            )


def _differences(batch: PyTree, training: PyTree) -> str:
    """Where two batches differ in more than their sizes; "" where they don't."""
    mine, theirs = _examples(batch), _examples(training)
    names = [name for name in [*mine, *theirs] if mine.get(name) != theirs.get(name)]
    return ", ".join(
        f"{name!r} is {mine.get(name, 'not there')} against {theirs.get(name, 'nothing')}"
        for name in dict.fromkeys(names)
    )


def _examples(batch: PyTree) -> dict[str, str]:
    """Path -> dtype and shape of one example."""
    return {
        path_name(path): f"{jnp.result_type(leaf)}{list(jnp.shape(leaf)[1:])} per example"
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch)
    }


def _unsortable(node: Any) -> list[Any] | None:
    """The keys of the first dict whose keys have no order."""
    if isinstance(node, Mapping):
        try:
            sorted(node)
        except TypeError:
            return list(node)
    inner = node.values() if isinstance(node, Mapping) else node
    if isinstance(node, Mapping | list | tuple):
        return next((keys for keys in map(_unsortable, inner) if keys is not None), None)
    return None


def _leaf(path: Any) -> str:
    return f"the entry {path_name(path)!r}" if path else "the whole"


def _said(value: Any) -> str:
    """A value in a few words."""
    kind = type(value).__name__
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"a {kind} of dtype {value.dtype} and shape {list(value.shape)}"
    return f"a {kind}, {textwrap.shorten(repr(value), 60)}"
