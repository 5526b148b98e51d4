"""One row of the parity table: some training steps of a tiny network, many devices against one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from experiments.parity.cases import ESTIMATORS, METHODS, Case, M, N
from experiments.parity.network import examples, initial, tiny_network
from famus_jax import Method, TrainState, parallel, problem, train_step
from famus_jax.losses import logits_of
from famus_jax.uses.train_step import TrainStep

PyTree = Any
STEPS = 3


def make(case: Case, dtype: Any) -> tuple[TrainStep, TrainState]:
    """The step of a case, compiled its way, and its first state."""
    devices = jax.devices()[: case.devices]
    if len(devices) < case.devices:
        raise ValueError(f"{case} needs {case.devices} devices; this process has {len(devices)}")
    mesh = parallel.data_mesh(devices)
    axis = None if case.way in ("one", "jit") else parallel.AXIS
    compile_with = {
        "one": lambda: None,
        "jit": lambda: parallel.global_view(mesh),
        "shard_map": lambda: parallel.shard_mapped(mesh),
        "pmap": lambda: parallel.pmapped(devices),
    }[case.way]()
    params, model_state = initial(case.network, dtype)
    batch, meta_batch = examples(0, N, dtype), examples(100, M, dtype)
    learned = problem(
        tiny_network(case.network, axis, case.method == "meta label correction"),
        _in(METHODS[case.method](), dtype),
        micro_batches=case.micro_batches,
        axis=axis,
    )
    step = train_step(
        learned,
        optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.2, momentum=0.9)),
        ESTIMATORS[case.estimator],
        step_size=0.2,
        metrics=_accuracy,
        compile_with=compile_with,
    )
    state = step.init(jax.random.key(1), params, model_state, batch, meta_batch)
    if case.way != "one":
        state = parallel.place(state, parallel.replicated(state, mesh))
    return step, state


def run(case: Case, dtype: Any, steps: int = STEPS) -> dict[str, PyTree]:
    """Some steps of a case: what is to be compared, on the host."""
    step, state = make(case, dtype)
    mesh = parallel.data_mesh(jax.devices()[: case.devices])
    infos = []
    for t in range(steps):
        batches = examples(t, N, dtype), examples(100 + t, M, dtype)
        if case.way in ("jit", "shard_map"):
            batches = parallel.shard_batch(batches, mesh)
        state, info = step(state, *batches)
        infos.append(jax.device_get(info))
    meta = state.meta
    exact: list[Any] = [(info.program, info.open_layers, info.updated) for info in infos]
    carried: PyTree = ()
    if meta.draws:
        exact += [meta.draws.factors, meta.draws.program]
        carried = meta.draws.carry
    found = {
        "params": (state.params, state.opt_state, state.model_state),
        "theta": (
            meta.theta,
            meta.opt_state,
            meta.active,
            carried,
            meta.control_variate,
            meta.memory,
        ),
        "metrics": [info._replace(program=0) for info in infos],
        "gates": exact,
    }
    return jax.tree.map(np.asarray, jax.device_get(found))


@functools.lru_cache(maxsize=4)
def one_device(case: Case, dtype: Any) -> dict[str, PyTree]:
    """The same with `jax.jit` on one device."""
    return run(dataclasses.replace(case, way="one", devices=1), dtype)


def compare(case: Case, dtype: Any = np.float64) -> dict[str, Any]:
    """A row: the case, the largest relative differences, and whether the gates are the same.

    In float64, leaves that are float32 all the same (the samplers, and what they report) are compared
    apart, as `float32`.
    """
    expected = one_device(dataclasses.replace(case, way="one", devices=1), dtype)
    found = run(case, dtype)
    row = dataclasses.asdict(case)

    def narrow(x: np.ndarray) -> bool:
        return x.dtype == np.float32 != np.dtype(dtype)

    compared = ("params", "theta", "metrics")
    for name in compared:
        row[name] = _difference(found[name], expected[name], lambda x: not narrow(x))
    row["float32"] = max(_difference(found[name], expected[name], narrow) for name in compared)
    pairs = zip(jax.tree.leaves(found["gates"]), jax.tree.leaves(expected["gates"]), strict=True)
    row["gates"] = all(np.array_equal(a, b) for a, b in pairs)
    return row


def _difference(found: PyTree, expected: PyTree, counts: Callable[[np.ndarray], bool]) -> float:
    """The largest among the leaves that count."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if not counts(np.asarray(b)):
            continue
        if np.shape(a) != np.shape(b) or not np.isfinite(b).all():
            return float("inf")
        if np.size(b):
            scale = max(float(np.abs(b).max()), 1e-3)
            worst = max(worst, float(np.abs(np.asarray(a, float) - b).max()) / scale)
    return worst


def _in(method: Method, dtype: Any) -> Method:
    """θ and the memory in this dtype too."""
    init, memory = method.init, method.memory

    def cast(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda x: x.astype(dtype), tree)

    if memory is not None:
        memory = memory._replace(init=lambda key, of=memory: cast(of.init(key)))
    return method._replace(init=lambda key, n: cast(init(key, n)), memory=memory)


def _accuracy(outputs: PyTree, batch: PyTree) -> dict[str, jax.Array]:
    return {"accuracy": (logits_of(outputs).argmax(-1) == batch["label"]).mean()}
