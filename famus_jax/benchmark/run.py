"""A benchmark from settings to a result: compile every program, time them in turn, make rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.benchmark.measure import Compiled, compile_step, interleaved_seconds, kind, row_of
from famus_jax.benchmark.precision import matrix_rate, precision_of
from famus_jax.benchmark.rows import PLAIN, SETS, Row, StepProgram, rows
from famus_jax.benchmark.workload import Workload, lower_plain, make_workload
from famus_jax.progress import Progress
from famus_jax.provenance import provenance


def run_benchmark(
    model: str,
    n: int,
    m: int,
    *,
    image_size: int = 32,
    rounds: int = 10,
    only: Sequence[str] = (),
    which: str = "core",
    precision: str = "float32",
    block: int = 1,
    remat: bool = False,
    micro_batches: int = 1,
    trace: Path | None = None,
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compiles and times every row's programs; returns `{"rows": ..., "provenance": ..., ...}`.

    Args:
      model, n, m, image_size, remat, micro_batches: see `make_workload`.
      rounds, block: timed blocks per program, and steps in each; see `interleaved_seconds`.
      only: these rows alone, of whatever set.
      which: the set of rows, `"core"` or `"all"`.
      precision: a name of `famus_jax.benchmark.precision`.
      trace: a folder for a profiler trace of three steps of every program.
      command: what to write down as the command.

    Raises:
      ValueError: for an unknown model, row, set or precision, or numbers that can't be.
    """
    if rounds < 1 or block < 1:
        raise ValueError(f"rounds and block must be at least 1; got {rounds} and {block}")
    if which not in SETS:
        raise ValueError(f"set must be one of {SETS}; got {which!r}")
    number_format = precision_of(precision)
    settings = {"image_size": image_size, "remat": remat, "micro_batches": micro_batches}
    with jax.default_matmul_precision(number_format.matmul):
        work = make_workload(model, n, m, dtype=number_format.dtype, **settings)
        chosen, left_out = chosen_rows(work, only, which)
        steps = _compile(work, chosen)
        if trace is not None:
            _trace(steps, trace)
        seconds = interleaved_seconds(steps, rounds, block=block, title="timing")
        rate = matrix_rate(number_format)
        return {
            "rows": [_row(work, row, steps, seconds, rate.flops_per_second) for row in chosen],
            "left_out": {} if only or which == "core" else left_out,
            "plain_flops": steps[PLAIN].flops,
            "plain_flops_before_xla": _flops_before_xla(work),
            "model": model,
            "batch": n,
            "meta_batch": m,
            "precision": precision,
            "dtype": number_format.dtype,
            **settings,
            "rounds": rounds,
            "block": block,
            "layers": list(work.layers.names),
            "matrix_rate": rate._asdict(),
            "device_memory": dict(jax.devices()[0].memory_stats() or {}),
            "provenance": provenance(command),
        }


def chosen_rows(
    work: Workload, only: Sequence[str], which: str
) -> tuple[list[Row], dict[str, str]]:
    """The rows asked for, `plain` always first, and why others can't be had."""
    known, left_out = rows(work)
    for name in only:
        if name in left_out:
            raise ValueError(f"row {name!r} can't be had here: {left_out[name]}")
        if name not in [row.name for row in known]:
            raise ValueError(f"no row {name!r}; the rows are {[row.name for row in known]}")

    def wanted(row: Row) -> bool:
        return row.name in only if only else row.core or which == "all"

    return [row for row in known if row.name == "plain" or wanted(row)], left_out


def _compile(work: Workload, chosen: Sequence[Row]) -> dict[StepProgram, Compiled]:
    """Every program once; states of one kind are there once."""
    programs = dict.fromkeys(program for row in chosen for _, program in row.mix)
    # Elsewhere than on the CPU a compiler may make loops of its own: those programs go uncounted.
    loops = work.micro_batches > 1 or jax.devices()[0].platform != "cpu"
    steps, states = {}, {}
    with Progress(len(programs), "program") as progress:
        progress.describe("compiling")
        for program in programs:
            progress.note(program.label)
            lowered, state, arguments = program.lower(work)
            state = states.setdefault(kind(state), state)
            steps[program] = compile_step(lowered, state, arguments, loops=loops)
            progress.update()
    return steps


def _trace(steps: dict[StepProgram, Compiled], folder: Path) -> None:
    """A profiler trace: every program's steps under its label, on copies of the states."""
    states = {kind(step.state): jax.tree.map(jnp.copy, step.state) for step in steps.values()}

    def take(step: Compiled) -> None:
        of = kind(step.state)
        states[of], *rest = step.run(states[of], *step.arguments)
        jax.block_until_ready((states[of], rest))

    for step in steps.values():  # what only happens once stays out of the trace
        take(step)
    with jax.profiler.trace(str(folder)):
        for program, step in steps.items():
            for _ in range(3):
                with jax.profiler.TraceAnnotation(program.label):
                    take(step)


def _row(work: Workload, row: Row, steps, seconds, rate: float) -> dict[str, Any]:
    measured = row_of(row.mix, steps, seconds, PLAIN, rate)
    notes = [row.note] if row.note else []
    if measured["flops"] is None:
        notes.append("no FLOP count: the program has loops, or XLA gives none here")
    passes = sum(share * program.passes(work) for share, program in row.mix)
    return {"row": row.name, "passes": passes, **measured, "note": "; ".join(notes)}


def _flops_before_xla(work: Workload) -> float | None:
    """The plain step's FLOPs as lowered, on every platform alike: a check of XLA's own count there."""
    analysis = lower_plain(work)[0].cost_analysis()
    return float(analysis["flops"]) if analysis and "flops" in analysis else None
