"""Step cost of every estimator: FLOPs, memory and time over a plain step's."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(argv: Sequence[str]) -> int:
    """The benchmark's command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="famus benchmark", description=__doc__)
    parser.add_argument("--model", default="wrn_28_2", help="a network of famus_jax.models")
    parser.add_argument("--batch", type=int, default=32, help="training batch size n")
    parser.add_argument(
        "--meta_batch", type=int, default=None, help="meta batch size m (default: n)"
    )
    parser.add_argument("--image_size", type=int, default=32, help="height and width in pixels")
    parser.add_argument("--rounds", type=int, default=10, help="timed steps per variant")
    parser.add_argument("--variants", default="", help="only these rows, comma-separated")
    parser.add_argument("--json", type=Path, default=None, help="write rows and provenance here")
    args = parser.parse_args(list(argv))
    try:
        result = run_benchmark(
            args.model,
            args.batch,
            args.meta_batch or args.batch,
            image_size=args.image_size,
            rounds=args.rounds,
            only=[name for name in args.variants.split(",") if name],
            command=["famus benchmark", *argv],
        )
    except ValueError as error:
        print(f"famus benchmark: {error}", file=sys.stderr)
        return 1
    print(table(result))
    if args.json:
        from famus_jax.train.files import write_json

        write_json(args.json, result)
        print(f"written: {args.json}")
    return 0


def run_benchmark(
    model: str,
    n: int,
    m: int,
    *,
    image_size: int = 32,
    rounds: int = 10,
    only: Sequence[str] = (),
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compiles and times every variant; returns `{"rows": ..., "provenance": ..., ...}`.

    Raises:
      ValueError: for an unknown model or variant, or fewer than one round.
    """
    from tqdm import tqdm

    from famus_jax.bench.measure import compile_step, interleaved_seconds, rows_of
    from famus_jax.bench.variants import lowerings, make_workload
    from famus_jax.train.summary import provenance

    if rounds < 1:
        raise ValueError(f"rounds must be at least 1; got {rounds}")
    work = make_workload(model, n, m, image_size=image_size)
    lower = lowerings(work)
    unknown = [name for name in only if name not in lower]
    if unknown:
        raise ValueError(f"no variant {unknown[0]!r}; the variants are {list(lower)}")
    names = [name for name in lower if name == "plain" or not only or name in only]
    steps = {}
    with tqdm(names, desc="compiling", unit="program") as bar:
        for name in bar:
            bar.set_postfix_str(name)
            steps[name] = compile_step(*lower[name]())
    with tqdm(total=(rounds + 1) * len(steps), desc="timing", unit="step") as bar:
        seconds = interleaved_seconds(steps, rounds, lambda name: bar.update())
    return {
        "rows": rows_of(steps, seconds),
        "model": model,
        "batch": n,
        "meta_batch": m,
        "rounds": rounds,
        "groups": list(work.groups.names),
        "provenance": provenance(command),
    }


def table(result: dict[str, Any]) -> str:
    """The rows for people."""
    made = result["provenance"]
    lines = [
        f"\n{result['model']}, batch {result['batch']}, meta batch {result['meta_batch']}, "
        f"{len(result['groups'])} layer groups; {made['device']}, jax {made['versions']['jax']}",
        f"{'variant':24s} {'FLOPs':>7s} {'memory':>7s} {'time':>7s} {'ms':>9s} {'compile s':>10s}",
    ]
    for row in result["rows"]:
        lines.append(
            f"{row['variant']:24s} {row['flops_ratio']:7.3f} {row['temp_bytes_ratio']:7.3f} "
            f"{row['time_ratio']:7.3f} {row['step_ms']:9.2f} {row['compile_seconds']:10.1f}"
        )
    lines.append(
        "FLOPs, temporary memory and time over the plain step's; times are medians of "
        f"{result['rounds']} interleaved steps"
    )
    return "\n".join(lines)
