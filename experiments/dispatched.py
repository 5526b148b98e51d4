"""A training step that picks one of its compiled programs each time, to be timed as one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from famus_jax.benchmark.measure import Compiled
from famus_jax.uses.train_step import TrainStep

PyTree = Any


def dispatched(
    step: TrainStep,
    state: PyTree,
    batches: tuple[PyTree, ...],
    on_info: Callable[[Any], object] = lambda info: None,
) -> Compiled:
    """For `interleaved_seconds`; every step's diagnostics, still on the device, go to `on_info`."""

    def run(state: PyTree, *batches: PyTree) -> tuple[PyTree]:
        state, info = step(state, *batches)
        on_info(info)
        return (state,)

    return Compiled(
        run=run, state=state, arguments=batches, compilations=lambda: len(step.compiled)
    )
