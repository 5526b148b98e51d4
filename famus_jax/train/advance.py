"""How a run of one network takes a step: a batch, what is made of it, the compiled step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from famus_jax.data import Stream
from famus_jax.train import loop
from famus_jax.train.placement import ONE_DEVICE, Placement
from famus_jax.uses.train_state import TrainState
from famus_jax.uses.train_step import TrainStep

PyTree = Any


class Preparation(Protocol):
    """What makes a training batch of what the stream gives, by the present state: mixtures, targets.

    A pure function of the state and of the batch's `"step"`, so that a run can be resumed.
    """

    compiled: set[bool]
    """Which of its programs have been compiled."""

    def passes(self, t: int) -> float:
        """What it costs at step t, in plain steps of one network."""
        ...

    def __call__(self, state: TrainState, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch that the step trains on."""
        ...

    def first(self, params: PyTree, model_state: PyTree, batch: PyTree) -> dict[str, Any]:
        """The shapes of such a batch, for what looks at them before there is a state."""
        ...


class OneNetwork:
    """`loop.Advance` for one network, or for two that are trained as one (`famus_jax.forward.pair`).

    Args:
      step: the compiled step.
      stream: the training batches.
      meta_stream: the meta batches, if there are any.
      placement: the devices.
      preparation: makes the training batch of what the stream gives; None for nothing.
      networks: how many.
      refit: `(state, t) -> state` before step t: what is fitted to the whole training set now and then;
        None for nothing.
    """

    def __init__(
        self,
        step: TrainStep,
        stream: Stream,
        meta_stream: Stream | None,
        placement: Placement = ONE_DEVICE,
        preparation: Preparation | None = None,
        networks: int = 1,
        refit: Callable[[TrainState, int], TrainState] | None = None,
    ):
        self._step, self._stream, self._meta_stream = step, stream, meta_stream
        self._placement, self._preparation = placement, preparation
        self._networks, self._refit = networks, refit

    @property
    def compilations(self) -> int:
        """See `loop.Advance`."""
        prepares = () if self._preparation is None else self._preparation.compiled
        return len(self._step.compiled) + len(prepares)

    def __call__(self, state: TrainState, t: int) -> tuple[TrainState, tuple[loop.Taken]]:
        """See `loop.Advance`. A batch says at which step it is used, for losses that change."""
        if self._refit is not None:
            state = self._refit(state, t)
        batch = self._placement.batch(numbered(self._stream.batch(t), t))
        meta_batch = None
        if self._meta_stream is not None:
            meta_batch = self._placement.batch(numbered(self._meta_stream.batch(t), t))
        if self._preparation is not None:
            batch = self._preparation(state, batch)
        state, info = self._step(state, batch, meta_batch)
        if self._networks > 1:  # the loss of one, the cost of all
            info = info._replace(loss=info.loss / self._networks, cost=info.cost * self._networks)
        if self._preparation is not None:
            info = info._replace(cost=info.cost + self._preparation.passes(t))
        index = self._placement.everywhere(batch["index"])
        return state, (loop.Taken(index, info),)


def numbered(batch: dict[str, Any], t: int) -> dict[str, Any]:
    """The batch with its step, an int32 scalar, as `"step"`."""
    return {**batch, "step": np.int32(t)}
