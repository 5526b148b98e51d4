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
    times, dropout draws a mask per micro-batch from `fold_in(rng, i)`.

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

    def micro(i: int) -> PyTree:
        parts = [x[i * size : (i + 1) * size] if jnp.ndim(x) else x for x in leaves]
        return jax.tree.unflatten(treedef, parts)

    def differentiate(i: int, token: Any) -> tuple[Linearized, Any]:
        """The i-th micro-batch's derivative, to be computed after `token` is: the barrier keeps XLA
        from running two at a time, or keeping what the first pass knew."""
        w, x, token = jax.lax.optimization_barrier((params, micro(i), token))
        return how(forward, w, model_state, jax.random.fold_in(rng, i), x, groups), token

    # First pass: the outputs only. Running statistics go from one micro-batch to the next.
    outputs, state, token = [], model_state, ()
    for i in range(count):
        x, token = jax.lax.optimization_barrier((micro(i), token))
        out, state = forward(params, state, jax.random.fold_in(rng, i), x)
        token = jax.tree.leaves(out)
        outputs.append(out)
    if any(not jnp.ndim(x) or jnp.shape(x)[0] != size for x in jax.tree.leaves(outputs[0])):
        raise ValueError(
            f"micro_batches={count} needs outputs with a leading batch axis of {size}; got shapes "
            f"{[jnp.shape(x) for x in jax.tree.leaves(outputs[0])]}"
        )
    whole = jax.tree.map(lambda *x: jnp.concatenate(x), *outputs)
    split = Split(lambda *_: (whole, state), model_state, rng, batch)
    f, (rest, new_state) = split(params)

    def slices(c: list[jax.Array], i: int) -> list[jax.Array]:
        return [x[i * size : (i + 1) * size] for x in c]

    def push(v: Part, active: Sequence[int]) -> list[jax.Array]:
        pieces, token = [], tuple(v)
        for i in range(count):
            lin, _ = differentiate(i, token)
            pieces.append(lin.push(v, active))
            token = pieces[-1]
        return [jnp.concatenate(x) for x in zip(*pieces)]

    def accumulate(
        product: Callable[[Linearized, list[jax.Array]], PyTree], c: list[jax.Array]
    ) -> Any:
        total, token = None, list(c)
        for i in range(count):
            lin, _ = differentiate(i, token)
            new = product(lin, slices(c, i))
            total = new if total is None else jax.tree.map(jnp.add, total, new)
            token = jax.tree.leaves(total)
        return total

    def shifted(v: Part, active: Sequence[int]):
        pieces, token = [], tuple(v)
        for i in range(count):
            lin, _ = differentiate(i, token)
            assert lin.shifted is not None
            pieces.append(lin.shifted(v, active))
            token = pieces[-1][:2]
        plus, minus = ([jnp.concatenate(x) for x in zip(*(p[k] for p in pieces))] for k in (0, 1))
        return plus, minus, pieces[0][2]

    return Linearized(
        f,
        split.rebuild(rest),
        new_state,
        push,
        lambda c: accumulate(lambda lin, c: lin.pull(c), c),
        lambda c, active: accumulate(lambda lin, c: lin.pull_part(c, active), c),
        shifted,
    )
