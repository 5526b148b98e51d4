"""FLOPs and memory of compiled programs, and times of interleaved runs."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

PyTree = Any


class Compiled(NamedTuple):
    """One compiled step.

    Attributes:
      run: `(state, *arguments) -> (state, ...)`; the state is donated.
      state, arguments: to start it with.
      flops: of one step, by XLA's count.
      temp_bytes: temporary memory of one step.
      compile_seconds: time to compile (lowering not counted).
    """

    run: Callable
    state: PyTree
    arguments: tuple[PyTree, ...]
    flops: float
    temp_bytes: int
    compile_seconds: float


def compile_step(lowered: Any, state: PyTree, arguments: tuple[PyTree, ...]) -> Compiled:
    """Compiles and reads XLA's own figures.

    Raises:
      ValueError: if the program has a loop or a branch: XLA counts a loop's body once and a branch
        at its dearest, so that its FLOP count would mean nothing.
    """
    start = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - start
    flops = loop_free_flops(compiled)
    memory = compiled.memory_analysis().temp_size_in_bytes
    return Compiled(compiled, state, arguments, flops, memory, seconds)


def loop_free_flops(compiled: Any) -> float:
    """FLOPs of a compiled program; see `compile_step` for the error."""
    if found := re.search(r"\b(while|conditional)\(", compiled.as_text()):
        raise ValueError(
            f"the compiled program has a `{found[1]}`, of which XLA's FLOP count is wrong: unroll the "
            "loop, or measure its pieces apart"
        )
    return float(compiled.cost_analysis()["flops"])


def interleaved_seconds(
    steps: dict[str, Compiled], rounds: int, on_step: Callable[[str], object]
) -> dict[str, list[float]]:
    """Seconds per step: one of each in turn, `rounds` times after one warm-up round.

    In turn, so that a machine that changes its speed changes it for all; compare medians.
    """
    states = {name: step.state for name, step in steps.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            states[name], *rest = step.run(states[name], *step.arguments)
            jax.block_until_ready((states[name], rest))
            if number:
                seconds[name].append(time.perf_counter() - start)
            on_step(name)
    return seconds


def rows_of(steps: dict[str, Compiled], seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    """The benchmark's rows: ratios to the row `plain`, medians of times."""
    plain, median = steps["plain"], {k: statistics.median(v) for k, v in seconds.items()}
    return [
        {
            "variant": name,
            "flops_ratio": step.flops / plain.flops,
            "temp_bytes_ratio": step.temp_bytes / plain.temp_bytes,
            "time_ratio": median[name] / median["plain"],
            "step_ms": 1e3 * median[name],
            "compile_seconds": step.compile_seconds,
            "flops": step.flops,
            "temp_bytes": step.temp_bytes,
        }
        for name, step in steps.items()
    ]
