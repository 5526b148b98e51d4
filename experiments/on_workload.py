"""The command line of studies on a network with random data: the first flags of `famus benchmark`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax

from famus_jax.benchmark.command import add_workload
from famus_jax.benchmark.precision import precision_of
from famus_jax.benchmark.workload import Workload, make_workload
from famus_jax.files import write_json
from famus_jax.provenance import provenance


def study(
    name: str,
    argv: Sequence[str],
    doc: str | None,
    measure: Callable[[Workload, argparse.Namespace], list[dict[str, Any]]],
    table: Callable[[list[dict[str, Any]]], str],
    *,
    timed: bool = True,
    add_arguments: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
    finish: Callable[[argparse.Namespace, dict[str, Any]], object] = lambda args, result: None,
) -> int:
    """Measures, prints a table, writes the rows with their provenance; returns the exit status.

    Args:
      name: of the study; its rows stand under it in the file.
      argv: the command line, without the program.
      doc: what the study asks.
      measure: `(workload, arguments) -> rows`; a `ValueError` of it is told and ends in status 1.
      table: `rows -> text`.
      timed: whether the study has `--rounds` of `--block` steps.
      add_arguments: flags beyond those.
      finish: `(arguments, result)`, called at the end.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_workload(parser)
    if timed:
        parser.add_argument("--rounds", type=int, default=10, help="timed blocks per program")
        parser.add_argument("--block", type=int, default=1, help="steps in a block")
    add_arguments(parser)
    args = parser.parse_args(list(argv))
    n, m = args.batch, args.batch if args.meta_batch is None else args.meta_batch
    try:
        if timed and (args.rounds < 1 or args.block < 1):
            raise ValueError(
                f"rounds and block must be at least 1; got {args.rounds} and {args.block}"
            )
        number_format = precision_of(args.precision)
        with jax.default_matmul_precision(number_format.matmul):
            work = make_workload(
                args.model, n, m, image_size=args.image_size, dtype=number_format.dtype
            )
            rows = measure(work, args)
            made = provenance([parser.prog, *argv])
    except ValueError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    result = {
        name: rows,
        "model": args.model,
        "batch": n,
        "meta_batch": m,
        "image_size": args.image_size,
        "precision": args.precision,
        **({"rounds": args.rounds, "block": args.block} if timed else {}),
        "layers": list(work.layers.names),
        "provenance": made,
    }
    print(table(rows))
    if args.json:
        write_json(args.json, result)
        print(f"written: {args.json}")
    finish(args, result)
    return 0
