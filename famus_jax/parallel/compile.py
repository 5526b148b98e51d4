"""Ways to compile a step for many devices: for `train_step(..., compile_with=...)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from famus_jax.parallel.mesh import AXIS

PyTree = Any
Step = Callable[..., Any]


def global_view(mesh: Mesh) -> Callable[[Step], Any]:
    """`jax.jit` on arrays spread over a mesh.

    The state is donated and comes back where it was: copied or spread, as `place` put it before the
    first step. All else comes back on every device.

    >>> from famus_jax.parallel import data_mesh
    >>> step = global_view(data_mesh(jax.devices()[:1]))(lambda state, batch: (state + 1, batch, ()))
    >>> float(step(np.zeros(()), np.ones(2))[0])
    1.0
    """
    return lambda step: _GlobalView(step, NamedSharding(mesh, P()))


class _GlobalView:
    """Compiles when the first state tells where it lives."""

    def __init__(self, step: Step, everywhere: NamedSharding):
        self._step, self._everywhere, self._jitted = step, everywhere, None

    def _for(self, state: PyTree) -> Any:
        def where(x: Any) -> NamedSharding:
            sharding = getattr(x, "sharding", None)
            return sharding if isinstance(sharding, NamedSharding) else self._everywhere

        if self._jitted is None:
            out = (jax.tree.map(where, state), self._everywhere, self._everywhere)
            self._jitted = jax.jit(self._step, donate_argnums=0, out_shardings=out)
        return self._jitted

    def __call__(self, state: PyTree, *batches: PyTree) -> Any:
        return self._for(state)(state, *batches)

    def lower(self, state: PyTree, *batches: PyTree) -> Any:
        """As of a compiled function."""
        return self._for(state).lower(state, *batches)


def shard_mapped(mesh: Mesh) -> Callable[[Step], Any]:
    """`jax.shard_map`: the step runs once per device; it must know the mesh's axis by name.

    >>> from famus_jax.parallel import data_mesh
    >>> def step(state, batch, meta_batch):
    ...     return state + jax.lax.psum(batch.sum(), "data")
    >>> compiled = shard_mapped(data_mesh(jax.devices()[:1]))(step)
    >>> float(compiled(np.zeros(()), np.ones(2)))
    2.0
    """
    rows = P(mesh.axis_names[0])

    def compiled(step: Step) -> Any:
        def mapped(state: PyTree, batch: PyTree, meta_batch: PyTree = None) -> Any:
            specs = jax.tree.map(lambda x: rows if np.ndim(x) else P(), (batch, meta_batch))
            per_device = jax.shard_map(step, mesh=mesh, in_specs=(P(), *specs), out_specs=P())
            return per_device(state, batch, meta_batch)

        return jax.jit(mapped, donate_argnums=0)

    return compiled


def pmapped(devices: Sequence[Any] | None = None, axis: str = AXIS) -> Callable[[Step], Any]:
    """`jax.pmap`, state and results without a leading device axis; batches are whole ones [n, ...].

    Maintained by JAX for code that has it; `shard_mapped` compiles to the same program.

    >>> step = pmapped(jax.devices()[:1])(lambda state, batch, meta_batch: state + 1)
    >>> float(step(np.zeros(()), np.ones(2), np.ones(2)))
    1.0
    """
    devices = list(jax.devices() if devices is None else devices)

    def compiled(step: Step) -> Any:
        mapped = jax.pmap(
            step,
            axis_name=axis,
            in_axes=(None, 0, 0),
            out_axes=None,  # type: ignore[arg-type]
            devices=devices,
            donate_argnums=0,
        )

        def call(state: PyTree, batch: PyTree, meta_batch: PyTree) -> Any:
            return mapped(state, *stacked((batch, meta_batch), len(devices)))

        call.lower = lambda state, batch, meta_batch: mapped.lower(  # type: ignore[attr-defined]
            state, *stacked((batch, meta_batch), len(devices))
        )
        return call

    return compiled


def stacked(batch: PyTree, count: int) -> PyTree:
    """[n, ...] -> [count, n / count, ...], as `jax.pmap` wants it; scalars are repeated.

    Raises:
      ValueError: if `count` does not divide n.

    >>> stacked(np.arange(4), 2).tolist()
    [[0, 1], [2, 3]]
    """

    def stack(x: Any) -> Any:
        if not np.ndim(x):
            return np.broadcast_to(x, (count,))
        if np.shape(x)[0] % count:
            raise ValueError(f"a batch of {np.shape(x)[0]} can't be divided among {count} devices")
        return x.reshape(count, -1, *np.shape(x)[1:])

    return jax.tree.map(stack, batch)
