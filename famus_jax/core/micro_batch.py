"""A forward pass on a few examples at a time, nothing kept in between. Symbols: see `linearize`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.core.data_parallel import alike
from famus_jax.core.groups import LayerGroups, Part, PyTree
from famus_jax.core.linearize import Forward, Linearized, Split, linearize


def micro_batched(
    forward: Forward,
    params: PyTree,
    model_state: PyTree,
    rng: jax.Array,
    batch: PyTree,
    groups: LayerGroups,
    *,
    count: int,
    how: Callable[..., Linearized] = linearize,
) -> Linearized:
    """As `linearize`, on `count` micro-batches one after the other: memory of one, and every product
    runs its forward pass anew.

    Micro-batch i holds the examples i, i + count, i + 2 count, ..., so that a batch which is spread
    over devices leaves each of them an equal part of every micro-batch.

    The outputs are those of the whole batch, so that all that follows them (weights that are
    normalised over the batch, a loss) is unchanged. Equal numbers for networks without BatchNorm and
    dropout; BatchNorm normalises each micro-batch by itself and moves its running statistics `count`
    times, dropout draws a mask per micro-batch from `fold_in(rng, i)`. The micro-batches run in a
    `lax.scan`, in which XLA's CPU backend is slow at convolutions.

    Args:
      count: how many; it must divide the batch size.
      how: `linearize` or `reverse_only`, for each micro-batch.
      **others: see `linearize`.

    Raises:
      ValueError: if `count` does not divide the batch, or an output has no batch axis.
    """
    leaves, treedef = jax.tree.flatten(batch)
    n = next(jnp.shape(x)[0] for x in leaves if jnp.ndim(x))
    if n % count:
        raise ValueError(f"micro_batches={count} must divide the batch size {n}")
    size = n // count
    numbers = jnp.arange(count)

    def micro(i: jax.Array) -> PyTree:
        """A micro-batch, picked where it is used: no second copy of the batch in another order."""
        return jax.tree.unflatten(
            treedef, [_pick(x, i, count) if jnp.ndim(x) else x for x in leaves]
        )

    def differentiate(i: jax.Array) -> Linearized:
        key = jax.random.fold_in(rng, i)
        return how(forward, params, model_state, key, micro(i), groups)

    # First pass: the outputs only. Running statistics go from one micro-batch to the next.
    def run(state: PyTree, i: jax.Array) -> tuple[PyTree, PyTree]:
        outputs, state = forward(params, state, jax.random.fold_in(rng, i), micro(i))
        shapes = [jnp.shape(x) for x in jax.tree.leaves(outputs)]
        if any(shape[:1] != (size,) for shape in shapes):
            raise ValueError(
                f"micro_batches={count} needs outputs with a leading batch axis of {size}; got "
                f"shapes {shapes}"
            )
        return state, outputs

    new_state, pieces = jax.lax.scan(run, model_state, numbers)
    whole = jax.tree.map(_join, pieces)
    split = Split(lambda *_: (whole, new_state), model_state, rng, batch)
    f, (rest, _) = split(params)

    def push(v: Part, active: Sequence[int]) -> list[jax.Array]:
        pieces = jax.lax.map(lambda i: differentiate(i).push(v, active), numbers)
        return [_join(x) for x in pieces]

    def accumulate(
        product: Callable[[Linearized, list[jax.Array]], PyTree], c: list[jax.Array]
    ) -> PyTree:
        def add(total: PyTree, piece: Any) -> tuple[PyTree, None]:
            i, c = piece
            return jax.tree.map(jnp.add, total, product(differentiate(i), c)), None

        pieces = (numbers, [_split(x, count) for x in c])
        shapes = jax.eval_shape(
            lambda piece: product(differentiate(piece[0]), piece[1]),
            jax.tree.map(lambda x: x[0], pieces),
        )
        zeros = jax.tree.map(lambda x: alike(jnp.zeros(x.shape, x.dtype), c[0]), shapes)
        return jax.lax.scan(add, zeros, pieces)[0]

    def shifted(v: Part, active: Sequence[int]) -> tuple[list, list, jax.Array]:
        def one(i: jax.Array) -> tuple[list, list, jax.Array]:
            lin = differentiate(i)
            assert lin.shifted is not None
            return lin.shifted(v, active)

        plus, minus, eps = jax.lax.map(one, numbers)
        return [_join(x) for x in plus], [_join(x) for x in minus], eps[0]

    return Linearized(
        f,
        split.rebuild(rest),
        batch,
        new_state,
        push,
        lambda c: accumulate(lambda lin, c: lin.pull(c), c),
        lambda c, active: accumulate(lambda lin, c: lin.pull_part(c, active), c),
        shifted,
    )


def _pick(x: jax.Array, i: jax.Array, count: int) -> jax.Array:
    """Micro-batch i of `_split`."""
    rows = jnp.reshape(x, (-1, count, *jnp.shape(x)[1:]))
    return jax.lax.dynamic_index_in_dim(rows, i, axis=1, keepdims=False)


def _split(x: jax.Array, count: int) -> jax.Array:
    """[n, ...] -> [count, n / count, ...], example j in micro-batch j mod count."""
    return jnp.reshape(x, (-1, count, *jnp.shape(x)[1:])).swapaxes(0, 1)


def _join(x: jax.Array) -> jax.Array:
    """[count, size, ...] -> [count * size, ...], the inverse of `_split`."""
    return jnp.reshape(x.swapaxes(0, 1), (-1, *jnp.shape(x)[2:]))
