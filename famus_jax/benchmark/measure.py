"""FLOPs and memory of compiled programs, times of interleaved runs, and rows made of them."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

PyTree = Any
_LOOP = re.compile(r"= (.*?) (while|conditional)\(")
_FLOATING = re.compile(r"\b(bf16|f8\w*|f16|f32|f64|c64|c128)\[")


class Compiled(NamedTuple):
    """One compiled step.

    Attributes:
      run: `(state, *arguments) -> (state, ...)`; the state is donated.
      state, arguments: to start it with.
      flops: of one step, by XLA's count; None where that count would mean nothing.
      temp_bytes: temporary memory of one step.
      compile_seconds: time to compile (lowering not counted).
      total_bytes: all that one step holds: arguments, results, temporary memory.
    """

    run: Callable
    state: PyTree
    arguments: tuple[PyTree, ...]
    flops: float | None
    temp_bytes: int
    compile_seconds: float
    total_bytes: int = 0


def compile_step(
    lowered: Any, state: PyTree, arguments: tuple[PyTree, ...], *, loops: bool = False
) -> Compiled:
    """Compiles and reads XLA's own figures.

    Args:
      lowered: the lowered program.
      state, arguments: to start it with.
      loops: let a program with loops or branches (or that XLA won't count) pass, without a FLOP count.

    Raises:
      ValueError: unless `loops`, if the program has a loop or a branch; see `loop_free_flops`.
    """
    start = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - start
    try:
        flops = loop_free_flops(compiled)
    except ValueError:
        if not loops:
            raise
        flops = None
    memory = compiled.memory_analysis()
    total = memory.argument_size_in_bytes + memory.output_size_in_bytes
    total += memory.temp_size_in_bytes - memory.alias_size_in_bytes  # a donated state counts once
    return Compiled(
        compiled, state, arguments, flops, memory.temp_size_in_bytes, seconds, int(total)
    )


def loop_in(compiled: Any) -> str | None:
    """`"while"` or `"conditional"` if the program has one whose operations XLA would miscount.

    Loops and branches whose results are all integers are let through: on the CPU, JAX's random
    numbers (threefry, a few hundred integer operations) are such loops.
    """
    for line in compiled.as_text().splitlines():
        found = _LOOP.search(line)
        if found and _FLOATING.search(found[1]):
            return found[2]
    return None


def loop_free_flops(compiled: Any) -> float:
    """FLOPs of a compiled program.

    Raises:
      ValueError: if it has a loop or a branch (see `loop_in`): XLA counts a loop's body once and a
        branch at its dearest, so that its FLOP count would mean nothing. Or if there is no count.
    """
    if found := loop_in(compiled):
        raise ValueError(
            f"the compiled program has a `{found}`, of which XLA's FLOP count is wrong: unroll the "
            "loop, or measure its pieces apart"
        )
    flops = (compiled.cost_analysis() or {}).get("flops", 0.0)
    if flops <= 0:
        raise ValueError("XLA gives no FLOP count for this program on this platform")
    return float(flops)


def interleaved_seconds(
    steps: Mapping[Any, Compiled],
    rounds: int,
    on_step: Callable[[Any], object],
    *,
    block: int = 1,
) -> dict[Any, list[float]]:
    """Seconds per step: one of each in turn, `rounds` times after one warm-up round.

    In turn, so that a machine that changes its speed changes it for all; compare medians. Programs
    whose states are of one kind (structure, shapes, dtypes) work on one state in turn: it is there
    once, whatever the number of programs. With `block` > 1 each takes so many steps before the host
    waits, as in training: on an accelerator the wait would be part of a short step.
    """
    states = {kind(step.state): step.state for step in steps.values()}
    kinds = {name: kind(step.state) for name, step in steps.items()}
    seconds: dict[Any, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            start, rest = time.perf_counter(), []
            for _ in range(block):
                states[kinds[name]], *rest = step.run(states[kinds[name]], *step.arguments)
            jax.block_until_ready((states[kinds[name]], rest))
            if number:
                seconds[name].append((time.perf_counter() - start) / block)
            on_step(name)
    return seconds


def kind(state: PyTree) -> Hashable:
    """What a compiled program asks of its state: structure, shapes, dtypes."""
    leaves, structure = jax.tree.flatten(state)
    return structure, tuple((jnp.shape(x), str(jnp.result_type(x))) for x in leaves)


Mix = Sequence[tuple[float, Any]]
"""The programs that an estimator's steps run, each with its share of the steps."""


def mean_flops(mix: Mix, steps: Mapping[Any, Compiled]) -> float | None:
    """FLOPs of a step on average; None if they are unknown for any of the programs."""
    flops = [(share, steps[name].flops) for share, name in mix]
    if any(f is None for _, f in flops):
        return None
    return sum(share * f for share, f in flops if f is not None)


def row_of(
    mix: Mix,
    steps: Mapping[Any, Compiled],
    seconds: Mapping[Any, Sequence[float]],
    plain: Any,
    rate: float | None = None,
) -> dict[str, Any]:
    """One row of the benchmark: ratios to the program `plain`.

    FLOPs and times (medians) are the programs' means, weighed by their shares of the steps; memory is
    that of the one that needs most; compile seconds are those of all. FLOP/s are XLA's count over the
    time, and their share that of `rate`, the FLOP/s of large matrix products; None where unknown.
    """
    reference = mean_flops([(1.0, plain)], steps)
    flops = mean_flops(mix, steps)
    milliseconds = 1e3 * sum(share * statistics.median(seconds[name]) for share, name in mix)
    memory = max(steps[name].temp_bytes for _, name in mix)
    achieved = None if flops is None else flops / (1e-3 * milliseconds)
    return {
        "flops_ratio": None if flops is None or not reference else flops / reference,
        "temp_bytes_ratio": memory / steps[plain].temp_bytes,
        "time_ratio": milliseconds / (1e3 * statistics.median(seconds[plain])),
        "step_ms": milliseconds,
        "compile_seconds": sum(steps[name].compile_seconds for _, name in mix),
        "flops": flops,
        "temp_bytes": memory,
        "total_bytes": max(steps[name].total_bytes for _, name in mix),
        "flops_per_second": achieved,
        "share_of_matrix_rate": None if achieved is None or not rate else achieved / rate,
        "programs": len(mix),
    }
