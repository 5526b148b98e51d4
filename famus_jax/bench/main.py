"""Step cost of every estimator: FLOPs, memory and time over a plain step's, and the cosine of its meta
gradient to the exact one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(argv: Sequence[str]) -> int:
    """The benchmark's command line; returns the exit status."""
    args = _parser().parse_args(list(argv))
    try:
        result = run_benchmark(
            args.model,
            args.batch,
            args.meta_batch or args.batch,
            image_size=args.image_size,
            rounds=args.rounds,
            only=[name for name in args.variants.split(",") if name],
            which=args.set,
            dtype=args.dtype,
            remat=args.remat,
            micro_batches=args.micro_batches,
            draws=args.draws,
            phases=args.picture is not None,
            command=["famus benchmark", *argv],
        )
    except ValueError as error:
        print(f"famus benchmark: {error}", file=sys.stderr)
        return 1
    print(table(result))
    if args.picture:
        from famus_jax.bench.phases import phase_table
        from famus_jax.bench.pictures import draw_phases

        print(phase_table(result["phases"]))
        draw_phases(args.picture, result)
        print(f"written: {args.picture}")
    if args.json:
        from famus_jax.train.files import write_json

        write_json(args.json, result)
        print(f"written: {args.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    from famus_jax.bench.rows import SETS
    from famus_jax.bench.variants import DTYPES

    parser = argparse.ArgumentParser(prog="famus benchmark", description=__doc__)
    add = parser.add_argument
    add("--model", default="wrn_28_2", help="a network of famus_jax.models")
    add("--batch", type=int, default=32, help="training batch size n")
    add("--meta_batch", type=int, default=None, help="meta batch size m (default: n)")
    add("--image_size", type=int, default=32, help="height and width in pixels")
    add("--dtype", default="float32", choices=DTYPES, help="what the network computes in")
    add("--remat", action="store_true", help="rematerialise all but convolutions and products")
    add("--micro_batches", type=int, default=1, help="passes over the batch in so many parts")
    add("--rounds", type=int, default=10, help="timed steps per program")
    add("--set", default="core", choices=SETS, help="which rows (default: core)")
    add("--variants", default="", help="only these rows of all, comma-separated")
    add("--draws", type=int, default=4, help="random sets for the cosine; 0 computes no cosine")
    add("--json", type=Path, default=None, help="write rows and provenance here")
    add("--picture", type=Path, default=None, help="measure a step's phases; draw them here")
    return parser


def run_benchmark(
    model: str,
    n: int,
    m: int,
    *,
    image_size: int = 32,
    rounds: int = 10,
    only: Sequence[str] = (),
    which: str = "core",
    dtype: str = "float32",
    remat: bool = False,
    micro_batches: int = 1,
    draws: int = 4,
    phases: bool = False,
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compiles and times every row's programs; returns `{"rows": ..., "provenance": ..., ...}`.

    Args:
      model, n, m, image_size, dtype, remat, micro_batches: see `make_workload`.
      rounds: timed steps per program.
      only: these rows alone, of whatever set.
      which: the set of rows, `"core"` or `"all"`.
      draws: random sets of groups that closeness is averaged over; 0 leaves closeness out.
      phases: measure the phases of a step as well.
      command: what to write down as the command.

    Raises:
      ValueError: for an unknown model, row or set, or numbers that can't be.
    """
    from tqdm import tqdm

    from famus_jax.bench.closeness import KEYS, Closeness
    from famus_jax.bench.measure import compile_step, interleaved_seconds, kind, row_of
    from famus_jax.bench.rows import PLAIN, SETS, lower, rows
    from famus_jax.bench.variants import make_workload
    from famus_jax.train.summary import provenance

    if rounds < 1:
        raise ValueError(f"rounds must be at least 1; got {rounds}")
    if draws < 0:
        raise ValueError(f"draws must be at least 0 (0: no cosine); got {draws}")
    if which not in SETS:
        raise ValueError(f"set must be one of {SETS}; got {which!r}")
    if phases and micro_batches > 1:
        raise ValueError(
            f"the phases are told apart by FLOPs, which programs with micro_batches={micro_batches} "
            "(loops) have not: leave out --picture or --micro_batches"
        )
    work = make_workload(
        model, n, m, image_size=image_size, dtype=dtype, remat=remat, micro_batches=micro_batches
    )
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
    programs = dict.fromkeys(program for row in chosen for _, program in row.mix)
    steps, states = {}, {}
    with tqdm(programs, desc="compiling", unit="program") as bar:
        for program in bar:
            bar.set_postfix_str(program.label)
            lowered, state, arguments = lower(work, program)
            state = states.setdefault(kind(state), state)
            steps[program] = compile_step(lowered, state, arguments, loops=micro_batches > 1)
    with tqdm(total=(rounds + 1) * len(steps), desc="timing", unit="step") as bar:
        seconds = interleaved_seconds(steps, rounds, lambda name: bar.update())
    closeness = Closeness(work, draws) if draws else None
    table_rows = []
    for row in tqdm(chosen, desc="cosines", unit="row", disable=closeness is None):
        close: dict[str, float | None] = dict.fromkeys(KEYS)
        if closeness is not None:
            close = closeness.of(row)
        notes = [row.note] if row.note else []
        measured = row_of(row.mix, steps, seconds, PLAIN)
        if measured["flops"] is None:
            notes.append("no FLOP count: the program has loops")
        table_rows.append({"variant": row.name, **measured, **close, "note": "; ".join(notes)})
    result = {
        "rows": table_rows,
        "left_out": {} if only or which == "core" else left_out,
        "plain_flops": steps[PLAIN].flops,
        "model": model,
        "batch": n,
        "meta_batch": m,
        "image_size": image_size,
        "dtype": dtype,
        "remat": remat,
        "micro_batches": micro_batches,
        "rounds": rounds,
        "draws": draws,
        "groups": list(work.groups.names),
        "provenance": provenance(command),
    }
    if phases:
        from famus_jax.bench.phases import measure_phases

        del steps, states
        result["phases"] = measure_phases(work, rounds)
    return result


def table(result: dict[str, Any]) -> str:
    """The rows for people."""
    made = result["provenance"]
    how = [result["dtype"]] + ["rematerialised"] * result["remat"]
    how += [f"{result['micro_batches']} micro-batches"] * (result["micro_batches"] > 1)
    width = max(len(row["variant"]) for row in result["rows"])
    lines = [
        f"\n{result['model']}, batch {result['batch']}, meta batch {result['meta_batch']}, "
        f"{', '.join(how)}, {len(result['groups'])} layer groups; {made['device']} "
        f"({made['cores']} cores), jax {made['versions']['jax']}",
        f"{'variant':{width}s} {'FLOPs':>7s} {'memory':>7s} {'time':>7s} {'cosine':>7s} {'ms':>9s} "
        f"{'compile s':>10s}",
    ]
    for row in result["rows"]:
        lines.append(
            f"{row['variant']:{width}s} {_cell(row['flops_ratio'])} {row['temp_bytes_ratio']:7.3f} "
            f"{row['time_ratio']:7.3f} {_cell(row['cosine_weights'])} {row['step_ms']:9.2f} "
            f"{row['compile_seconds']:10.1f}"
        )
    lines += [f"left out: {name}: {why}" for name, why in result["left_out"].items()]
    absolute = result["plain_flops"]
    plain = "unknown" if absolute is None else f"{absolute:.4g}"
    lines.append(
        f"FLOPs (plain: {plain}), temporary memory and time over the plain step's; times are medians "
        f"of {result['rounds']} interleaved\nsteps. Steps that differ: means over the programs that "
        "they run, memory of the largest. cosine: to the exact\n∂L_val/∂V at this random network, "
        "mean over single draws."
    )
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return f"{'-':>7s}" if value is None else f"{value:7.3f}"
