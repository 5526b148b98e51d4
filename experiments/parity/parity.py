"""Do many devices give the numbers of one?  python -m famus_jax.bench.parity --json PATH

Whole training steps of a tiny network, on 1, 2, 4 and 8 virtual CPU devices, in three ways
(`jax.jit` on sharded arrays, `jax.shard_map`, `jax.pmap`), for every objective and estimator, against
`jax.jit` on one device: largest differences of parameters, meta-parameters and metrics, relative to
the largest number of the array; gates and draws compared exactly.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from famus_jax.bench.parity_network import SIZES, examples, initial, tiny_network

from famus_jax import objectives, parallel
from famus_jax.core import estimators as est
from famus_jax.core.estimator import Estimator
from famus_jax.core.method import Method
from famus_jax.losses import logits_of
from famus_jax.uses.train_step import TrainState, TrainStep, train_step

PyTree = Any
WAYS = ("jit", "shard_map", "pmap")
NETWORKS = ("mlp", "batchnorm")
N, M, STEPS = 32, 16, 3
FLOAT32_BOUND = 1e-6  # of leaves that are float32 in a float64 run: an ulp is 1e-7

OBJECTIVES: dict[str, Callable[[], Method]] = {
    "mwnet sum": lambda: objectives.mwnet(hidden=7, meta_optimizer=optax.sgd(0.5, momentum=0.9)),
    "mwnet n": lambda: objectives.mwnet(
        hidden=7, normalize="n", meta_optimizer=optax.sgd(0.5, momentum=0.9)
    ),
    "l2r": objectives.l2r,
    "mlc": lambda: objectives.mlc(SIZES[-1]),
    "meta label correction": lambda: objectives.meta_label_correction(
        SIZES[-1], SIZES[-2], hidden=5, embedding=3, meta_optimizer=optax.sgd(0.5)
    ),
    "mixmatch": lambda: objectives.mixmatch(hidden=7, meta_optimizer=optax.sgd(0.5, momentum=0.9)),
    "cross_entropy": objectives.cross_entropy,
}

ESTIMATORS: dict[str, Estimator] = {
    "exact": est.exact(),
    "exact, vjp": est.exact(route="vjp"),
    "exact, a quarter": est.exact(part=0.25),
    "exact, optimizer": est.exact(through_optimizer=True),
    "second order": est.second_order(),
    "top 1, full": est.last_layers(1),
    "top 2, active only": est.last_layers(2, virtual_step="active"),
    "top 1, coasting": est.last_layers(1, virtual_step="active", closed="coast"),
    "top 1, one-pass": est.last_layers(1, virtual_step="actual"),
    "top 1, corrected": est.last_layers(1, control_variate_every=2),
    "random depth": est.random_depth(0.5),
    "random groups": est.random_layers(1),
    "learned gates": est.learned_gates("paper", target=2, lag=1, hidden=6, max_programs=2),
    "learned gates, budget": est.learned_gates(
        "budget", target=1.9, virtual_step="active", lag=2, hidden=6, max_programs=2
    ),
    "exact, every 2": est.exact(update_every=2),
    "finite difference": est.exact(route="finite_difference"),
    "darts": est.exact(route="darts"),
}
SMALL = ("exact", "exact, vjp", "top 2, active only", "learned gates, budget")


def fits(objective: str, estimator: str) -> bool:
    """Whether the pair has a meaning; a method without θ has one step, whatever the estimator."""
    if objective == "cross_entropy":
        return estimator == "exact"
    alone = ("exact, a quarter", "top 1, one-pass", "top 1, corrected")
    return objective not in ("l2r", "mlc") or estimator not in alone


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: what is run, and how."""

    objective: str
    estimator: str
    network: str
    way: str
    devices: int
    micro_batches: int = 1


def cases(
    small: bool = False, devices: Sequence[int] = (1, 2, 4, 8), ways: Sequence[str] = WAYS
) -> Iterator[Case]:
    """Every row of the table, or a small part of it that touches each kind of thing once."""
    for objective in OBJECTIVES:
        for estimator in SMALL if small else ESTIMATORS:
            for network in NETWORKS:
                if (small and (objective, network) not in _SMALL) or not fits(objective, estimator):
                    continue
                if network == "mlp" and objective not in ("mwnet sum", "l2r"):
                    continue
                for way in ways:
                    for count in devices:
                        yield Case(objective, estimator, network, way, count)


_SMALL = (("mwnet sum", "batchnorm"), ("l2r", "mlp"))


# --- one case ---------------------------------------------------------------------------------


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
    step = train_step(
        tiny_network(case.network, axis, case.objective == "meta label correction"),
        _in(OBJECTIVES[case.objective](), dtype),
        ESTIMATORS[case.estimator],
        optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.2, momentum=0.9)),
        learning_rate=0.2,
        params=params,
        model_state=model_state,
        batch=batch,
        metrics=_accuracy,
        micro_batches=case.micro_batches,
        axis=axis,
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
    infos, metrics = [], []
    for t in range(steps):
        batches = examples(t, N, dtype), examples(100 + t, M, dtype)
        if case.way in ("jit", "shard_map"):
            batches = parallel.shard_batch(batches, mesh)
        state, info, measured = step(state, *batches)
        infos.append(jax.device_get(info))
        metrics.append(jax.device_get(measured))
    meta = state.meta
    exact = [(info.branch, info.next_branch, info.open_layers, info.updated) for info in infos]
    if meta.gates:
        exact += [meta.gates.masks, meta.gates.branches]
        meta = meta._replace(gates=(meta.gates.eta, meta.gates.inputs))
    found = {
        "params": (state.params, state.opt_state, state.model_state),
        "theta": (meta.theta, meta.opt_state, meta.gates, meta.correction),
        "metrics": ([info._replace(branch=0, next_branch=0) for info in infos], metrics),
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


def _in(objective: Method, dtype: Any) -> Method:
    """θ in this dtype too."""
    init = objective.init
    return objective._replace(
        init=lambda key, n: jax.tree.map(lambda x: x.astype(dtype), init(key, n))
    )


def _accuracy(outputs: PyTree, batch: PyTree) -> dict[str, jax.Array]:
    return {"accuracy": (logits_of(outputs).argmax(-1) == batch["label"]).mean()}


# --- the table --------------------------------------------------------------------------------


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Markdown: per objective, estimator and network the worst of all ways and device counts.

    What is compared in float32 is shown under metrics, to which nearly all of it belongs.
    """
    worst: dict[tuple, dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("objective", "estimator", "network"))
        seen = worst.setdefault(key, {"params": 0, "theta": 0, "metrics": 0, "gates": True, "n": 0})
        for name in ("params", "theta", "metrics"):
            seen[name] = max(seen[name], row[name])
        seen["metrics"] = max(seen["metrics"], row.get("float32", 0.0))
        seen["gates"] &= row["gates"]
        seen["n"] += 1
    lines = ["| objective | estimator | network | programs | parameters | θ | metrics | gates |"]
    lines.append("|" + "---|" * 8)
    for key, seen in worst.items():
        numbers = [f"{seen[name]:.0e}" for name in ("params", "theta", "metrics")]
        same = "same" if seen["gates"] else "DIFFER"
        lines.append("| " + " | ".join([*key, str(seen["n"]), *numbers, same]) + " |")
    return "\n".join(lines)


def missing(chosen: Iterable[Case], rows: Iterable[dict[str, Any]]) -> list[Case]:
    """The cases that have no row yet."""
    names = [field.name for field in dataclasses.fields(Case)]
    known = {Case(**{name: row[name] for name in names}) for row in rows}
    return [case for case in chosen if case not in known]


def recorded(path: Path | None, dtype: Any) -> dict[str, Any]:
    """What the file has already: `rows` and the `provenance` of each command that made some.

    Raises ValueError where it was made in another precision, or is no JSON.
    """
    from famus_jax.files import read_json

    name = np.dtype(dtype).name
    if path is None or not path.exists():
        return {"dtype": name, "rows": [], "provenance": []}
    found = read_json(path)
    if found.get("dtype", "float64") != name:
        raise ValueError(f"{path} is of {found['dtype']}, this run of {name}: name another file")
    return {"dtype": name, **{k: found[k] for k in ("rows", "provenance")}}


def is_off(row: dict[str, Any], bound: float) -> bool:
    """Whether many devices gave other numbers than one, or other gates."""
    worst = max(row["params"], row["theta"], row["metrics"])
    return worst > bound or row.get("float32", 0.0) > FLOAT32_BOUND or not row["gates"]


def main(argv: list[str] | None = None) -> int:
    """Prints the table; 1 if a row is off. Rows that the file has already are not run again."""
    parser = argparse.ArgumentParser(prog="python -m famus_jax.bench.parity", description=__doc__)
    parser.add_argument("--json", type=Path, help="write all rows, with versions, to this file")
    parser.add_argument("--float32", action="store_true", help="in float32 (default: float64)")
    parser.add_argument("--small", action="store_true", help="a few rows only")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--objectives", nargs="+", choices=sorted(OBJECTIVES), help="only these")
    parser.add_argument("--estimators", nargs="+", choices=sorted(ESTIMATORS), help="only these")
    arguments = parser.parse_args(argv)
    command = [parser.prog, *(sys.argv[1:] if argv is None else argv)]
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiles faster
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_enable_x64", not arguments.float32)
    dtype, bound = (np.float32, 1e-4) if arguments.float32 else (np.float64, 1e-10)

    from tqdm import tqdm

    from famus_jax.files import write_json
    from famus_jax.provenance import provenance

    chosen = [
        case
        for case in cases(arguments.small, arguments.devices, arguments.ways)
        if case.estimator in (arguments.estimators or ESTIMATORS)
        and case.objective in (arguments.objectives or OBJECTIVES)
    ]
    try:
        result = recorded(arguments.json, dtype)
    except ValueError as error:
        parser.error(str(error))
    rows = result["rows"]
    chosen = missing(chosen, rows)
    if chosen:
        result["provenance"] = [*result["provenance"], provenance(command)]
    for before, case in zip([None, *chosen], tqdm(chosen, unit="program", mininterval=5)):
        if before and before.estimator != case.estimator:
            jax.clear_caches()  # hundreds of programs at once exhaust the memory maps of a process
        rows.append(compare(case, dtype))
        if arguments.json:  # it takes long: keep what there is
            write_json(arguments.json, result)
    off = [row for row in rows if is_off(row, bound)]
    print(table(rows))
    print(f"\n{len(rows)} programs, {len(off)} off by more than {bound:g}, {np.dtype(dtype).name}")
    for row in off:
        print("off:", row)
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
