"""A meta set without trusted labels: in every class, the examples with the smallest losses so far.

Symbols: ℓ_i = cross-entropy of example i, m_i = its moving average over visits, δ = how much of it is
kept: m_i ← δ m_i + (1 − δ) ℓ_i from the second visit on.

The averages and the present choice are a memory of the method (`famus_jax.memory`), so that every
checkpoint has both. Every `meta.select_every` steps the host chooses anew, before the step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.data import Stream
from famus_jax.losses import softmax_cross_entropy
from famus_jax.memory import Memory
from famus_jax.uses.train_state import TrainState

PyTree = Any
_UNSEEN = -1.0  # losses are 0 or more


def memory(num_examples: int, decay: float) -> Memory:
    """Keeps m and the choice: `{"loss", "chosen"}`, float32 [N] each.

    >>> kept = memory(2, decay=0.5)
    >>> rows = kept.init(jax.random.key(0))
    >>> batch, logits = {"label": jnp.array([0, 0])}, jnp.log(jnp.array([[1.0, 3.0], [1.0, 1.0]]))
    >>> rows = kept.update(rows, logits, batch)  # log 4, log 2
    >>> [round(float(m), 4) for m in kept.update(rows, jnp.zeros((2, 2)), batch)["loss"]]
    [1.0397, 0.6931]
    """

    def init(key: jax.Array) -> PyTree:
        del key
        return {
            "loss": jnp.full((num_examples,), _UNSEEN, jnp.float32),
            "chosen": jnp.ones((num_examples,), jnp.float32),
        }

    def update(rows: PyTree, outputs: PyTree, batch: PyTree) -> PyTree:
        losses = softmax_cross_entropy(outputs, batch)
        old = rows["loss"]
        new = jnp.where(old < 0, losses, decay * old + (1 - decay) * losses)
        return {"loss": new, "chosen": rows["chosen"]}

    return Memory(init, update)


def smallest(
    losses: np.ndarray, labels: np.ndarray, where: np.ndarray, per_class: int
) -> np.ndarray:
    """bool [N]: of every class the `per_class` examples among `where` with the smallest m, those never
    seen last; all of `where` while none was seen.

    Args:
      losses: m, float [N]; below 0 for an example that was never seen.
      labels: as given, int [N].
      where: int [M], the positions to choose from.
      per_class: how many; a class with fewer gives all of its own.

    Example:
      >>> m, labels = np.array([0.3, 0.1, -1.0, 2.0]), np.array([0, 0, 0, 1])
      >>> smallest(m, labels, np.arange(4), 2).tolist()
      [True, True, False, True]
    """
    chosen = np.zeros(len(labels), bool)
    if (losses[where] < 0).all():
        chosen[where] = True
        return chosen
    order = where[np.argsort(np.where(losses < 0, np.inf, losses)[where], kind="stable")]
    for c in np.unique(labels[where]):
        chosen[order[labels[order] == c][:per_class]] = True
    return chosen


class SmallLoss:
    """A `Stream` of meta batches whose set is chosen anew as the training goes on."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        open_stream: Callable[[contextlib.ExitStack, np.ndarray], Stream],
        labels: np.ndarray,
        where: np.ndarray,
        per_class: int,
        every: int,
    ):
        """`open_stream` makes the stream of some positions, which ends with the stack it is given;
        `labels` as given; `where` the training set's positions; chosen anew `every` so many steps."""
        self._stack, self._open = stack.enter_context(contextlib.ExitStack()), open_stream
        self._labels, self._where = labels, where
        self._per_class, self._every = per_class, every
        self._stream, self._known = open_stream(self._stack, where), False

    def renewed(self, state: TrainState, t: int) -> TrainState:
        """The state before step t with the choice that holds in it; call it before every step."""
        kept = state.meta.memory
        if t % self._every == 0:
            losses = np.asarray(jax.device_get(kept["loss"]))
            chosen = smallest(losses, self._labels, self._where, self._per_class)
            placed = jax.device_put(chosen.astype(np.float32), kept["chosen"].sharding)
            meta = state.meta._replace(memory={**kept, "chosen": placed})
            state = state._replace(meta=meta)
        elif self._known:
            return state
        else:  # a run that goes on
            chosen = np.asarray(jax.device_get(kept["chosen"])) > 0
            chosen &= np.isin(np.arange(len(chosen)), self._where)
        self._stack.close()
        self._stream, self._known = self._open(self._stack, np.flatnonzero(chosen)), True
        return state

    def batch(self, step: int) -> dict[str, jax.Array]:
        """See `famus_jax.data.Stream`."""
        return self._stream.batch(step)
