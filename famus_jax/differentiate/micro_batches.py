"""A forward pass on a few examples at a time, nothing kept in between. Symbols: see `linearize`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.differentiate.collectives import device_count, device_index, vary_like
from famus_jax.differentiate.linearize import (
    Differentiate,
    Forward,
    Linearized,
    function_of_params,
)
from famus_jax.layers.partition import Layers, Part, PyTree


def micro_batched(how: Differentiate, count: int, axis: str | None = None) -> Differentiate:
    """Another `how` (`linearize` and its like): on `count` micro-batches one after the other, with
    the memory of one; every product runs its forward pass anew.

    Of every `count` neighbors in the batch each goes to another micro-batch, so that a batch which is
    spread over devices leaves each of them an equal part of every micro-batch; which one goes where is
    shuffled once for all, so that a batch whose classes come in turn does not become micro-batches of
    one class each.

    The outputs are those of the whole batch, so that all that follows them (weights that are
    normalized over the batch, a loss) is unchanged. Equal numbers for networks without BatchNorm and
    dropout; BatchNorm normalizes each micro-batch by itself and moves its running statistics `count`
    times, dropout draws a mask per micro-batch: from `fold_in(rng, i)`, and from the random state
    that the micro-batch before it left in the model state. The micro-batches run in a `lax.scan`, in
    which XLA's CPU backend is slow at convolutions.

    Args:
      how: how each micro-batch is differentiated.
      count: how many; it must divide the batch size.
      axis: along which the batch is divided among devices, whose micro-batches run at the same time.

    Raises:
      ValueError: (what it returns) if `count` does not divide the batch, or an output has no batch
        axis.
    """
    if count == 1:
        return how
    numbers = jnp.arange(count)

    def differentiate(
        forward: Forward,
        params: PyTree,
        model_state: PyTree,
        rng: jax.Array,
        batch: PyTree,
        layers: Layers,
    ) -> Linearized:
        leaves, treedef = jax.tree.flatten(batch)
        n = next(jnp.shape(x)[0] for x in leaves if jnp.ndim(x))
        if n % count:
            raise ValueError(f"micro_batches={count} must divide the batch size {n}")
        size = n // count
        order = _shuffled(size * device_count(axis), count)
        order = jax.lax.dynamic_slice_in_dim(order, device_index(axis) * size, size)

        def rows(i: jax.Array) -> PyTree:
            """A micro-batch, picked where it is used: no second copy of the batch."""
            return jax.tree.unflatten(
                treedef, [_pick(x, i, order) if jnp.ndim(x) else x for x in leaves]
            )

        def join(x: jax.Array) -> jax.Array:
            return _join(x, order)

        def key(i: jax.Array) -> jax.Array:
            return rng if rng is None else jax.random.fold_in(rng, i)

        # First pass: the outputs only. The model state goes from one micro-batch to the next; what
        # each of them started from is kept, since its products must see the same dropout masks.
        def run(state: PyTree, i: jax.Array) -> tuple[PyTree, tuple[PyTree, PyTree]]:
            outputs, new_state = forward(params, state, key(i), rows(i))
            shapes = [jnp.shape(x) for x in jax.tree.leaves(outputs)]
            if any(shape[:1] != (size,) for shape in shapes):
                raise ValueError(
                    f"micro_batches={count} needs outputs with a leading batch axis of {size}; got "
                    f"shapes {shapes}"
                )
            return new_state, (outputs, state)

        new_state, (pieces, states) = jax.lax.scan(run, model_state, numbers)
        outputs = jax.tree.map(join, pieces)
        whole = function_of_params(lambda *_: (outputs, new_state), model_state, rng, batch)
        f, (rest, _) = whole(params)

        def at(i: jax.Array) -> Linearized:
            state = jax.tree.map(lambda x: x[i], states)
            return how(forward, params, state, key(i), rows(i), layers)

        def jvp(v: Part, active: Sequence[int]) -> list[jax.Array]:
            return [join(x) for x in jax.lax.map(lambda i: at(i).jvp(v, active), numbers)]

        def accumulate(
            product: Callable[[Linearized, list[jax.Array]], PyTree], c: list[jax.Array]
        ) -> PyTree:
            def add(total: PyTree, piece: Any) -> tuple[PyTree, None]:
                i, c = piece
                return jax.tree.map(jnp.add, total, product(at(i), c)), None

            pieces = (numbers, [_split(x, order) for x in c])
            shapes = jax.eval_shape(
                lambda piece: product(at(piece[0]), piece[1]), jax.tree.map(lambda x: x[0], pieces)
            )
            zeros = jax.tree.map(lambda x: vary_like(jnp.zeros(x.shape, x.dtype), c[0]), shapes)
            return jax.lax.scan(add, zeros, pieces)[0]

        def shifted(v: Part, active: Sequence[int]) -> tuple[list, list, jax.Array]:
            def one(i: jax.Array) -> tuple[list, list, jax.Array]:
                moved = at(i).shifted
                assert moved is not None
                return moved(v, active)

            plus, minus, eps = jax.lax.map(one, numbers)
            return [join(x) for x in plus], [join(x) for x in minus], eps[0]

        return Linearized(
            f=f,
            rest=rest,
            batch=batch,
            model_state=new_state,
            jvp=jvp,
            vjp=lambda c: accumulate(lambda lin, c: lin.vjp(c), c),
            vjp_part=lambda c, active: accumulate(lambda lin, c: lin.vjp_part(c, active), c),
            shifted=shifted,
        )

    return differentiate


def _shuffled(size: int, count: int) -> jax.Array:
    """Which of `count` neighbors goes to which micro-batch: int32 [size, count], a permutation in every
    row, the same in every program."""
    shuffle = random.Random(0).shuffle
    rows = [list(range(count)) for _ in range(size)]
    for row in rows:
        shuffle(row)
    return jnp.asarray(rows, jnp.int32)


def _pick(x: jax.Array, i: jax.Array, order: jax.Array) -> jax.Array:
    """Micro-batch i of `_split`."""
    return _take(_neighbors(x, order), jax.lax.dynamic_index_in_dim(order, i, 1, keepdims=False))


def _split(x: jax.Array, order: jax.Array) -> jax.Array:
    """[n, ...] -> [count, n / count, ...]."""
    return _take(_neighbors(x, order), order).swapaxes(0, 1)


def _join(x: jax.Array, order: jax.Array) -> jax.Array:
    """[count, size, ...] -> [count * size, ...], the inverse of `_split`."""
    neighbors = _take(x.swapaxes(0, 1), jnp.argsort(order, axis=1))
    return jnp.reshape(neighbors, (-1, *jnp.shape(x)[2:]))


def _neighbors(x: jax.Array, order: jax.Array) -> jax.Array:
    return jnp.reshape(x, (*order.shape, *jnp.shape(x)[1:]))


_take = jax.vmap(lambda neighbors, which: neighbors[which])
