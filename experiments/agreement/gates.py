"""What learned gates do along a run: do they look at their input, what they open, what they cost.

Symbols: Γ_l = the sampler of layer l, ḡ_l = the pooled gradient that it reads, p_l = the probability
that its gate opens, "program" = one compiled step, which hears a lowest layer and all above it; they
are numbered.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.agreement.measure import Scene
from famus_jax.benchmark.measure import Compiled, compile_step, interleaved_seconds
from famus_jax.benchmark.workload import Workload, lower_plain
from famus_jax.core.cost import program_costs
from famus_jax.core.problem import Problem
from famus_jax.core.programs import Program
from famus_jax.gates import LearnedGates
from famus_jax.gates.pooling import pool_layers
from famus_jax.gates.samplers import sampler_logits
from famus_jax.uses.train_step import TrainStep

PyTree = Any


def open_probabilities(eta: PyTree, inputs: jax.Array) -> jax.Array:
    """p_l of every gate: inputs [L, D] -> [L]."""
    return jax.nn.softmax(sampler_logits(eta, inputs))[:, 1]


def input_effect(eta: PyTree, inputs: jax.Array) -> jax.Array:
    """p_l(ḡ_l) − p_l(0), [L]: 0 where a sampler does not look at its input."""
    return open_probabilities(eta, inputs) - open_probabilities(eta, jnp.zeros_like(inputs))


def pooled_gradients(problem: Problem, spec: LearnedGates) -> Callable[[Scene], jax.Array]:
    """`scene -> ḡ`, float32 [L, D]: the virtual gradient at θ, pooled as the samplers read it."""
    layers = problem.layers
    assert layers is not None

    def pooled(scene: Scene) -> jax.Array:
        def loss(params: PyTree) -> jax.Array:
            outputs, _ = problem.forward(params, scene.model_state, scene.rng, scene.batch)
            return problem.method.loss(scene.theta, outputs, scene.batch)[0]

        gradient = layers.part(jax.grad(loss)(scene.params), layers.all)
        width = scene.active.eta["kernels"][0].shape[1]
        return pool_layers(gradient, layers.all, layers, width, spec.pooling, spec.out_axis)

    return pooled


def gate_probe(problem: Problem, spec: LearnedGates) -> Callable[[Scene], dict[str, jax.Array]]:
    """Compiled `scene -> {"probability", "effect"}`, each [L]; see `input_effect`."""
    pooled = pooled_gradients(problem, spec)

    def probe(scene: Scene) -> dict[str, jax.Array]:
        inputs = pooled(scene)
        eta = scene.active.eta
        return {
            "probability": open_probabilities(eta, inputs),
            "effect": input_effect(eta, inputs),
        }

    return jax.jit(probe)


def gate_record(spec: LearnedGates, problem: Problem, probes: Sequence[dict]) -> dict[str, Any]:
    """Probes of several batches: per gate the mean of p, of |p(ḡ) − p(0)|, and p's spread.

    Layers without a gate (an open head, say) have None.
    """
    assert problem.layers is not None
    has_gate = np.asarray(spec.may_open(problem.layers)) > 0
    p = np.stack([np.asarray(probe["probability"], np.float64) for probe in probes])
    effect = np.abs(np.stack([np.asarray(probe["effect"], np.float64) for probe in probes]))

    def per_gate(values: np.ndarray) -> list[float | None]:
        return [float(x) if gated else None for x, gated in zip(values, has_gate)]

    return {
        "probability": per_gate(p.mean(0)),
        "probability_sd": per_gate(p.std(0, ddof=1)),
        "input_effect": per_gate(effect.mean(0)),
        "input_effect_mean": float(effect.mean(0)[has_gate].mean()),
    }


def program_shares(programs: Sequence[int], burn_in: float) -> dict[int, float]:
    """The share of the steps after the burn-in in which each program came up; they sum to 1."""
    kept = list(programs)[int(burn_in * len(programs)) :]
    return {b: kept.count(b) / len(kept) for b in sorted(set(kept))}


def compiled_programs(
    step: TrainStep, work: Workload, numbers: Sequence[int]
) -> dict[str | int, Compiled]:
    """The compiled plain step and the programs numbered `numbers`, by `"plain"` and their number.

    The step's keys are of a generator that XLA counts: the default one's loop has no FLOP count.
    """
    programs: dict[str | int, Compiled] = {"plain": compile_step(*lower_plain(work))}
    batches = (work.batch, work.meta_batch)
    key = jax.random.key(0, impl="unsafe_rbg")
    for number in numbers:
        state = step.init(key, work.params, work.model_state, *batches)
        lowered = step.lower(state, *batches, program=Program(index=number))
        programs[number] = compile_step(lowered, state, batches)
    return programs


def timed(programs: dict[str | int, Compiled], rounds: int, title: str = "") -> dict[str, float]:
    """Median seconds per step of each program, by interleaved runs; `title` is of a progress bar."""
    named = {str(name): program for name, program in programs.items()}
    seconds = interleaved_seconds(named, rounds, title=title)
    return {name: statistics.median(values) for name, values in seconds.items()}


def gate_price(
    step: TrainStep,
    work: Workload,
    programs: Sequence[int],
    burn_in: float,
    rounds: int,
    title: str = "",
) -> dict[str, Any]:
    """What learned gates cost over a run, in plain steps: counted, by analysis, and by the clock.

    Args:
      step: the run's training step (without metrics).
      work: its network and batches.
      programs: the number of every step's program, in order.
      burn_in: the share of them to leave out.
      rounds: timed steps per program.
      title: of a progress bar; "": none.

    Returns:
      `shares`, `flops_ratio`, `analytic`, `time_ratio` per program number (as strings), and their
      means over the shares: `flops`, `analytic_mean`, `time`. With a budget: `budget` and
      `budget_deviation`, (analytic mean − budget) / budget; else both None.
    """
    shares = program_shares(programs, burn_in)
    compiled = compiled_programs(step, work, list(shares))
    seconds = timed(compiled, rounds, title)
    costs = program_costs(step.problem, step.estimator, work.n, work.m)
    layers = step.problem.layers
    assert layers is not None
    heard = step.estimator.active.programs(layers)
    flops = {b: _flops(compiled[b]) / _flops(compiled["plain"]) for b in shares}
    times = {b: seconds[str(b)] / seconds["plain"] for b in shares}
    spec = step.estimator.active
    analytic = sum(share * costs[b] for b, share in shares.items())
    budget = None
    if isinstance(spec, LearnedGates) and spec.penalty == "budget":
        budget = spec.target

    def by_name(values: dict[int, Any]) -> dict[str, Any]:
        return {str(b): values[b] for b in shares}

    return {
        "shares": by_name(shares),
        "lowest_layer": by_name({b: layers.names[min(heard[b])] for b in shares}),
        "flops_ratio": by_name(flops),
        "analytic": by_name({b: float(costs[b]) for b in shares}),
        "time_ratio": by_name(times),
        "flops": sum(share * flops[b] for b, share in shares.items()),
        "analytic_mean": float(analytic),
        "time": sum(share * times[b] for b, share in shares.items()),
        "budget": budget,
        "budget_deviation": None if budget is None else float(analytic / budget - 1),
        "plain_step_ms": 1e3 * seconds["plain"],
    }


def _flops(program: Compiled) -> float:
    if program.flops is None:  # `compile_step` has refused such a program
        raise ValueError("XLA has no FLOP count for a program with a loop")
    return program.flops
