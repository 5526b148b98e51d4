"""Two ways to run an estimator that chooses anew: one compiled program per choice, or one for all.

*Host*: `TrainStep` reads (or draws ahead) which variant is due and dispatches that program. *Switch*:
one program with all variants in a `lax.switch`, which the device decides and XLA can't fuse across.
Both walk the same way from the same state: the same draws, the same steps. The switch has no FLOP
count worth anything, so times are told, of blocks of steps in turn with a plain step's.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from famus_jax.bench.variants import LEARNING_RATE, Workload, lower_plain, optimizer
from famus_jax.core.estimators import Estimator, exact, learned_gates, random_depth, top_k
from famus_jax.core.train_step import TrainStep
from famus_jax.core.variants import cut_costs

PyTree = Any
MAX_VARIANTS = (
    4  # programs per estimator: each is compiled, and all of them once more in the switch
)


class Walked(NamedTuple):
    """What one way of walking took.

    Attributes:
      seconds: per step, one number for each timed block in which nothing was compiled.
      costs: of every step, in plain steps, by the layer groups' shares.
      programs: how many were compiled.
    """

    seconds: list[float]
    costs: np.ndarray
    programs: int


def drawn_estimators(work: Workload) -> dict[str, Estimator]:
    """Estimators that choose anew in every step, by name."""
    groups, rho, only = work.groups, work.m / work.n, "active_only"
    problem = work.problem()
    cheap, dear = (
        cut_costs(problem, estimator, rho)[0]
        for estimator in (top_k(1, lookahead=only), exact(lookahead=only))
    )
    budget = cheap + (dear - cheap) / 4
    return {
        "random_depth_0.2": random_depth(0.2, lookahead=only),
        "gates_paper": learned_gates(
            "paper", lag=2, target=float(min(4, len(groups))), max_variants=MAX_VARIANTS
        ),
        "gates_budget": learned_gates(
            "budget", lag=2, target=budget, lookahead=only, max_variants=MAX_VARIANTS
        ),
    }


def measure_strategies(
    work: Workload, rounds: int, *, block: int = 10, on_block: Callable[[Any], object] = print
) -> list[dict[str, Any]]:
    """One row per estimator and strategy.

    Args:
      work: the network.
      rounds: timed blocks of each, after one that is not timed.
      block: steps in a block; the host waits at its end only.
      on_block: called with the name after every block.
    """
    walks = {("plain", ""): _plain(work)}
    for name, estimator in drawn_estimators(work).items():
        walks[name, "host"] = _host(work, estimator)
        walks[name, "switch"] = _switch(work, estimator)
    walked = _walk(walks, rounds, block, on_block)
    plain = statistics.median(walked["plain", ""].seconds)
    return [
        {
            "estimator": name,
            "strategy": strategy,
            "step_ms": 1e3 * statistics.median(one.seconds) if one.seconds else None,
            "time_ratio": statistics.median(one.seconds) / plain if one.seconds else None,
            "mean_cost": float(one.costs.mean()),
            "timed_blocks": len(one.seconds),
            "programs": one.programs,
        }
        for (name, strategy), one in walked.items()
    ]


@dataclasses.dataclass
class _Walk:
    """`take(state) -> (state, cost)`, the cost still on the device."""

    take: Callable[[PyTree], tuple[PyTree, Any]]
    state: PyTree
    compiled: Callable[[], int] = lambda: 1


def _walk(walks, rounds, block, on_block) -> dict[tuple[str, str], Walked]:
    seconds, costs = {name: [] for name in walks}, {name: [] for name in walks}
    for number in range(rounds + 1):
        for name, walk in walks.items():
            known, start = walk.compiled(), time.perf_counter()
            for _ in range(block):
                walk.state, cost = walk.take(walk.state)
                costs[name].append(cost)
            jax.block_until_ready(walk.state)
            if number and walk.compiled() == known:
                seconds[name].append((time.perf_counter() - start) / block)
            on_block(name)
    return {
        name: Walked(seconds[name], np.array(jax.device_get(costs[name])), walk.compiled())
        for name, walk in walks.items()
    }


def _plain(work: Workload) -> _Walk:
    lowered, state, arguments = lower_plain(work)
    run = lowered.compile()
    return _Walk(lambda state: (run(state, *arguments)[0], 1.0), state)


def _train_step(work: Workload, estimator: Estimator) -> tuple[TrainStep, PyTree, tuple]:
    step = TrainStep(work.problem(), estimator, optimizer(), LEARNING_RATE)
    batches = (work.batch, work.meta_batch)
    state = step.init(jax.random.key(0), work.params, work.model_state, *batches)
    return step, state, batches


def _host(work: Workload, estimator: Estimator) -> _Walk:
    step, state, batches = _train_step(work, estimator)

    def take(state: PyTree) -> tuple[PyTree, Any]:
        state, info, _ = step(state, *batches)
        return state, info.cost

    return _Walk(take, state, lambda: len(step.compiled))


def _switch(work: Workload, estimator: Estimator) -> _Walk:
    step, state, batches = _train_step(work, estimator)
    run = step.lower(state, *batches).compile()  # no variant named: the program holds them all

    def take(state: PyTree) -> tuple[PyTree, Any]:
        state, info, _ = run(state, *batches)
        return state, info.cost

    return _Walk(take, state)
