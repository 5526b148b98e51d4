"""Two ways to run an estimator that chooses anew: one compiled program per choice, or one for all.

    python -m experiments.strategies --model=wrn_28_2 --batch=32 --block=10 --json=PATH

*Host*: `TrainStep` reads (or draws ahead) which program is due and dispatches it. *Switch*: one program
holds all of them in a `lax.switch`, which the device decides and XLA can't fuse across. Both walk the
same way from the same state: the same draws, the same steps. The switch has no FLOP count worth
anything, so times are told, of blocks of steps in turn with a plain step's.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.dispatched import dispatched
from experiments.on_workload import study
from famus_jax.benchmark.measure import Compiled, interleaved_seconds
from famus_jax.benchmark.text import cell
from famus_jax.benchmark.workload import Workload, lower_ours, lower_plain
from famus_jax.core.cost import program_costs
from famus_jax.core.estimator import Estimator
from famus_jax.core.estimators import all_layers, last_layers, random_depth
from famus_jax.gates import learned_gates

PyTree = Any
PROGRAMS = 4
"""Per estimator with learned gates: each is compiled, and all of them once more in the switch."""


class Step(NamedTuple):
    """One way to take a step, and the cost of every step taken, in plain steps, on the device."""

    compiled: Compiled
    costs: list[Any]


class Walked(NamedTuple):
    """What one way of walking took.

    Attributes:
      seconds: per step, one number for each timed block in which nothing was compiled.
      costs: of every step, in plain steps, by the layers' shares.
      programs: how many were compiled.
    """

    seconds: list[float]
    costs: np.ndarray
    programs: int


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""

    def measure(work: Workload, args: Any) -> list[dict[str, Any]]:
        return measure_strategies(work, args.rounds, block=args.block)

    return study("strategies", argv, __doc__, measure, table)


def drawn_estimators(work: Workload) -> dict[str, Estimator]:
    """Estimators that choose anew in every step, by name."""
    only, problem = "active", work.problem()
    cheapest, most_expensive = (
        program_costs(problem, estimator, work.n, work.m)[0]
        for estimator in (last_layers(1, virtual_step=only), all_layers(virtual_step=only))
    )
    budget = cheapest + (most_expensive - cheapest) / 4
    gates = {"lag": 2, "max_programs": PROGRAMS}
    target = float(min(4, len(work.layers)))
    return {
        "random_depth_0.2": random_depth(0.2, virtual_step=only),
        "gates_paper": learned_gates("paper", target=target, **gates),
        "gates_budget": learned_gates("budget", target=budget, virtual_step=only, **gates),
    }


def measure_strategies(work: Workload, rounds: int, *, block: int = 10) -> list[dict[str, Any]]:
    """One row per estimator and strategy: blocks of each in turn, after one that is not timed."""
    run, state, arguments = lower_plain(work)
    plain = Compiled(run=run.compile(), state=state, arguments=arguments)
    steps = {("plain", ""): Step(plain, [1.0])}
    for name, estimator in drawn_estimators(work).items():
        steps[name, "host"] = by_host(work, estimator)
        steps[name, "switch"] = by_switch(work, estimator)
    walked = walk(steps, rounds, block, title="strategies")
    unit = statistics.median(walked["plain", ""].seconds)
    return [
        {
            "estimator": name,
            "strategy": strategy,
            "step_ms": 1e3 * statistics.median(one.seconds) if one.seconds else None,
            "time_ratio": statistics.median(one.seconds) / unit if one.seconds else None,
            "mean_cost": float(one.costs.mean()),
            "timed_blocks": len(one.seconds),
            "programs": one.programs,
        }
        for (name, strategy), one in walked.items()
    ]


def walk(steps: Mapping[Any, Step], rounds: int, block: int, title: str = "") -> dict[Any, Walked]:
    """Times them in turn, each on a state of its own."""
    timed = {name: step.compiled for name, step in steps.items()}
    seconds = interleaved_seconds(timed, rounds, block=block, shared=False, title=title)
    return {
        name: Walked(
            seconds[name],
            np.array(jax.device_get(step.costs)),
            step.compiled.compilations(),
        )
        for name, step in steps.items()
    }


def by_host(work: Workload, estimator: Estimator) -> Step:
    """The host picks the program."""
    costs: list[Any] = []
    step, state, batches = work.train_step(estimator)
    return Step(dispatched(step, state, batches, _noting(costs)), costs)


def by_switch(work: Workload, estimator: Estimator) -> Step:
    """The device picks a branch of the one program."""
    costs: list[Any] = []
    lowered, state, batches = lower_ours(work, estimator)  # none named: it holds them all
    compiled, note = lowered.compile(), _noting(costs)

    def run(state: PyTree, *batches: PyTree) -> tuple[PyTree]:
        state, info, _ = compiled(state, *batches)
        note(info)
        return (state,)

    return Step(Compiled(run=run, state=state, arguments=batches), costs)


def _noting(costs: list[Any]) -> Callable[[Any], object]:
    return lambda info: costs.append(info.cost)


def table(rows: list[dict[str, Any]]) -> str:
    """The host's dispatch beside `lax.switch`."""
    width = max(len(row["estimator"]) for row in rows)
    lines = [
        f"\n{'estimator':{width}s} {'strategy':>8s} {'time':>7s} {'passes':>7s} {'ms':>9s} "
        f"{'programs':>8s}"
    ]
    for row in rows:
        lines.append(
            f"{row['estimator']:{width}s} {row['strategy']:>8s} {cell(row['time_ratio'])} "
            f"{row['mean_cost']:7.3f} {cell(row['step_ms'], 9)} {row['programs']:8d}"
        )
    lines.append(
        "time: over the plain step's, medians of blocks in turn; passes: mean cost of the steps "
        "walked, by analysis."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
