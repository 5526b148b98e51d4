"""From one device to many, and from one process to several: meshes, batches, state, compilation.

The main road is the *global view*: `jax.jit` on arrays that are spread over a mesh. Nothing in a step
changes; XLA puts the communication in.

    mesh = data_mesh()
    batch, meta_batch = shard_batch((batch, meta_batch), mesh)
    train = train_step(..., compile_with=global_view(mesh))
    state = place(state, replicated(state, mesh))  # or sharded(state, mesh), if it does not fit

The other two run the step once per device, `axis` naming the mesh axis: `shard_mapped(mesh)` and
`pmapped()`; see `famus_jax.differentiate.collectives` for what such a step sends. All give the
numbers of one device.
"""

from famus_jax.parallel.compile import global_view, pmapped, shard_mapped, stacked
from famus_jax.parallel.mesh import AXIS, data_mesh, place, replicated, shard_batch, sharded

__all__ = [
    "AXIS",
    "data_mesh",
    "global_view",
    "place",
    "pmapped",
    "replicated",
    "shard_batch",
    "shard_mapped",
    "sharded",
    "stacked",
]
