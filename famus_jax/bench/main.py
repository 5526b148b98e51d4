"""Step cost of every estimator: FLOPs, memory and time over a plain step's, the share of the chip's
matrix rate, and the cosine of its meta gradient to the exact one.

The networks of the paper, on an accelerator (each with a full and a quarter meta batch):

    famus benchmark --model=wrn_28_10 --batch=100 --precision=bfloat16 --block=10
    famus benchmark --model=wrn_28_10 --batch=100 --meta_batch=25 --precision=bfloat16 --block=10
    famus benchmark --model=preact_resnet_18 --batch=64 --meta_batch=16 --precision=tf32 --block=10
    famus benchmark --model=wrn_28_2 --batch=128 --meta_batch=32 --precision=float32 --block=10
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from famus_jax.bench.text import joint_pass_table, strategy_table, table


def main(argv: Sequence[str]) -> int:
    """The benchmark's command line; returns the exit status."""
    from famus_jax.bench.run import run_benchmark

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
            precision=args.precision,
            block=args.block,
            remat=args.remat,
            micro_batches=args.micro_batches,
            draws=args.draws,
            phases=args.picture is not None,
            strategies=args.strategies,
            joint_pass=args.joint_pass,
            trace=args.trace,
            command=["famus benchmark", *argv],
        )
    except ValueError as error:
        print(f"famus benchmark: {error}", file=sys.stderr)
        return 1
    print(table(result))
    if args.strategies:
        print(strategy_table(result["strategies"]))
    if args.joint_pass:
        print(joint_pass_table(result["joint_pass"]))
    if args.picture:
        from famus_jax.bench.phases import phase_table
        from famus_jax.bench.pictures import draw_phases

        print(phase_table(result["phases"]))
        draw_phases(args.picture, result)
        print(f"written: {args.picture}")
    if args.json:
        from famus_jax.files import write_json

        write_json(args.json, result)
        print(f"written: {args.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    from famus_jax.bench.precision import PRECISIONS
    from famus_jax.bench.rows import SETS

    parser = argparse.ArgumentParser(
        prog="famus benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", default="wrn_28_2", help="a network of famus_jax.models")
    add("--batch", type=int, default=32, help="training batch size n")
    add("--meta_batch", type=int, default=None, help="meta batch size m (default: n)")
    add("--image_size", type=int, default=32, help="height and width in pixels")
    add("--precision", default="float32", choices=PRECISIONS, help="the format of the products")
    add("--remat", action="store_true", help="rematerialise all but convolutions and products")
    add("--micro_batches", type=int, default=1, help="passes over the batch in so many parts")
    add("--rounds", type=int, default=10, help="timed blocks per program")
    add("--block", type=int, default=1, help="steps in a block, after which the host waits")
    add("--set", default="core", choices=SETS, help="which rows (default: core)")
    add("--variants", default="", help="only these rows of all, comma-separated")
    add("--draws", type=int, default=4, help="random sets for the cosine; 0 computes no cosine")
    add("--strategies", action="store_true", help="time the host's dispatch beside lax.switch")
    add("--joint_pass", action="store_true", help="time both batches in one pass of the trunk")
    add("--trace", type=Path, default=None, help="write a profiler trace of every program here")
    add("--json", type=Path, default=None, help="write rows and provenance here")
    add("--picture", type=Path, default=None, help="measure a step's phases; draw them here")
    return parser
