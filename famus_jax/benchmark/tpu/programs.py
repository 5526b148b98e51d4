"""The process that compiles for a TPU topology:  python -m famus_jax.benchmark.tpu.programs OUT

Reads its settings as JSON from standard input (see `describe`), writes a result, or
`{"error": ...}`, to OUT. `famus_jax.benchmark.tpu.topology` starts it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from famus_jax import parallel
from famus_jax.benchmark.precision import precision_of
from famus_jax.benchmark.rows import PLAIN, StepProgram
from famus_jax.benchmark.run import chosen_rows
from famus_jax.benchmark.tpu.collectives import PHASES, collectives
from famus_jax.benchmark.workload import Place, make_workload
from famus_jax.files import write_json
from famus_jax.progress import Progress
from famus_jax.provenance import provenance

PyTree = Any
MEASURED = ("flops", "bytes", "cycles", "temp_bytes", "sent_bytes")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')


def describe(
    topology: str,
    model: str,
    batch: int,
    meta_batch: int,
    *,
    chips: int = 1,
    fsdp: bool = False,
    image_size: int = 32,
    precision: str = "bfloat16",
    remat: bool = False,
    only: Sequence[str] = (),
    which: str = "core",
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Compiles every row's programs for a topology and reads what the compiler says of them.

    Args:
      topology: see `famus_jax.benchmark.tpu.topology`.
      model, batch, meta_batch, image_size, precision, remat, only, which: as of `run_benchmark`.
      chips: over how many devices of it the batch is spread, the first ones.
      fsdp: spread parameters and optimizer state over them too.
      command: what to write down as the command.

    Returns:
      `rows`: per row and over the plain step's, all of one device: FLOPs; bytes that operations read
      and write, in whatever memory; the compiler's estimate of the time, in cycles; temporary memory
      apart from what fits on the chip itself; and what collectives bring, in bytes, by stage and kind.
    """
    from jax.experimental import topologies

    with _silent():
        found = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    if not 1 <= chips <= len(found.devices):
        raise ValueError(f"chips must lie in [1, {len(found.devices)}] for {topology}; got {chips}")
    if fsdp and chips == 1:
        raise ValueError("fsdp spreads parameters over chips: say how many, chips=4")
    number_format = precision_of(precision, "tpu")
    with jax.default_matmul_precision(number_format.matmul):
        work = make_workload(
            model,
            batch,
            meta_batch,
            image_size=image_size,
            dtype=number_format.dtype,
            remat=remat,
        )
        rows, _ = chosen_rows(work, only, which)
        place, compile_with = _placed(found.devices[:chips], fsdp)
        programs = dict.fromkeys(program for row in rows for _, program in row.mix)
        read: dict[StepProgram, dict[str, Any]] = {}
        with Progress(len(programs), "program") as progress:
            progress.describe(f"compiling for {topology}")
            for program in programs:
                progress.note(program.label)
                read[program] = _read(program.lower(work, place, compile_with)[0])
                progress.update()
    return {
        "topology": topology,
        "device_kind": found.devices[0].device_kind,
        "chips": chips,
        "fsdp": fsdp,
        "model": model,
        "batch": batch,
        "meta_batch": meta_batch,
        "image_size": image_size,
        "precision": precision,
        "remat": remat,
        "plain": read[PLAIN],
        "rows": [
            {
                "row": row.name,
                "passes": sum(share * program.passes(work) for share, program in row.mix),
                **_row(row.mix, read),
            }
            for row in rows
        ],
        "provenance": {**provenance(command), "compiler": _compiler()},
    }


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without standard error: libtpu complains there that it finds no TPU, whatever it is told."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _placed(devices: Sequence[Any], fsdp: bool) -> tuple[Place, Callable[..., Any] | None]:
    """Shapes on the topology's devices in the place of arrays, and how a step is compiled there."""
    if len(devices) == 1:
        one = SingleDeviceSharding(devices[0])
        return lambda state, batches: _shapes((state, batches), lambda x: one), None
    mesh = Mesh(np.array(devices), (parallel.AXIS,))
    rows, everywhere = NamedSharding(mesh, P(parallel.AXIS)), NamedSharding(mesh, P())

    def place(state: PyTree, batches: tuple[PyTree, ...]) -> tuple[PyTree, tuple[PyTree, ...]]:
        shardings = parallel.sharded(state, mesh) if fsdp else parallel.replicated(state, mesh)
        placed = jax.tree.map(
            lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
            jax.tree.map(jax.numpy.asarray, state),
            shardings,
        )
        return placed, _shapes(batches, lambda x: rows if np.ndim(x) else everywhere)

    return place, parallel.global_view(mesh)


def _shapes(tree: PyTree, where: Callable[[Any], Any]) -> PyTree:
    def shape(x: Any) -> jax.ShapeDtypeStruct:
        x = jax.numpy.asarray(x)
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where(x))

    return jax.tree.map(shape, tree)


def _read(lowered: Any) -> dict[str, Any]:
    """What the compiler says of a program, of one device."""
    start = time.perf_counter()
    compiled = lowered.compile()
    took = time.perf_counter() - start
    memory = compiled.memory_analysis()
    said: Any = compiled.cost_analysis()
    sent = {name: 0 for name in (*PHASES, "rest")}
    kinds: dict[str, int] = {}
    text = compiled.as_text()
    for one in collectives(text):
        sent[one.phase] += one.bytes
        kinds[one.kind] = kinds.get(one.kind, 0) + one.bytes
    return {
        "flops": said["flops"],
        "bytes": said["bytes accessed"],
        "cycles": sum(map(int, _CYCLES.findall(text))),
        "optimal_seconds": said["optimal_seconds"],  # of tiny programs a negative number
        "temp_bytes": memory.temp_size_in_bytes,
        "argument_bytes": memory.argument_size_in_bytes,
        "sent_bytes": sum(sent.values()),
        "sent": sent,
        "sent_kinds": kinds,
        "compile_seconds": round(took, 1),
    }


def _row(mix: Sequence[tuple[float, StepProgram]], read: dict[StepProgram, Any]) -> dict[str, Any]:
    """Means over the programs of a row by their shares; of memory, the largest."""
    plain, row = read[PLAIN], {}
    for name in MEASURED:
        values = [(share, read[program][name]) for share, program in mix]
        if name == "temp_bytes":
            row[name] = max(value for _, value in values)
        else:
            row[name] = sum(share * value for share, value in values)
        row[f"{name}_ratio"] = row[name] / plain[name] if plain[name] else None
    for name in ("sent", "sent_kinds"):
        keys = dict.fromkeys(key for _, program in mix for key in read[program][name])
        row[name] = {
            key: sum(share * read[program][name].get(key, 0) for share, program in mix)
            for key in keys
        }
    row["compile_seconds"] = sum(read[program]["compile_seconds"] for _, program in mix)
    return row


def _compiler() -> str:
    from importlib.metadata import version

    return f"libtpu {version('libtpu')}"


def main(out: Path) -> int:
    """Settings from standard input to a result in a file; returns the exit status."""
    try:
        result = describe(**json.load(sys.stdin))
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        write_json(out, {"error": lines[0]})
        return 1
    write_json(out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
