"""One program per device: everything that devices tell each other. No other file has collectives.

Symbols: N devices along a mesh axis, each with n / N of the n training examples and m / N of the m
trusted ones, in the order of the devices; f_d, J_d = outputs and derivative on device d's examples;
c = ∂T/∂f, and c_d = its rows for device d; v = a direction in parameter space.

Under `jax.shard_map` and `jax.pmap` a step runs once per device. All of θ's influence comes after the
network's outputs, and outputs are small, so every device gathers them from all, computes T, the weights
and c for the whole batch (alike everywhere), and goes on with its own rows:

    f = gather(f_d),    J v = gather(J_d v),    Jᵀ c = Σ_d J_dᵀ c_d.

Hence a method may normalize, sort or mix over the batch as it likes, samplers see the whole
gradient, and gates are drawn alike. No collective is ever differentiated (but those that a network
has inside it, such as synchronized BatchNorm): whether that sums over devices by itself depends on
`shard_map`'s `check_vma` and on `pmap`. Parameters are declared to vary from device to device before
anything is differentiated, and what comes out is summed here, which is right in all of them.

With `axis` None, one device or the global view of `jax.jit`, every function here is the identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from famus_jax.differentiate.linearize import (
    Differentiate,
    Forward,
    Linearized,
    split_outputs,
)
from famus_jax.layers.partition import Layers, Part

PyTree = Any


def device_count(axis: str | None) -> int:
    """N, the number of devices along `axis`.

    Raises:
      ValueError: outside of a program that has such an axis.
    """
    if axis is None:
        return 1
    if unbound(axis):
        raise ValueError(
            f"axis={axis!r} is for programs that run once per device, and this one has no such axis: "
            f"call it inside jax.shard_map or jax.pmap(..., axis_name={axis!r}), or leave axis out "
            "(jax.jit on sharded arrays needs none)"
        )
    return jax.lax.axis_size(axis)


def device_index(axis: str | None) -> jax.Array | int:
    """Which of the devices along `axis` this one is."""
    return 0 if axis is None else jax.lax.axis_index(axis)


def unbound(axis: str | None) -> str | None:
    """`axis`, if the program being traced does not have it."""
    if axis is None:
        return None
    try:
        jax.lax.axis_size(axis)
    except NameError:
        return axis
    return None


def check_axis(axis: str | None, params: PyTree, batch: PyTree) -> None:
    """Refuses a batch that is divided along a mesh axis that nobody named.

    Looks at `shard_map`'s types, so with `check_vma=False` and under `pmap` it sees nothing. A network
    of its own on every device is no mistake.

    Raises:
      ValueError: naming the axis; or for an `axis` outside of a program that has it.
    """
    device_count(axis)

    def axes(tree: PyTree) -> set[str]:
        return {a for x in jax.tree.leaves(tree) for a in jax.typeof(x).manual_axis_type.varying}

    if forgotten := axes(batch) - axes(params) - {axis}:
        name = min(forgotten)
        raise ValueError(
            f"the batch is divided along the mesh axis {name!r} but axis={axis!r}, so that each device "
            f"would reweight and learn by its own share alone: pass axis={name!r}"
        )


def gather(tree: PyTree, axis: str | None) -> PyTree:
    """The rows of all devices, in their order, alike on each; scalars stay as they are.

    What is gathered and then not read is not sent: XLA drops it.
    """
    if axis is None:
        return tree

    def rows(x: Any) -> Any:
        if not jnp.ndim(x):
            return x
        return jax.lax.all_gather(pvary(x, axis), axis, tiled=True, to="invarying")

    return jax.tree.map(rows, tree)


def local_rows(tree: PyTree, axis: str | None) -> PyTree:
    """This device's rows of arrays that are alike on every device."""
    if axis is None:
        return tree
    devices, index = device_count(axis), jax.lax.axis_index(axis)

    def rows(x: jax.Array) -> jax.Array:
        size = x.shape[0] // devices
        return jax.lax.dynamic_slice_in_dim(pvary(x, axis), index * size, size)

    return jax.tree.map(rows, tree)


def pvary(tree: PyTree, axis: str | None) -> PyTree:
    """The same values, declared to vary from device to device, so that derivatives stay local."""
    if axis is None:
        return tree

    def vary(x: Any) -> Any:
        varies = axis in jax.typeof(x).manual_axis_type.varying
        return x if varies else jax.lax.pcast(x, axis, to="varying")

    return jax.tree.map(vary, tree)


def psum(tree: PyTree, axis: str | None) -> PyTree:
    """Sums over devices."""
    return tree if axis is None else jax.lax.psum(pvary(tree, axis), axis)


def pmean(tree: PyTree, axis: str | None) -> PyTree:
    """Means over devices of the floating-point leaves; counters and keys are taken to be alike."""
    if axis is None:
        return tree

    def mean(x: Any) -> Any:
        dtype = jnp.result_type(x)
        if jnp.issubdtype(dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(
                mean(jax.random.key_data(x)), impl=jax.random.key_impl(x)
            )
        if jnp.issubdtype(dtype, jnp.inexact):
            return jax.lax.psum(pvary(x, axis), axis) / device_count(axis)
        return jax.lax.pmax(
            pvary(x.astype(jnp.int32) if dtype == jnp.bool_ else x, axis), axis
        ).astype(dtype)

    return jax.tree.map(mean, tree)


def vary_like(x: jax.Array, other: jax.Array) -> jax.Array:
    """x, declared to vary along the axes that `other` varies along."""
    return jax.lax.pcast(x, tuple(jax.typeof(other).manual_axis_type.varying), to="varying")


def device_key(key: jax.Array, axis: str | None) -> jax.Array:
    """A key of this device's own, so that no two devices draw the same dropout mask."""
    if axis is None or key is None:
        return key
    return jax.random.fold_in(pvary(key, axis), jax.lax.axis_index(axis))


def shape_of(function: Any, axis: str | None, *args: PyTree) -> PyTree:
    """`jax.eval_shape(function, *args)`, for a function that names `axis`, as if on one device."""
    if axis is None or unbound(axis) is None:
        return jax.eval_shape(function, *args)
    mesh = AbstractMesh((1,), (axis,), axis_types=(AxisType.Auto,))
    alone = jax.shard_map(function, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False)
    return jax.eval_shape(alone, *args)


def gathered_outputs(
    outputs: PyTree, size: int, axis: str | None
) -> tuple[list[jax.Array], PyTree]:
    """`split_outputs` of the whole batch's outputs.

    Raises:
      ValueError: if an output of one device has another leading size than `size`, its examples.
    """
    shapes = [jnp.shape(x) for x in jax.tree.leaves(outputs)]
    if axis is not None and any(shape[:1] != (size,) for shape in shapes):
        raise ValueError(
            f"axis={axis!r} gathers the outputs of all devices, so that each output must lead with "
            f"the batch axis of {size}; got shapes {shapes}. For a term that the network adds to the "
            "loss, return one number per example"
        )
    return split_outputs(gather(outputs, axis))


def on_all_devices(how: Differentiate, axis: str | None) -> Differentiate:
    """Another `how` (`linearize` and its like): on this device's examples, its result that of all
    devices'."""
    if axis is None:
        return how

    def differentiate(
        forward: Forward,
        params: PyTree,
        model_state: PyTree,
        rng: jax.Array,
        batch: PyTree,
        layers: Layers,
    ) -> Linearized:
        params, model_state = pvary((params, model_state), axis)
        mine = how(forward, params, model_state, device_key(rng, axis), batch, layers)
        size = next(jnp.shape(x)[0] for x in jax.tree.leaves(batch) if jnp.ndim(x))
        f, rest = gathered_outputs(mine.outputs, size, axis)

        def jvp(v: Part, active: Sequence[int]) -> list[jax.Array]:
            return gather(mine.jvp(pvary(v, axis), active), axis)

        def vjp(c: list[jax.Array]) -> PyTree:
            return psum(mine.vjp(local_rows(c, axis)), axis)

        def vjp_part(c: list[jax.Array], active: Sequence[int]) -> Part:
            # Linear, with `jvp` as its transpose: said here, so that no sum is differentiated.
            @jax.custom_vjp
            def linear(c):
                return psum(mine.vjp_part(local_rows(c, axis), active), axis)

            linear.defvjp(lambda c: (linear(c), None), lambda _, v: (jvp(v, active),))
            return linear(c)

        def shifted(v: Part, active: Sequence[int]):
            assert mine.shifted is not None
            plus, minus, eps = mine.shifted(pvary(v, axis), active)
            return gather(plus, axis), gather(minus, axis), pmean(eps, axis)

        return Linearized(
            f=f,
            rest=rest,
            batch=gather(batch, axis),
            model_state=pmean(mine.model_state, axis),
            jvp=jvp,
            vjp=vjp,
            vjp_part=vjp_part,
            shifted=shifted if mine.shifted is not None else None,
        )

    return differentiate
