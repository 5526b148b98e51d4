"""Two networks in one program, or one after the other: which is faster?

    python -m experiments.two_networks --model=cnn --batch=64 --json=PATH

Three ways to take a step of both, timed in turn: `apart` (the compiled step of one network, dispatched
twice; what `famus train` does), `together` (one program that holds both steps), `stacked` (one program,
the step mapped over both networks' stacked parameters by `jax.vmap`).
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
import numpy as np

from famus_jax.benchmark.measure import Compiled, compile_step, interleaved_seconds
from famus_jax.core.estimator import all_layers
from famus_jax.core.problem import problem
from famus_jax.files import write_json
from famus_jax.forward import linen_forward, linen_init
from famus_jax.methods import mixmatch
from famus_jax.models import build_model
from famus_jax.provenance import provenance
from famus_jax.train.build import build_optimizer
from famus_jax.train.schema import ScheduleConfig
from famus_jax.uses.train_step import TrainStep, train_step

PyTree = Any


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a row per way; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.two_networks",
        description="Two networks in one program, or one after the other?",
    )
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--batch", type=int, default=64, help="B; a mixed batch holds 4 B examples")
    parser.add_argument("--meta_batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=16, help="height and width of the images")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the rows there")
    arguments = parser.parse_args(argv)
    try:
        rows = measure(
            arguments.model,
            arguments.batch,
            arguments.meta_batch,
            arguments.size,
            arguments.rounds,
        )
    except (ValueError, TypeError) as error:
        print(f"two_networks: {error}", file=sys.stderr)
        return 1
    for row in rows:
        print(
            f"{row['way']:10s} {row['step_ms']:9.1f} ms  x {row['time_ratio']:.2f}  "
            f"temporary memory {row['temp_bytes'] / 2**20:7.1f} MiB  "
            f"compiled in {row['compile_seconds']:5.1f} s"
        )
    if arguments.json:
        write_json(arguments.json, {"rows": rows, "provenance": provenance()})
    return 0


def measure(
    model: str, batch: int, meta_batch: int, size: int, rounds: int
) -> list[dict[str, Any]]:
    """A row per way: milliseconds of a step of both networks, over `apart`; memory; compile time."""
    step, states, data = _workload(model, batch, meta_batch, size)

    def one(state: PyTree, train: PyTree, meta: PyTree) -> PyTree:
        return step.pure(state, train, meta)[0]

    def both(pair: PyTree, train: PyTree, meta: PyTree) -> PyTree:
        return tuple(one(state, train, meta) for state in pair)

    stacked = jax.tree.map(lambda *x: jnp.stack(x), *states)
    mapped = jax.vmap(one, in_axes=(0, None, None))
    programs = {
        "together": _compile(both, tuple(map(_copy, states)), data),
        "stacked": _compile(lambda *args: mapped(*args), stacked, data),
    }
    single = _compile(one, states[0], data)

    def apart(pair: PyTree, train: PyTree, meta: PyTree) -> tuple[PyTree, None]:
        return tuple(single.run(state, train, meta)[0] for state in pair), None

    programs["apart"] = single._replace(run=apart, state=tuple(map(_copy, states)))
    seconds = interleaved_seconds(programs, rounds, title="timing")
    unit = statistics.median(seconds["apart"])
    return [
        {
            "way": name,
            "step_ms": 1e3 * statistics.median(seconds[name]),
            "time_ratio": statistics.median(seconds[name]) / unit,
            "temp_bytes": programs[name].temp_bytes,
            "compile_seconds": programs[name].compile_seconds,
        }
        for name in ("apart", "together", "stacked")
    ]


def _compile(function: Any, state: PyTree, data: tuple[PyTree, PyTree]) -> Compiled:
    def step(state: PyTree, train: PyTree, meta: PyTree) -> tuple[PyTree, None]:
        return function(state, train, meta), None

    lowered = jax.jit(step, donate_argnums=0).lower(state, *data)
    return compile_step(lowered, state, data, loops=True)


def _workload(
    name: str, batch: int, meta_batch: int, size: int
) -> tuple[TrainStep, list[PyTree], tuple[PyTree, PyTree]]:
    """The step on mixed batches of random data, two networks, a training and a meta batch."""
    model, classes = build_model(name, 10), 10
    rng = np.random.default_rng(0)

    def examples(count: int) -> dict[str, Any]:
        return {
            "image": rng.normal(size=(count, size, size, 3)).astype(np.float32),
            "target": rng.dirichlet(np.ones(classes), count).astype(np.float32),
        }

    train = {
        **examples(4 * batch),
        "labelled": np.tile(np.array([1, 1, 0, 0], np.float32), batch),
        "lambda_u": np.float32(25),
    }
    meta, schedule = examples(meta_batch), ScheduleConfig()
    params, model_state = linen_init(model, jax.random.key(0), train["image"][:1])
    step = train_step(
        problem(linen_forward(model), mixmatch()),
        build_optimizer(schedule, lambda t: schedule.learning_rate),
        all_layers(examples=max(1, batch // 2)),
        step_size=schedule.learning_rate,
    )
    keys = jax.random.split(jax.random.key(1))
    states = [step.init(key, params, model_state, train, meta) for key in keys]
    return step, states, jax.device_put((train, meta))


def _copy(state: PyTree) -> PyTree:
    return jax.tree.map(jnp.copy, state)


if __name__ == "__main__":
    sys.exit(main())
