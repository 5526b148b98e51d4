"""Meshes of devices, and arrays spread over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

PyTree = Any
AXIS = "data"


def data_mesh(devices: Sequence[Any] | None = None, axis: str = AXIS) -> Mesh:
    """A mesh with one axis over `devices`, by default all devices of all processes.

    >>> data_mesh(jax.devices()[:1]).shape["data"]
    1
    """
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), (axis,), (AxisType.Auto,), devices=devices)


def shard_batch(batch: PyTree, mesh: Mesh) -> PyTree:
    """A batch whose rows are spread over the mesh.

    Args:
      batch: arrays [n, ...]: the whole batch; with several processes the rows of this process, in the
        order of the processes (`famus_jax.data.order.local_rows`). Scalars go to every device.
      mesh: from `data_mesh`.

    Raises:
      ValueError: if the rows can't be divided evenly.

    >>> mesh = data_mesh(jax.devices()[:1])
    >>> tuple(shard_batch({"label": np.arange(4)}, mesh)["label"].sharding.spec)
    ('data',)
    """
    rows, everywhere = NamedSharding(mesh, P(mesh.axis_names[0])), NamedSharding(mesh, P())
    count = len(mesh.local_devices)

    def put(x: Any) -> jax.Array:
        if not np.ndim(x):
            return place(x, everywhere)
        if np.shape(x)[0] % count:
            raise ValueError(
                f"a batch with {np.shape(x)[0]} rows on this process can't be divided among its "
                f"{count} devices: use a multiple of {count}"
            )
        return jax.make_array_from_process_local_data(rows, x)

    return jax.tree.map(put, batch)


def replicated(tree: PyTree, mesh: Mesh) -> PyTree:
    """Shardings, for `place`, that put a copy of every array on every device.

    >>> state = {"w": np.ones(3)}
    >>> placed = place(state, replicated(state, data_mesh(jax.devices()[:1])))
    >>> placed["w"].is_fully_replicated
    True
    """
    return jax.tree.map(lambda _: NamedSharding(mesh, P()), tree)


def sharded(tree: PyTree, mesh: Mesh, *, min_size: int = 2**14) -> PyTree:
    """Shardings that spread every large array over the devices, for models that do not fit (FSDP).

    Parameters and the state of their optimizer then take 1 / N of the memory; XLA gathers a layer where
    it is used and scatters the sums of its gradient.

    Args:
      tree: a state, of arrays or `jax.ShapeDtypeStruct`s.
      mesh: from `data_mesh`.
      min_size: arrays with fewer elements, and those that no axis of theirs divides, are copied.

    Returns:
      A tree of `NamedSharding`s: along the largest axis that N divides, the last of equals.

    >>> mesh = data_mesh(jax.devices()[:1])
    >>> found = sharded({"kernel": np.ones((64, 512)), "bias": np.ones(8)}, mesh)
    >>> tuple(found["kernel"].spec), tuple(found["bias"].spec)
    ((None, 'data'), ())
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

    >>> mesh = data_mesh(jax.devices()[:1])
    >>> place({"w": np.ones(2)}, NamedSharding(mesh, P()))["w"].tolist()
    [1.0, 1.0]
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
