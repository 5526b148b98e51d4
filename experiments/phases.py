"""What each phase of a step costs (paper, Fig. 1b): forward, virtual backward, meta forward, ...

    python -m experiments.phases --model=wrn_28_2 --batch=32 --rounds=7 --json=PATH --picture=PATH

Every prefix of the step is compiled by itself; a phase costs what its prefix costs more than the one
before, so that phases add up to the step. Symbols: see `famus_jax.core.meta_gradient`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.on_workload import study
from experiments.pictures import PHASES, draw_phases
from famus_jax.benchmark.measure import Compiled, compile_step, interleaved_seconds
from famus_jax.benchmark.rows import last_block
from famus_jax.benchmark.workload import (
    LEARNING_RATE,
    Workload,
    lower_plain,
    optimizer,
    plain_phases,
)
from famus_jax.core.estimator import Estimator
from famus_jax.core.estimators import all_layers, last_layers, named_layers, second_order
from famus_jax.core.meta_gradient import linearize_training, meta_loss_gradient, training_cotangent
from famus_jax.core.problem import Inputs
from famus_jax.core.programs import Program
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update
from famus_jax.core.virtual_step import virtual_step
from famus_jax.gates import learned_gates
from famus_jax.progress import track

PyTree = Any


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--picture", type=Path, default=None, help="draw the phases here")

    def draw(args: argparse.Namespace, result: dict[str, Any]) -> None:
        if args.picture:
            draw_phases(args.picture, result)
            print(f"written: {args.picture}")

    return study(
        "phases",
        argv,
        __doc__,
        lambda work, args: measure_phases(work, args.rounds),
        phase_table,
        add_arguments=add_arguments,
        finish=draw,
    )


def steps_in_phases(work: Workload) -> dict[str, Estimator | None]:
    """The bars, by name; None is the plain step. Gates: the preset `paper`'s most expensive program."""
    gates = learned_gates("paper", lag=2, target=float(min(4, len(work.layers))))
    return {
        "plain": None,
        "second order": second_order(),
        "all layers": all_layers(),
        "learned gates, most expensive": gates,
        "last block": named_layers(*last_block(work.layers)),
        "last layer": last_layers(1),
        "last layer, active virtual step": last_layers(1, virtual_step="active"),
    }


def prefixes(work: Workload, estimator: Estimator | None) -> dict[str, Callable[..., PyTree]]:
    """The step up to and with every phase, in order: `(meta state, opt_state, arrays) -> results`.

    `arrays` are the first five fields of `Inputs`. The last phase's is the whole step; the first four
    are put together here from the step's own pieces, the others are the step with fewer results.
    """
    tx = optimizer()
    problem, layers = work.problem(), work.layers

    def inputs_of(opt_state: PyTree, arrays: Any) -> Inputs:
        def optimizer_update(gradient):
            return tx.update(gradient, opt_state, arrays[0])[0]

        params, model_state, key, batch, meta_batch = arrays
        return Inputs(
            params=params,
            model_state=model_state,
            rng=key,
            batch=batch,
            meta_batch=meta_batch,
            step_size=LEARNING_RATE,
            optimizer_update=optimizer_update,
        )

    def descended(opt_state, params, gradient):
        updates, opt_state = tx.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    if estimator is None:
        plain = plain_phases(work)
        names = {"forward": "forward", "actual backward": "backward", "optimizer": "step"}

        def of(phase: Callable[..., PyTree]) -> Callable[..., PyTree]:
            return lambda state, opt_state, arrays: phase((*arrays[:2], opt_state), arrays[3])

        return {name: of(plain[phase]) for name, phase in names.items()}

    active, program = estimator.active.programs(layers)[0], Program(index=0)

    def pieces(state, opt_state, arrays, last: str) -> PyTree:
        inputs = inputs_of(opt_state, arrays)
        lin = linearize_training(problem, state.theta, inputs, estimator)
        cotangent, (loss, weights) = training_cotangent(problem, state.theta, lin)
        found: list[Any] = [loss, weights, lin.model_state, lin.outputs]
        if last == "forward":
            return found
        if estimator.virtual_step == "active":
            gradient = lin.vjp_part(cotangent, active)
        else:
            gradient = lin.vjp(cotangent)
        if last == "virtual backward":
            return [*found, gradient]
        ahead = virtual_step(layers, inputs, estimator, gradient, active)
        value, v = meta_loss_gradient(problem, state.theta, inputs, ahead, active)
        return [*found, value] if last == "meta forward" else [*found, value, v]

    def update(state, opt_state, arrays):
        inputs = inputs_of(opt_state, arrays)
        return meta_update(problem, estimator, state, inputs, program=program)

    def up_to_theta(state, opt_state, arrays):
        new = update(state, opt_state, arrays)
        return new.state.theta, new.state.opt_state, new.info.meta_loss, new.outputs

    def up_to_samplers(state, opt_state, arrays):
        new = update(state, opt_state, arrays)
        return new.state, new.info.meta_loss, new.outputs

    def whole(state, opt_state, arrays):
        new = update(state, opt_state, arrays)
        return new, descended(opt_state, arrays[0], new.gradient)

    if estimator.route == "second_order":
        return {"all in one": whole}
    first = ("forward", "virtual backward", "meta forward", "meta backward")
    found: dict[str, Callable[..., PyTree]] = {
        name: lambda *args, name=name: pieces(*args, last=name) for name in first
    }
    found["J v and θ"] = up_to_theta
    if estimator.active.reads_slopes:
        found["samplers"] = up_to_samplers
    found["actual backward"] = update
    found["optimizer"] = whole
    return found


def compile_prefixes(work: Workload, estimator: Estimator | None) -> dict[str, Compiled]:
    """Every prefix of a step, compiled, by its last phase. `Compiled.run` returns `(state, result)`."""
    key = jax.random.key(0)
    meta: PyTree = ()
    if estimator is not None:
        meta = init_state(work.problem(), estimator, key, work.params, work.n, work.m)
    opt_state = optimizer().init(work.params)
    arrays = (work.params, work.model_state, key, work.batch, work.meta_batch)
    compiled = {}
    for name, prefix in prefixes(work, estimator).items():

        def run(count, *arguments, prefix=prefix):
            return count + 1, prefix(*arguments)

        arguments = (meta, opt_state, arrays)
        count = jnp.zeros((), jnp.int32)
        lowered = jax.jit(run).lower(count, *arguments)
        compiled[name] = compile_step(lowered, count, arguments)
    return compiled


def measure_phases(work: Workload, rounds: int) -> list[dict[str, Any]]:
    """FLOPs and time of every phase of every step.

    Returns:
      `[{"step": name, "flops_ratio": ..., "time_ratio": ..., "phases": [{"phase": name,
      "flops": ..., "flops_ratio": ..., "seconds": ..., "time_ratio": ...}, ...]}, ...]`; ratios are to
      the whole plain step of the benchmark. Times are differences of medians, maybe a little below 0.
    """
    programs: dict[Any, Compiled] = {"plain": compile_step(*lower_plain(work))}
    order: dict[str, list[str]] = {}
    for step, estimator in track(list(steps_in_phases(work).items()), "step", "phases"):
        compiled = compile_prefixes(work, estimator)
        order[step] = list(compiled)
        programs |= {(step, phase): program for phase, program in compiled.items()}
    seconds = interleaved_seconds(programs, rounds, title="timing")
    median = {name: statistics.median(values) for name, values in seconds.items()}
    plain_flops, plain_seconds = programs["plain"].flops or 1.0, median["plain"]
    result = []
    for step, phases in order.items():
        before_flops = before_seconds = 0.0
        bars = []
        for phase in phases:
            flops, time = programs[step, phase].flops or 0.0, median[step, phase]
            bars.append(
                {
                    "phase": phase,
                    "flops": flops - before_flops,
                    "flops_ratio": (flops - before_flops) / plain_flops,
                    "seconds": time - before_seconds,
                    "time_ratio": (time - before_seconds) / plain_seconds,
                }
            )
            before_flops, before_seconds = flops, time
        result.append(
            {
                "step": step,
                "flops_ratio": before_flops / plain_flops,
                "time_ratio": before_seconds / plain_seconds,
                "phases": bars,
            }
        )
    return result


def phase_table(phases: list[dict[str, Any]]) -> str:
    """FLOPs / time of every phase in plain steps, for people."""
    width = max(len(step["step"]) for step in phases)
    used = [name for name in PHASES if any(b["phase"] == name for s in phases for b in s["phases"])]
    lines = [
        "\nPhases of a step: FLOPs / time, in plain steps",
        " ".join([f"{'step':{width}s}", *(f"{name:>16s}" for name in [*used, "whole"])]),
    ]
    for step in phases:
        bars = {bar["phase"]: bar for bar in step["phases"]} | {"whole": step}
        cells = [f"{_cell(bars.get(name)):>16s}" for name in [*used, "whole"]]
        lines.append(" ".join([f"{step['step']:{width}s}", *cells]))
    return "\n".join(lines)


def _cell(bar: dict[str, Any] | None) -> str:
    return "-" if bar is None else f"{bar['flops_ratio']:.3f} / {bar['time_ratio']:.2f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
