"""Step cost of every estimator: FLOPs, memory and time over a plain step's, and the share of the
chip's matrix rate. How close each comes to the exact meta gradient: `experiments/agreement`.

The networks of the paper, on an accelerator:

    famus benchmark --model=wrn_28_10 --batch=100 --precision=bfloat16 --block=10
    famus benchmark --model=preact_resnet_18 --batch=64 --meta_batch=16 --precision=tf32 --block=10
    famus benchmark --model=wrn_28_2 --batch=128 --meta_batch=32 --precision=float32 --block=10

Without one, the programs of a TPU as its compiler makes them (extra "tpu"): estimates, nothing is run:

    famus benchmark --compile_for=v5e:2x2 --model=wrn_10_2 --batch=128 --precision=bfloat16
    famus benchmark --compile_for=v5e:4x4 --chips=16 --fsdp --rows=all_layers,last_layer_active
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from famus_jax.cli.overrides import UsageError


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
    add(
        "--compile_for",
        default="",
        help="compile for a TPU that is not here, like v5e:2x2",
    )
    add("--chips", type=int, default=1, help="with --compile_for: spread the batch over so many")
    add(
        "--fsdp",
        action="store_true",
        help="with --compile_for: spread the parameters over them too",
    )


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
    from famus_jax.files import write_json

    result, table = (_compiled_for if arguments.compile_for else _timed)(
        arguments,
        {
            "image_size": arguments.image_size,
            "only": [name for name in arguments.rows.split(",") if name],
            "which": arguments.set,
            "precision": arguments.precision,
            "remat": arguments.remat,
        },
    )
    print(table)
    if arguments.json:
        write_json(arguments.json, result)
        print(f"written: {arguments.json}")
    return 0


def _timed(arguments: argparse.Namespace, settings: dict[str, Any]) -> tuple[dict, str]:
    """Compiled for this machine, and run."""
    from famus_jax.benchmark.run import run_benchmark
    from famus_jax.benchmark.text import table

    if arguments.chips != 1 or arguments.fsdp:
        raise UsageError("--chips and --fsdp need --compile_for=TOPOLOGY, like v5e:2x2")
    result = run_benchmark(
        arguments.model,
        arguments.batch,
        arguments.batch if arguments.meta_batch is None else arguments.meta_batch,
        rounds=arguments.rounds,
        block=arguments.block,
        micro_batches=arguments.micro_batches,
        trace=arguments.trace,
        command=arguments.command_line,
        **settings,
    )
    return result, table(result)


def _compiled_for(arguments: argparse.Namespace, settings: dict[str, Any]) -> tuple[dict, str]:
    """Compiled for a TPU that isn't here."""
    from famus_jax.benchmark.tpu.text import topology_table
    from famus_jax.benchmark.tpu.topology import compiled_for

    if arguments.trace or arguments.micro_batches != 1:
        raise UsageError("--trace and --micro_batches are for programs that run: not --compile_for")
    asked = {
        "model": arguments.model,
        "batch": arguments.batch,
        "meta_batch": arguments.batch if arguments.meta_batch is None else arguments.meta_batch,
        "chips": arguments.chips,
        "fsdp": arguments.fsdp,
        **settings,
    }
    result = compiled_for(arguments.compile_for, asked, arguments.command_line)
    return result, topology_table(result)
