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

With `per_example=False` the arrays are not of the examples but of the run (a moving average, say): all
of them are given to every loss and update, in place of the rows, and no index is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import core

PyTree = Any
Method = Any  # a `famus_jax.Method`, which holds a `Memory`
ROWS = "memory"


class Memory(NamedTuple):
    """What a method keeps from step to step, of every example or of the run, as pure functions.

    Attributes:
      init: `key -> arrays`, a pytree of arrays [N, ...], one row per training example.
      update: `(rows, outputs, batch) -> rows`: what is kept of the batch's examples, from what was, the
        network's outputs on them, and the batch (all devices' rows). Nothing is differentiated through
        it.
      most_bytes: refuse arrays that would take more than so much memory on a device.
      per_example: False for arrays of any shape that have no rows: `update` is given all of them, and
        all that it returns is kept.

    Example:
      >>> def init(key):  # how often each of five examples was seen
      ...     return jnp.zeros((5,), jnp.int32)
      >>> def update(rows, outputs, batch):
      ...     return rows + 1
      >>> memory = Memory(init, update)
      >>> memory.update(memory.init(None)[jnp.array([3, 1])], None, None).tolist()
      [1, 1]
    """

    init: Callable[[jax.Array], PyTree]
    update: Callable[[PyTree, PyTree, PyTree], PyTree]
    most_bytes: int = 2**30
    per_example: bool = True


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
    if memory.per_example and (len(sizes) != 1 or sizes & {(), (0,)}):
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
    per_example = method.memory.per_example
    if not isinstance(batch, Mapping) or (per_example and "index" not in batch):
        held = list(batch) if isinstance(batch, Mapping) else type(batch).__name__
        if not per_example:
            raise ValueError(
                f"{method.name} keeps something from step to step, which its loss finds as "
                f'batch["{ROWS}"]: a batch must be a mapping, {{"label": ...}}; this one is a {held}'
            )
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
    if not per_example:
        return
    index = batch["index"]
    if jnp.ndim(index) != 1 or not jnp.issubdtype(jnp.result_type(index), jnp.integer):
        raise ValueError(
            f'batch["index"] must be the examples\' places in the training set, int [n]; got '
            f"{jnp.result_type(index)}{list(jnp.shape(index))}"
        )
    known = not isinstance(index, core.Tracer | jax.ShapeDtypeStruct)
    if arrays is None or not known or not getattr(index, "is_fully_addressable", True):
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
        return method.loss(theta, outputs, {**batch, ROWS: read(method, arrays, batch)})

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


def read(method: Method, arrays: PyTree, batch: PyTree) -> PyTree:
    """What the loss and the update are given: the batch's rows, or all, float32 or wider."""
    if method.memory.per_example:
        return rows_at(arrays, batch["index"])
    return jax.tree.map(_wide, arrays)


def rewritten(
    method: Method, arrays: PyTree, batch: PyTree, new: PyTree, fine: jax.Array | bool
) -> PyTree:
    """The arrays after a step: `new` in the place of what `read` gave; as they were unless `fine`."""
    if method.memory.per_example:
        return written(arrays, batch["index"], new, fine)
    return jax.tree.map(lambda x, y: jnp.where(fine, y.astype(x.dtype), x), arrays, new)


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
        wide = _wide(wide)
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


def _wide(x: jax.Array) -> jax.Array:
    """Floats in float32 or wider, all else as it is."""
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return x
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _place(index: jax.Array, x: jax.Array) -> jax.Array:
    """The index, N where there is no such row: below 0 it would count from the end."""
    return jnp.where(index < 0, x.shape[0], index)
