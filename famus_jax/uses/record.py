"""What a training step writes down of every example; what it trains does not depend on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

PyTree = Any


class Record(NamedTuple):
    """Sums over a run that are kept in the compiled step, on the device.

    Attributes:
      init: `() -> ` the sums before the first step, a pytree of arrays.
      update: `(sums, outputs, batch) -> sums`; outputs and batch are those of all devices.
    """

    init: Callable[[], PyTree]
    update: Callable[[PyTree, PyTree, PyTree], PyTree]


def recorded(record: Record | None, sums: PyTree, outputs: PyTree, batch: PyTree) -> PyTree:
    """The sums after a step; as they were without a record.

    XLA sees the outputs through a barrier: it compiles the step itself as it would without them.
    """
    if record is None:
        return sums
    return record.update(sums, jax.lax.optimization_barrier(outputs), batch)
