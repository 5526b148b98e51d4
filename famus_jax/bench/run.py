"""A benchmark from settings to a result: compile every program, time them in turn, make rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from tqdm import tqdm

from famus_jax.bench.closeness import KEYS, Closeness
from famus_jax.bench.joint_pass import measure_joint_pass
from famus_jax.bench.matrix_rate import matrix_rate
from famus_jax.bench.measure import Compiled, compile_step, interleaved_seconds, kind, row_of
from famus_jax.bench.phases import measure_phases
from famus_jax.bench.precision import precision_of
from famus_jax.bench.rows import PLAIN, SETS, Program, Row, lower, rows
from famus_jax.bench.strategies import measure_strategies
from famus_jax.bench.variants import Workload, lower_plain, make_workload
from famus_jax.core.variants import variant_cost
from famus_jax.provenance import provenance

_TRACED = 3  # steps of every program in a profiler trace


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
    draws: int = 4,
    phases: bool = False,
    strategies: bool = False,
    joint_pass: bool = False,
    trace: Path | None = None,
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compiles and times every row's programs; returns `{"rows": ..., "provenance": ..., ...}`.

    Args:
      model, n, m, image_size, remat, micro_batches: see `make_workload`.
      rounds: timed blocks per program.
      only: these rows alone, of whatever set.
      which: the set of rows, `"core"` or `"all"`.
      precision: a name of `famus_jax.bench.precision`.
      block: steps in a block; see `interleaved_seconds`.
      draws: random sets of groups that closeness is averaged over; 0 leaves closeness out.
      phases: measure the phases of a step as well.
      strategies: measure the host's dispatch beside `lax.switch` as well.
      joint_pass: measure both batches in one pass through a frozen trunk as well.
      trace: a folder for a profiler trace of three steps of every program.
      command: what to write down as the command.

    Raises:
      ValueError: for an unknown model, row, set or precision, or numbers that can't be.
    """
    if rounds < 1 or block < 1:
        raise ValueError(f"rounds and block must be at least 1; got {rounds} and {block}")
    if draws < 0:
        raise ValueError(f"draws must be at least 0 (0: no cosine); got {draws}")
    if which not in SETS:
        raise ValueError(f"set must be one of {SETS}; got {which!r}")
    if phases and micro_batches > 1:
        raise ValueError(
            f"the phases are told apart by FLOPs, which programs with micro_batches={micro_batches} "
            "(loops) have not: leave out --picture or --micro_batches"
        )
    number_format = precision_of(precision)
    settings = {"image_size": image_size, "remat": remat, "micro_batches": micro_batches}
    with jax.default_matmul_precision(number_format.matmul):
        work = make_workload(model, n, m, dtype=number_format.dtype, **settings)
        chosen, left_out = _chosen(work, only, which)
        steps = _compile(work, chosen)
        if trace is not None:
            _trace(steps, trace)
        with tqdm(total=(rounds + 1) * len(steps), desc="timing", unit="block") as bar:
            seconds = interleaved_seconds(steps, rounds, lambda name: bar.update(), block=block)
        rate = matrix_rate(number_format)
        closeness = Closeness(work, draws) if draws else None
        table_rows = []
        for row in tqdm(chosen, desc="cosines", unit="row", disable=closeness is None):
            measured = row_of(row.mix, steps, seconds, PLAIN, rate.flops_per_second)
            close: dict[str, float | None] = dict.fromkeys(KEYS)
            if closeness is not None:
                close = closeness.of(row)
            table_rows.append(
                {
                    "variant": row.name,
                    "passes": _passes(work, row),
                    **measured,
                    **close,
                    "note": _note(row, measured),
                }
            )
        result = {
            "rows": table_rows,
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
            "draws": draws,
            "groups": list(work.groups.names),
            "matrix_rate": rate._asdict(),
            "device_memory": dict(jax.devices()[0].memory_stats() or {}),
            "provenance": provenance(command),
        }
        del steps, seconds
        if strategies:
            with tqdm(desc="strategies", unit="block") as bar:
                result["strategies"] = measure_strategies(
                    work, rounds, block=block, on_block=lambda name: bar.update()
                )
        if joint_pass:
            with tqdm(desc="joint pass", unit="block") as bar:
                result["joint_pass"] = measure_joint_pass(
                    work, rounds, block=block, on_block=lambda name: bar.update()
                )
        if phases:
            result["phases"] = measure_phases(work, rounds)
    return result


def _chosen(work: Workload, only: Sequence[str], which: str) -> tuple[list[Row], dict[str, str]]:
    """The rows asked for, `plain` always first, and why others can't be had."""
    known, left_out = rows(work)
    for name in only:
        if name in left_out:
            raise ValueError(f"variant {name!r} can't be had here: {left_out[name]}")
        if name not in [row.name for row in known]:
            raise ValueError(f"no variant {name!r}; the variants are {[r.name for r in known]}")
    chosen = [
        row
        for row in known
        if row.name == "plain" or (row.name in only if only else row.core or which == "all")
    ]
    return chosen, left_out


def _compile(work: Workload, chosen: Sequence[Row]) -> dict[Program, Compiled]:
    """Every program once; states of one kind are there once."""
    programs = dict.fromkeys(program for row in chosen for _, program in row.mix)
    # Elsewhere than on the CPU a compiler may make loops of its own: those programs go uncounted.
    loops = work.micro_batches > 1 or jax.devices()[0].platform != "cpu"
    steps, states = {}, {}
    with tqdm(programs, desc="compiling", unit="program") as bar:
        for program in bar:
            bar.set_postfix_str(program.label)
            lowered, state, arguments = lower(work, program)
            state = states.setdefault(kind(state), state)
            steps[program] = compile_step(lowered, state, arguments, loops=loops)
    return steps


def _trace(steps: dict[Program, Compiled], folder: Path) -> None:
    """A profiler trace: every program's steps under its label, on copies of the states."""
    states = {kind(step.state): step.state for step in steps.values()}
    states = {of: jax.tree.map(jnp.copy, state) for of, state in states.items()}

    def take(step: Compiled) -> None:
        of = kind(step.state)
        states[of], *rest = step.run(states[of], *step.arguments)
        jax.block_until_ready((states[of], rest))

    for step in steps.values():  # what only happens once stays out of the trace
        take(step)
    with jax.profiler.trace(str(folder)):
        for program, step in steps.items():
            for _ in range(_TRACED):
                with jax.profiler.TraceAnnotation(program.label):
                    take(step)


def _passes(work: Workload, row: Row) -> float:
    """The prediction: forward and backward passes of a step over a plain step's, by analysis."""
    problem, rho = work.problem(row.method, row.by), work.m / work.n
    return sum(
        share * variant_cost(problem, program.estimator, rho, program.variant)
        if program.estimator
        else share
        for share, program in row.mix
    )


def _note(row: Row, measured: dict[str, Any]) -> str:
    notes = [row.note] if row.note else []
    if measured["flops"] is None:
        notes.append("no FLOP count: the program has loops, or XLA gives none here")
    return "; ".join(notes)


def _flops_before_xla(work: Workload) -> float | None:
    """The plain step's FLOPs as lowered, on every platform alike: a check of XLA's own count there."""
    analysis = lower_plain(work)[0].cost_analysis()
    return float(analysis["flops"]) if analysis and "flops" in analysis else None
