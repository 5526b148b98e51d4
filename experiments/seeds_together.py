"""What many seeds in one program cost over one: small networks on digits, MW-Net as it comes.

    python -m experiments.seeds_together --json=results/seeds_together.json

An MLP of one or two hidden layers, n = 64, m = 8, SGD with momentum. A step of `seeds_together` for so
many seeds over a step of one by `train_step`, medians of interleaved blocks of ten steps.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import famus_jax
from famus_jax.benchmark.measure import Compiled, interleaved_seconds
from famus_jax.files import write_json
from famus_jax.models import build_model
from famus_jax.provenance import provenance

PyTree = Any
HIDDEN = ((32,), (128,), (256, 256))
COUNTS = (1, 2, 5, 10)


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.seeds_together", description=__doc__
    )
    parser.add_argument("--json", type=Path, required=True, help="written")
    parser.add_argument("--rounds", type=int, default=15, help="blocks of each, in turn")
    args = parser.parse_args(list(argv))
    rows = [row for hidden in HIDDEN for row in rows_of(hidden, args.rounds)]
    made = provenance(["python -m experiments.seeds_together", *argv])
    write_json(args.json, {"rows": rows, "provenance": made})
    print("\n".join(map(str, rows)))
    return 0


def rows_of(hidden: tuple[int, ...], rounds: int) -> list[dict[str, Any]]:
    """A network's rows."""
    train, *each = parts(hidden)
    one = train.init(jax.random.key(1), *each)
    steps = {0: Compiled(train, one, tuple(each[2:]))}
    for count in COUNTS:
        params, model_state, *batches = stacked = copies(each, count)
        del params, model_state
        step = famus_jax.seeds_together(train.twin())
        states = step.init(jax.random.split(jax.random.key(1), count), *stacked)
        steps[count] = Compiled(step, states, tuple(batches))
    times = interleaved_seconds(steps, rounds, block=10, shared=False)
    medians = {count: statistics.median(values) for count, values in times.items()}
    shared = {"hidden": hidden, "one_ms": round(1e3 * medians[0], 3)}
    return [
        {**shared, "seeds": count, "over_one": round(medians[count] / medians[0], 2)}
        for count in COUNTS
    ]


def parts(hidden: tuple[int, ...]) -> tuple[Any, PyTree, PyTree, PyTree, PyTree]:
    """The training step, and one seed's network and batches."""
    model = build_model("mlp", 10, hidden=hidden)

    def batch(n: int) -> PyTree:
        return {"image": jnp.ones((n, 8, 8, 1)), "label": jnp.arange(n) % 10}

    params, model_state = famus_jax.linen_init(model, jax.random.key(0), batch(1)["image"])
    problem = famus_jax.problem(famus_jax.linen_forward(model), famus_jax.mwnet())
    train = famus_jax.train_step(problem, optax.sgd(0.03, momentum=0.9), step_size=0.03)
    return train, params, model_state, batch(64), batch(8)


def copies(each: PyTree, count: int) -> PyTree:
    """Every array so often."""
    return jax.tree.map(lambda x: jnp.stack([x] * count), each)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
