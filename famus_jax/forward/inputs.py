"""What a network reads of a batch, and the model state that comes back in the form it went in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any
Input = str | int | Callable[[Any], Any] | None
"""What a network reads of a batch: a key, a function of the batch, or None for the whole batch."""


def select_inputs(batch: PyTree, input: Input) -> tuple[Any, ...]:
    """The positional arguments that the network gets from `batch`.

    >>> select_inputs({"image": 1, "label": 2}, "image")
    (1,)
    >>> select_inputs({"image": 1, "mask": 2}, lambda batch: (batch["image"], batch["mask"]))
    (1, 2)

    Args:
      batch: any pytree.
      input: a key (or index), so that the network gets `batch[input]`; a function of the batch that
        returns one array, or a *tuple* of positional arguments; None for the batch itself.

    Raises:
      KeyError: naming the batch's keys, if there is no such entry.
      ValueError: if it is None.
    """
    if input is None:
        return (batch,)
    if callable(input):
        inputs = input(batch)
        return inputs if isinstance(inputs, tuple) else (inputs,)
    try:
        chosen = batch[input]
    except (KeyError, IndexError, TypeError) as error:
        has = f"keys {sorted(map(str, batch))}" if isinstance(batch, Mapping) else type(batch)
        raise KeyError(
            f"the batch has no entry {input!r} (it has {has}); pass input=<its key>, or "
            "input=lambda batch: ... to the function that makes the forward pass."
        ) from error
    if chosen is None:
        raise ValueError(f"the batch's entry {input!r}, which the network reads, is None")
    return (chosen,)


def like(new: PyTree, old: PyTree) -> PyTree:
    """`new` with the containers and dtypes of `old`.

    Raises:
      ValueError: if the structure differs.
    """
    leaves, treedef = jax.tree.flatten(old)
    new_leaves, new_treedef = jax.tree.flatten(new)
    if not leaves and not new_leaves:
        return old  # `()` is no state too
    if new_treedef != treedef:
        raise ValueError(
            f"the model returned a state of another structure than it was given: {new_treedef} "
            f"against {treedef}. Either model_state isn't the one that its initialization gave, or "
            "a collection that grows with every call (from `sow`, for instance) is part of it; "
            "leave that collection out."
        )
    return jax.tree.unflatten(treedef, map(_cast, new_leaves, leaves))


def _cast(new: Any, old: Any) -> Any:
    """`new` in the dtype of `old`: float64 batches, say, keep float32 statistics float32."""
    dtype = old.dtype if hasattr(old, "dtype") else jnp.asarray(old).dtype
    return new if new.dtype == dtype else new.astype(dtype)
