"""FLOPs and memory of compiled programs, times of interleaved runs, and rows made of them."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from famus_jax.progress import Progress

PyTree = Any
_LOOP = re.compile(r"= (.*?) (while|conditional)\(")
_FLOATING = re.compile(r"\b(bf16|f8\w*|f16|f32|f64|c64|c128)\[")


class Compiled(NamedTuple):
    """One step, ready to be timed.

    Attributes:
      run: `(state, *arguments) -> (state, ...)`; the state is donated.
      state, arguments: to start it with.
      flops: of one step, by XLA's count; None where that count would mean nothing.
      temp_bytes: temporary memory of one step.
      compile_seconds: time to compile (lowering not counted).
      total_bytes: all that one step holds: arguments, results, temporary memory.
      compilations: how many programs `run` has compiled so far, if it compiles any.
    """

    run: Callable
    state: PyTree
    arguments: tuple[PyTree, ...]
    flops: float | None = None
    temp_bytes: int = 0
    compile_seconds: float = 0.0
    total_bytes: int = 0
    compilations: Callable[[], int] = lambda: 1


def compile_step(
    lowered: Any, state: PyTree, arguments: tuple[PyTree, ...], *, loops: bool = False
) -> Compiled:
    """Compiles and reads XLA's own figures.

    Raises:
      ValueError: if the program has a loop or a branch, or XLA won't count it (see `loop_free_flops`);
        with `loops` it passes, without a FLOP count.
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
        run=compiled,
        state=state,
        arguments=arguments,
        flops=flops,
        temp_bytes=memory.temp_size_in_bytes,
        compile_seconds=seconds,
        total_bytes=int(total),
    )


def loop_free_flops(compiled: Any) -> float:
    """FLOPs of a compiled program.

    Raises:
      ValueError: if it has a loop or a branch: XLA counts a loop's body once and of branches the most
        expensive, so that its FLOP count would mean nothing. Or if there is no count.

    Loops and branches whose results are all integers are let through: on the CPU, JAX's random
    numbers (threefry, a few hundred integer operations) are such loops.
    """
    for line in compiled.as_text().splitlines():
        found = _LOOP.search(line)
        if found and _FLOATING.search(found[1]):
            raise ValueError(
                f"the compiled program has a `{found[2]}`, of which XLA's FLOP count is wrong: unroll "
                "the loop, or measure its pieces apart"
            )
    flops = (compiled.cost_analysis() or {}).get("flops", 0.0)
    if flops <= 0:
        raise ValueError("XLA gives no FLOP count for this program on this platform")
    return float(flops)


def interleaved_seconds(
    steps: Mapping[Any, Compiled],
    rounds: int,
    on_block: Callable[[Any], object] = lambda name: None,
    *,
    block: int = 1,
    shared: bool = True,
    title: str = "",
) -> dict[Any, list[float]]:
    """Seconds per step: a block of each in turn, `rounds` times after one warm-up round.

    In turn, so that a machine that changes its speed changes it for all; compare medians.

    Args:
      steps: what is timed, by name.
      rounds: timed blocks of each; one in which a program is compiled is left out.
      on_block: called with the name after every block.
      block: steps after which the host waits; on an accelerator the wait would count in a short step.
      shared: programs whose states are of one `kind` work on one state in turn, so that it is there
        once; otherwise each has its own.
      title: what the progress is called; "": show none.
    """
    owners = {name: kind(step.state) if shared else name for name, step in steps.items()}
    states = {owners[name]: step.state for name, step in steps.items()}
    seconds: dict[Any, list[float]] = {name: [] for name in steps}
    total = (rounds + 1) * len(steps)
    with Progress(total, "block", show=bool(title)) as progress:
        progress.describe(title)
        for number in range(rounds + 1):
            for name, step in steps.items():
                known, start, rest = step.compilations(), time.perf_counter(), []
                for _ in range(block):
                    states[owners[name]], *rest = step.run(states[owners[name]], *step.arguments)
                jax.block_until_ready((states[owners[name]], rest))
                if number and step.compilations() == known:
                    seconds[name].append((time.perf_counter() - start) / block)
                on_block(name)
                progress.update()
    return seconds


def kind(state: PyTree) -> Hashable:
    """What a compiled program asks of its state: structure, shapes, dtypes."""
    leaves, structure = jax.tree.flatten(state)
    return structure, tuple((jnp.shape(x), str(jnp.result_type(x))) for x in leaves)


def row_of(
    mix: Sequence[tuple[float, Any]],
    steps: Mapping[Any, Compiled],
    seconds: Mapping[Any, Sequence[float]],
    plain: Any,
    rate: float | None = None,
) -> dict[str, Any]:
    """One row of the benchmark: ratios to the program `plain`.

    FLOPs and times (medians) are means over the programs of `mix`, each with its share of the steps;
    memory is that of the one that needs most; compile seconds are those of all. FLOP/s are XLA's count
    over the time, and their share that of `rate`, the FLOP/s of large matrix products; None where
    unknown.
    """
    reference, counts = steps[plain].flops, [(share, steps[name].flops) for share, name in mix]
    flops = None
    if all(count is not None for _, count in counts):
        flops = sum(share * (count or 0.0) for share, count in counts)
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
