"""Where an experiment's arrays live: on one device, or spread over a mesh of one process or several."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from famus_jax import parallel

PyTree = Any


class Placement(NamedTuple):
    """The devices of an experiment.

    Attributes:
      mesh: all devices that take part; None for the default device alone.
      fsdp: spread parameters and optimizer state over them too.
    """

    mesh: Mesh | None = None
    fsdp: bool = False

    @property
    def compile_with(self) -> Callable[..., Any] | None:
        """For `train_step`."""
        return None if self.mesh is None else parallel.global_view(self.mesh)

    @property
    def hosts(self) -> dict[str, int]:
        """This process's share of every batch, as streams take it."""
        return {"host_index": jax.process_index(), "host_count": jax.process_count()}

    def check(self, sizes: dict[str, int]) -> None:
        """Raises `ValueError` unless every batch size is a multiple of the number of devices."""
        if self.mesh is None:
            return
        for name, size in sizes.items():
            if size % self.mesh.size:
                raise ValueError(
                    f"{name} = {size} can't be divided among {self.mesh.size} devices: use a multiple"
                )

    def state(self, state: PyTree) -> PyTree:
        """A training state, where the step wants it."""
        if self.mesh is None:
            return state
        how = parallel.sharded if self.fsdp else parallel.replicated
        return parallel.place(state, how(state, self.mesh))

    def batch(self, batch: PyTree) -> PyTree:
        """This process's rows of a batch as a part of the whole one."""
        return batch if self.mesh is None else parallel.shard_batch(batch, self.mesh)

    def everywhere(self, tree: PyTree) -> PyTree:
        """A copy on every device, so that each process can read all of it."""
        if self.mesh is None:
            return tree
        return _copy(self.mesh)(tree)

    def evaluated(self, batches: Iterable[PyTree]) -> Iterable[PyTree]:
        """Evaluation batches, of which every process has all rows."""
        if self.mesh is None:
            return batches
        spread = _Spread(batches, self.mesh)
        return list(spread) if isinstance(batches, list) else spread


ONE_DEVICE = Placement()


@functools.cache
def _copy(mesh: Mesh) -> Callable[[PyTree], PyTree]:
    return jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, P()))


@dataclasses.dataclass(frozen=True)
class _Spread:
    """Batches placed over a mesh as they come."""

    batches: Iterable[PyTree]
    mesh: Mesh

    def __iter__(self) -> Iterator[PyTree]:
        rows = NamedSharding(self.mesh, P(self.mesh.axis_names[0]))
        for batch in self.batches:
            yield parallel.place(batch, rows)
