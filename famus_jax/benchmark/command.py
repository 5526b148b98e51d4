"""Step cost of every estimator: FLOPs, memory and time over a plain step's, and the share of the
chip's matrix rate. How close each comes to the exact meta gradient: `experiments/agreement`.

The networks of the paper, on an accelerator:

    famus benchmark --model=wrn_28_10 --batch=100 --precision=bfloat16 --block=10
    famus benchmark --model=preact_resnet_18 --batch=64 --meta_batch=16 --precision=tf32 --block=10
    famus benchmark --model=wrn_28_2 --batch=128 --meta_batch=32 --precision=float32 --block=10
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `famus benchmark`."""
    from famus_jax.benchmark.rows import SETS

    add_workload(parser)
    add = parser.add_argument
    add("--rounds", type=int, default=10, help="timed blocks per program")
    add("--block", type=int, default=1, help="steps in a block, after which the host waits")
    add("--remat", action="store_true", help="rematerialize all but convolutions and products")
    add("--micro_batches", type=int, default=1, help="passes over the batch in so many parts")
    add("--set", default="core", choices=SETS, help="which rows (default: core)")
    add("--rows", default="", help="only these rows of all, comma-separated")
    add("--trace", type=Path, default=None, help="write a profiler trace of every program here")


def add_workload(parser: argparse.ArgumentParser) -> None:
    """The flags that say on what network and data, in what format, and where the result goes."""
    from famus_jax.benchmark.precision import PRECISIONS

    add = parser.add_argument
    add("--model", default="wrn_28_2", help="a network of famus_jax.models")
    add("--batch", type=int, default=32, help="training batch size n")
    add("--meta_batch", type=int, default=None, help="meta batch size m (default: n)")
    add("--image_size", type=int, default=32, help="height and width in pixels")
    add("--precision", default="float32", choices=PRECISIONS, help="the format of the products")
    add("--json", type=Path, default=None, help="write rows and provenance here")


def run(arguments: argparse.Namespace) -> int:
    """`famus benchmark`; returns the exit status."""
    from famus_jax.benchmark.run import run_benchmark
    from famus_jax.benchmark.text import table
    from famus_jax.files import write_json

    result = run_benchmark(
        arguments.model,
        arguments.batch,
        arguments.batch if arguments.meta_batch is None else arguments.meta_batch,
        image_size=arguments.image_size,
        rounds=arguments.rounds,
        only=[name for name in arguments.rows.split(",") if name],
        which=arguments.set,
        precision=arguments.precision,
        block=arguments.block,
        remat=arguments.remat,
        micro_batches=arguments.micro_batches,
        trace=arguments.trace,
        command=arguments.command_line,
    )
    print(table(result))
    if arguments.json:
        write_json(arguments.json, result)
        print(f"written: {arguments.json}")
    return 0
