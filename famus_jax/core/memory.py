"""Memory per example: what a method keeps of every training example from one visit to the next.

Symbols: N = training examples, n = batch size, i = `batch["index"]`, the place of each of the batch's
examples in the training set, int [n].

A method with a `Memory` has arrays [N, ...] in its state. In every step

    rows = arrays[i]                        given to the loss as batch["memory"]
    arrays[i] = update(rows, outputs, batch)

in one compiled program, after the forward pass and with its outputs. Three rules:

* Only rows 0 <= i < N are written. An index below 0 marks padding: it reads zeros. One of N or more
  is a mistake: it reads NaN, so that the loss says so.
* Of two rows of one batch with the same index both read the old row; what the last one in the
  batch's order makes of it is kept.
* A step whose numbers are not finite writes nothing.

Arrays are kept in the dtype that they start in; losses and updates see float32 or wider.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.core.checks import is_known
from famus_jax.core.method import Method

PyTree = Any
ROWS = "memory"


def first_memory(method: Method, key: jax.Array) -> PyTree:
    """The arrays before the first step; `()` for a method without memory.

    Raises:
      ValueError: for arrays that don't lead with one N, that are float16, or that are too large.
    """
    memory = method.memory
    if memory is None:
        return ()
    leaves = jax.tree.leaves(jax.eval_shape(memory.init, key))
    sizes = {leaf.shape[:1] for leaf in leaves}
    if len(sizes) != 1 or sizes & {(), (0,)}:
        raise ValueError(
            f"the memory of {method.name} must be arrays that all lead with N, the number of training "
            f"examples; got shapes {[leaf.shape for leaf in leaves]}"
        )
    if any(leaf.dtype == jnp.float16 for leaf in leaves):
        raise ValueError(
            f"the memory of {method.name} is float16, whose smallest number is 6e-8: what starts near "
            "0 (1e-8 in sop) would be 0 for ever. Use float32, or bfloat16, which is no larger"
        )
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    if size > memory.most_bytes:
        raise ValueError(
            f"the memory of {method.name} would take {size / 2**20:.0f} MiB on every device, and at "
            f"most {memory.most_bytes / 2**20:.0f} MiB are taken: keep it in bfloat16 (half of it), "
            "train on fewer examples, or allow more by "
            f"method._replace(memory=method.memory._replace(most_bytes={size}))"
        )
    return memory.init(key)


def check_index(method: Method, batch: PyTree, arrays: PyTree = None) -> None:
    """A batch must say which examples it holds.

    Args:
      method: one with memory.
      batch: the training batch, arrays or shapes.
      arrays: the memory, to compare the values with, where they are known.

    Raises:
      ValueError: if `batch["index"]` is missing or no int [n], or names an example that is not there.
    """
    if not isinstance(batch, Mapping) or "index" not in batch:
        held = list(batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(
            f"{method.name} keeps something of every training example and finds it by "
            f'batch["index"], int [n], the example\'s place in the training set; this batch holds '
            f'{held}: add {{"index": ...}}, from 0 to N - 1'
        )
    if ROWS in batch:
        raise ValueError(
            f'batch["{ROWS}"] is where {method.name} is given what it keeps of the batch\'s examples: '
            "give the batch's own entry another name"
        )
    index = batch["index"]
    if jnp.ndim(index) != 1 or not jnp.issubdtype(jnp.result_type(index), jnp.integer):
        raise ValueError(
            f'batch["index"] must be the examples\' places in the training set, int [n]; got '
            f"{jnp.result_type(index)}{list(jnp.shape(index))}"
        )
    if arrays is None or not is_known(index):
        return
    with jax.ensure_compile_time_eval():
        largest = int(jnp.max(jnp.asarray(index)))
    size = jax.tree.leaves(arrays)[0].shape[0]
    if largest >= size:
        raise ValueError(
            f'batch["index"] holds {largest}, but {method.name} was made for {size} training examples, '
            f"0 to {size - 1}: give it the size of the whole training set"
        )


def reading(method: Method, arrays: PyTree) -> Method:
    """The method, its loss given the rows of whatever batch it is called on."""

    def loss(theta: PyTree, outputs: PyTree, batch: PyTree) -> tuple[jax.Array, jax.Array]:
        rows = rows_at(arrays, batch["index"])
        return method.loss(theta, outputs, {**batch, ROWS: rows})

    return method._replace(loss=loss)


def rows_of(batch: PyTree) -> PyTree:
    """`batch["memory"]`, in a method's loss.

    Raises:
      ValueError: if it is not there: the loss was called by itself, or on a meta batch.
    """
    if not isinstance(batch, Mapping) or ROWS not in batch:
        raise ValueError(
            f'this loss reads batch["{ROWS}"], what the method keeps of the batch\'s examples. A '
            "training step puts it there; whoever calls the loss directly, or on a meta batch, must do "
            "so too"
        )
    return batch[ROWS]


def rows_at(arrays: PyTree, index: jax.Array) -> PyTree:
    """The rows of a batch, [n, ...], floats in float32 or wider.

    Example:
      >>> rows_at(jnp.array([5.0, 6.0]), jnp.array([1, -1, 2])).tolist()  # padding, and a mistake
      [6.0, 0.0, nan]
    """

    def rows(x: jax.Array) -> jax.Array:
        wide = x.at[_place(index, x)].get(mode="fill", fill_value=0)
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            return wide
        wide = wide.astype(jnp.promote_types(x.dtype, jnp.float32))
        outside = jnp.reshape(index >= x.shape[0], (-1, *[1] * (x.ndim - 1)))
        return jnp.where(outside, jnp.nan, wide)

    return jax.tree.map(rows, arrays)


def updated_rows(method: Method, rows: PyTree, outputs: PyTree, batch: PyTree) -> PyTree:
    """What is kept of the batch's examples.

    Raises:
      ValueError: if `Memory.update` returns something of other shapes than it was given.
    """
    assert method.memory is not None
    new = jax.lax.stop_gradient(method.memory.update(rows, outputs, batch))
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (new, rows)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"the memory's update of {method.name} must return what it was given, row by row: it "
            f"returned shapes {shapes[0]} for {shapes[1]}"
        )
    return new


def written(arrays: PyTree, index: jax.Array, rows: PyTree, fine: jax.Array | bool) -> PyTree:
    """The arrays with a batch's rows written; as they were unless `fine`.

    Example:
      >>> written(jnp.zeros(3), jnp.array([1, -1, 1]), jnp.array([5.0, 6.0, 7.0]), True).tolist()
      [0.0, 7.0, 0.0]
    """
    number = jnp.arange(index.shape[0])
    again = (index[:, None] == index[None, :]) & (number[:, None] < number[None, :])
    write = fine & ~again.any(1)  # each row once: a scatter has no order of its own

    def put(x: jax.Array, new: jax.Array) -> jax.Array:
        place = jnp.where(write, _place(index, x), x.shape[0])
        return x.at[place].set(new.astype(x.dtype), mode="drop")

    return jax.tree.map(put, arrays, rows)


def _place(index: jax.Array, x: jax.Array) -> jax.Array:
    """The index, N where there is no such row: below 0 it would count from the end."""
    return jnp.where(index < 0, x.shape[0], index)
