"""Accuracy that counts every example once, of one network or of an ensemble; losses of a whole set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.core.method import ExampleLoss
from famus_jax.differentiate.linearize import Forward
from famus_jax.losses import logits_of, softmax_cross_entropy
from famus_jax.uses.record import Record
from famus_jax.uses.train_state import TrainState
from famus_jax.uses.train_step import Metrics

PyTree = Any
Member = tuple[PyTree, PyTree]
"""A network's parameters and model state."""
TOP, MANY_CLASSES = 5, 20
"""Among how many first choices the label is looked for too, and with how many classes."""


def evaluated(state: TrainState, averaged: bool) -> Member:
    """What of a training state is evaluated: the moving average of its network (`schedule.ema`), or the
    network as the last step left it."""
    return state.average if averaged else (state.params, state.model_state)


class Evaluator:
    """A network evaluated on padded batches, compiled once for all runs of an experiment."""

    def __init__(self, forward: Forward):
        """`forward` in evaluation mode: running statistics, no dropout."""

        def logits(member: Member, batch: PyTree) -> jax.Array:
            return forward(*member, None, batch)[0]  # type: ignore[arg-type]

        def correct(members: Sequence[Member], batch: PyTree) -> jax.Array:
            total = jnp.asarray(sum(logits(member, batch) for member in members))
            hits = [total.argmax(-1) == batch["label"]]
            if total.shape[-1] >= MANY_CLASSES:
                hits.append(among_first(total, batch["label"], TOP))
            mask = batch["mask"]
            return jnp.stack([mask.sum(), *((hit * mask).sum() for hit in hits)])

        def losses(member: Member, batch: PyTree) -> jax.Array:
            return softmax_cross_entropy(logits(member, batch), batch)

        def recorded(sums: PyTree, member: Member, batch: PyTree, record: Record):
            z = logits(member, batch)
            real = {**batch, "index": jnp.where(batch["mask"] > 0, batch["index"], -1)}
            return softmax_cross_entropy(z, batch), record.update(sums, z, real)

        self._correct, self._losses = jax.jit(correct), jax.jit(losses)
        self._recorded = jax.jit(recorded, static_argnames="record")

    def accuracies(self, members: Sequence[Member], batches: Iterable[PyTree]) -> dict[str, float]:
        """By the mean of all logits, the share of examples whose label is the first choice,
        `"accuracy"`, and, with at least 20 classes, one of the first five, `"top5"`."""
        sums = [self._correct(tuple(members), batch) for batch in batches]
        count, *hits = jax.device_get(sum(sums[1:], start=sums[0])).tolist()
        return {name: hit / count for name, hit in zip(("accuracy", "top5"), hits)}

    def on_sets(
        self, members: Sequence[Member], sets: Mapping[str, Iterable[PyTree]]
    ) -> dict[str, float]:
        """`accuracies` on several sets, named like `"test_accuracy"`."""
        return {
            f"{name}_{metric}": value
            for name, batches in sets.items()
            for metric, value in self.accuracies(members, batches).items()
        }

    def losses(self, member: Member, batches: Iterable[PyTree]) -> tuple[np.ndarray, np.ndarray]:
        """Cross-entropies float32 [M] and indices int32 [M] of all examples, as the batches come."""
        return _gathered([(self._losses(member, b), b["index"], b["mask"]) for b in batches])

    def recorded_losses(
        self, member: Member, batches: Iterable[PyTree], record: Record, sums: PyTree
    ) -> tuple[tuple[np.ndarray, np.ndarray], PyTree]:
        """The same with the sums of a record after it, from the same forward passes."""
        seen = []
        for batch in batches:
            values, sums = self._recorded(sums, member, batch, record=record)
            seen.append((values, batch["index"], batch["mask"]))
        return _gathered(seen), sums


def among_first(logits: jax.Array, label: jax.Array, k: int) -> jax.Array:
    """Whether the label is one of the k first choices: bool [n].

    Equal logits count against the label, and a NaN is no choice: in doubt it is a miss.

    >>> logits = jnp.array([[3.0, 1.0, 2.0], [0.0, 0.0, 0.0], [jnp.nan, 1.0, 2.0]])
    >>> among_first(logits, jnp.array([2, 0, 0]), k=2).tolist()
    [True, False, False]
    """
    own = jnp.take_along_axis(logits, label[:, None], axis=-1)
    place = (logits >= own).sum(-1)
    return (place >= 1) & (place <= k)


def _gathered(seen: Sequence[tuple[Any, Any, Any]]) -> tuple[np.ndarray, np.ndarray]:
    values, index, mask = (np.concatenate(x) for x in zip(*jax.device_get(seen), strict=True))
    return values[mask > 0], index[mask > 0]


def training_accuracy(outputs: PyTree, batch: PyTree) -> dict[str, jax.Array]:
    """Accuracy against the batch's own labels: a metric of the training step."""
    return {
        "train_accuracy": (logits_of(outputs).argmax(-1) == batch["label"]).mean(dtype=jnp.float32)
    }


def with_losses(example_loss: ExampleLoss) -> Metrics:
    """`training_accuracy` and the losses themselves, float [n], as `"losses"`: what `measure` holds
    the weights against. The step is compiled as it would be without them (see `Record`).

    Args:
      example_loss: what the weights are for.
    """

    def metrics(outputs: PyTree, batch: PyTree) -> dict[str, jax.Array]:
        losses = example_loss(jax.lax.optimization_barrier(outputs), batch)
        return {**training_accuracy(outputs, batch), "losses": losses}

    return metrics
