"""The compiler's estimates for a TPU topology, for people."""

from __future__ import annotations

from typing import Any

from famus_jax.benchmark.text import cell


def topology_table(result: dict[str, Any]) -> str:
    """The rows over the plain step's, what is sent, and how to read it."""
    made, plain = result["provenance"], result["plain"]
    chips = f"{result['chips']} of its chips" if result["chips"] > 1 else "one chip"
    how = [result["precision"]] + ["rematerialized"] * result["remat"]
    how += ["parameters spread (FSDP)"] * result["fsdp"]
    width = max(len(row["row"]) for row in result["rows"])
    lines = [
        f"\n{result['model']}, batch {result['batch']}, meta batch {result['meta_batch']}, "
        f"{', '.join(how)}, compiled for {chips} of {result['topology']} ({result['device_kind']}); "
        f"{made['compiler']}, jax {made['versions']['jax']}",
        f"{'step':{width}s} {'passes':>7s} {'FLOPs':>7s} {'bytes':>7s} {'time':>7s} {'memory':>7s} "
        f"{'sent':>7s} {'compile s':>10s}",
    ]
    for row in result["rows"]:
        ratios = (row[f"{name}_ratio"] for name in ("flops", "bytes", "cycles", "temp_bytes"))
        lines.append(
            f"{row['row']:{width}s} {row['passes']:7.3f} {' '.join(map(cell, ratios))} "
            f"{cell(row['sent_bytes_ratio'])} {row['compile_seconds']:10.1f}"
        )
    lines.append(
        "Estimates of the compiler; nothing was run. Over the plain step's on each chip "
        f"({plain['flops']:.4g} FLOPs, {plain['bytes']:.4g} bytes\nread and written, "
        f"{plain['cycles']:.4g} cycles, {plain['temp_bytes'] / 2**20:.4g} MiB of temporary memory "
        f"beside what fits on the chip,\n{plain['sent_bytes']:.4g} bytes brought by collectives). "
        "Steps that differ: means over the programs that they run, memory of the largest."
    )
    if plain["sent_bytes"]:
        lines.append("\nbytes in collectives, by the stage that asks for them:")
        for row in result["rows"]:
            parts = [f"{name} {size:,.0f}" for name, size in row["sent"].items() if size]
            kinds = [f"{name} {size:,.0f}" for name, size in row["sent_kinds"].items() if size]
            lines.append(f"{row['row']:{width}s} {', '.join(parts)} ({', '.join(kinds)})")
    return "\n".join(lines)
