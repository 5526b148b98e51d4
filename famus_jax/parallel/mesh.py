"""From one device to many, and from one process to several: meshes, batches, state, compilation.

The main road is the *global view*: `jax.jit` on arrays that are spread over a mesh. Nothing in a step
changes; XLA puts the communication in.

    mesh = data_mesh()
    batch, meta_batch = shard_batch((batch, meta_batch), mesh)
    train = train_step(..., compile_with=global_view(mesh))
    state = place(state, replicated(state, mesh))  # or sharded(state, mesh), if it does not fit

The other two run the step once per device, `axis` naming the mesh axis: `shard_mapped(mesh)` and
`pmapped()`; see `famus_jax.core.data_parallel` for what such a step sends. All give the numbers of one
device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

PyTree = Any
AXIS = "data"


def data_mesh(devices: Sequence[Any] | None = None, axis: str = AXIS) -> Mesh:
    """A mesh with one axis over `devices`, by default all devices of all processes."""
    devices = jax.devices() if devices is None else devices
    return Mesh(np.array(devices), (axis,), axis_types=(AxisType.Auto,))


def shard_batch(batch: PyTree, mesh: Mesh) -> PyTree:
    """A batch whose rows are spread over the mesh.

    Args:
      batch: arrays [n, ...]: the whole batch; with several processes the rows of this process, in the
        order of the processes (`famus_jax.data.order.local_rows`). Scalars go to every device.
      mesh: from `data_mesh`.

    Raises:
      ValueError: if the rows can't be divided evenly.
    """
    rows, everywhere = NamedSharding(mesh, P(mesh.axis_names[0])), NamedSharding(mesh, P())
    devices = mesh.local_devices

    def put(x: Any) -> jax.Array:
        if not np.ndim(x):
            return place(x, everywhere)
        size, *others = np.shape(x)
        if size % len(devices):
            raise ValueError(
                f"a batch with {size} rows on this process can't be divided among its "
                f"{len(devices)} devices: use a multiple of {len(devices)}"
            )
        if jax.process_count() == 1:
            return jax.device_put(x, rows)
        share = size // len(devices)
        pieces = [
            jax.device_put(x[i * share : (i + 1) * share], device)  # no detour over the host
            for i, device in enumerate(devices)
        ]
        shape = (share * mesh.size, *others)
        return jax.make_array_from_single_device_arrays(shape, rows, pieces)

    return jax.tree.map(put, batch)


def replicated(tree: PyTree, mesh: Mesh) -> PyTree:
    """Shardings that put a copy of every array on every device."""
    return jax.tree.map(lambda _: NamedSharding(mesh, P()), tree)


def sharded(tree: PyTree, mesh: Mesh, *, min_size: int = 2**14) -> PyTree:
    """Shardings that spread every large array over the devices, for models that do not fit (FSDP).

    Parameters and the state of their optimiser then take 1 / N of the memory; XLA gathers a layer where
    it is used and scatters the sums of its gradient.

    Args:
      tree: a state, of arrays or `jax.ShapeDtypeStruct`s.
      mesh: from `data_mesh`.
      min_size: arrays with fewer elements, and those that no axis of theirs divides, are copied.

    Returns:
      A tree of `NamedSharding`s: along the largest axis that N divides, the last of equals.
    """
    size, axis = mesh.size, mesh.axis_names[0]

    def spec(x: Any) -> NamedSharding:
        shape = np.shape(x)
        fitting = [(length, i) for i, length in enumerate(shape) if length % size == 0]
        if np.prod(shape) < min_size or not fitting:
            return NamedSharding(mesh, P())
        where = max(fitting)[1]
        return NamedSharding(mesh, P(*[None] * where, axis))

    return jax.tree.map(spec, tree)


def place(tree: PyTree, shardings: PyTree) -> PyTree:
    """The same values in these shardings (a tree like `tree`, or one for all), typed PRNG keys too.

    Every process must hold all of `tree`.
    """
    if isinstance(shardings, NamedSharding):
        one = shardings
        shardings = jax.tree.map(lambda _: one, tree)
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)

    def put(x: Any, sharding: NamedSharding) -> jax.Array:
        if jax.numpy.issubdtype(jax.numpy.result_type(x), jax.dtypes.prng_key):
            data = put(jax.random.key_data(x), sharding)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    return jax.tree.map(put, tree, shardings)


# --- ways to compile a step: for `train_step(..., compile_with=...)` ----------------------------

Step = Callable[..., Any]


def global_view(mesh: Mesh) -> Callable[[Step], Any]:
    """`jax.jit` on arrays spread over a mesh.

    The state is donated and comes back where it was: copied or spread, as `place` put it before the
    first step. All else comes back on every device.
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
    """`jax.shard_map`: the step runs once per device; it must know the mesh's axis by name."""
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
    """

    def stack(x: Any) -> Any:
        if not np.ndim(x):
            return np.broadcast_to(x, (count,))
        if np.shape(x)[0] % count:
            raise ValueError(f"a batch of {np.shape(x)[0]} can't be divided among {count} devices")
        return x.reshape(count, -1, *np.shape(x)[1:])

    return jax.tree.map(stack, batch)
