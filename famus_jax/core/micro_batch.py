"""A forward pass on a few examples at a time, nothing kept in between. Symbols: see `linearize`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

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
    micro = tuple(_split(x, count) for x in leaves if jnp.ndim(x))

    def assemble(arrays: tuple[jax.Array, ...]) -> PyTree:
        """A micro-batch, with what has no batch axis put back."""
        new = iter(arrays)
        return jax.tree.unflatten(treedef, [next(new) if jnp.ndim(x) else x for x in leaves])

    def differentiate(i: jax.Array, arrays: tuple[jax.Array, ...]) -> Linearized:
        key = jax.random.fold_in(rng, i)
        return how(forward, params, model_state, key, assemble(arrays), groups)

    # First pass: the outputs only. Running statistics go from one micro-batch to the next.
    def run(state: PyTree, piece: Any) -> tuple[PyTree, PyTree]:
        i, arrays = piece
        outputs, state = forward(params, state, jax.random.fold_in(rng, i), assemble(arrays))
        shapes = [jnp.shape(x) for x in jax.tree.leaves(outputs)]
        if any(shape[:1] != (size,) for shape in shapes):
            raise ValueError(
                f"micro_batches={count} needs outputs with a leading batch axis of {size}; got "
                f"shapes {shapes}"
            )
        return state, outputs

    new_state, pieces = jax.lax.scan(run, model_state, (numbers, micro))
    whole = jax.tree.map(_join, pieces)
    split = Split(lambda *_: (whole, new_state), model_state, rng, batch)
    f, (rest, _) = split(params)

    def push(v: Part, active: Sequence[int]) -> list[jax.Array]:
        pieces = jax.lax.map(lambda piece: differentiate(*piece).push(v, active), (numbers, micro))
        return [_join(x) for x in pieces]

    def accumulate(
        product: Callable[[Linearized, list[jax.Array]], PyTree], c: list[jax.Array]
    ) -> PyTree:
        def add(total: PyTree, piece: Any) -> tuple[PyTree, None]:
            i, arrays, c = piece
            return jax.tree.map(jnp.add, total, product(differentiate(i, arrays), c)), None

        pieces = (numbers, micro, [_split(x, count) for x in c])
        shapes = jax.eval_shape(
            lambda piece: product(differentiate(*piece[:2]), piece[2]),
            jax.tree.map(lambda x: x[0], pieces),
        )
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.scan(add, zeros, pieces)[0]

    def shifted(v: Part, active: Sequence[int]) -> tuple[list, list, jax.Array]:
        def one(piece: Any) -> tuple[list, list, jax.Array]:
            lin = differentiate(*piece)
            assert lin.shifted is not None
            return lin.shifted(v, active)

        plus, minus, eps = jax.lax.map(one, (numbers, micro))
        return [_join(x) for x in plus], [_join(x) for x in minus], eps[0]

    return Linearized(
        f,
        split.rebuild(rest),
        new_state,
        push,
        lambda c: accumulate(lambda lin, c: lin.pull(c), c),
        lambda c, active: accumulate(lambda lin, c: lin.pull_part(c, active), c),
        shifted,
    )


def _split(x: jax.Array, count: int) -> jax.Array:
    """[n, ...] -> [count, n / count, ...]."""
    return jnp.reshape(x, (count, -1, *jnp.shape(x)[1:]))


def _join(x: jax.Array) -> jax.Array:
    """[count, size, ...] -> [count * size, ...]."""
    return jnp.reshape(x, (-1, *jnp.shape(x)[2:]))
