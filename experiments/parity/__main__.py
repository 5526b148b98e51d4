"""Do many devices give the numbers of one?

    python -m experiments.parity --json results/parity.json

Whole training steps of a tiny network, on 1, 2, 4 and 8 virtual CPU devices, in three ways
(`jax.jit` on sharded arrays, `jax.shard_map`, `jax.pmap`), for every method and estimator, against
`jax.jit` on one device: largest differences of parameters, meta-parameters and metrics, relative to
the largest number of the array; gates and draws compared exactly.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import jax
import numpy as np

from experiments.parity.cases import ESTIMATORS, METHODS, WAYS, cases
from experiments.parity.compare import compare
from experiments.parity.table import is_off, missing, recorded, table
from famus_jax.files import write_json
from famus_jax.progress import track
from famus_jax.provenance import provenance


def main(argv: list[str] | None = None) -> int:
    """Prints the table; 1 if a row is off. Rows that the file has already are not run again."""
    parser = argparse.ArgumentParser(prog="python -m experiments.parity", description=__doc__)
    parser.add_argument("--json", type=Path, help="write all rows, with versions, to this file")
    parser.add_argument("--float32", action="store_true", help="in float32 (default: float64)")
    parser.add_argument("--small", action="store_true", help="a few rows only")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--methods", nargs="+", choices=sorted(METHODS), help="only these")
    parser.add_argument("--estimators", nargs="+", choices=sorted(ESTIMATORS), help="only these")
    arguments = parser.parse_args(argv)
    command = [parser.prog, *(sys.argv[1:] if argv is None else argv)]
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiles faster
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_enable_x64", not arguments.float32)
    dtype, bound = (np.float32, 1e-4) if arguments.float32 else (np.float64, 1e-10)

    chosen = [
        case
        for case in cases(arguments.small, arguments.devices, arguments.ways)
        if case.estimator in (arguments.estimators or ESTIMATORS)
        and case.method in (arguments.methods or METHODS)
    ]
    try:
        result = recorded(arguments.json, dtype)
    except ValueError as error:
        parser.error(str(error))
    rows = result["rows"]
    chosen = missing(chosen, rows)
    if chosen:
        result["provenance"] = [*result["provenance"], provenance(command)]
    for before, case in zip([None, *chosen], track(chosen, "program")):
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
