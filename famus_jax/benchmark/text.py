"""The benchmark's result for people."""

from __future__ import annotations

from typing import Any


def table(result: dict[str, Any]) -> str:
    """The rows, what was left out, and how to read it."""
    made, rate = result["provenance"], result["matrix_rate"]
    how = [result["precision"]] + ["rematerialized"] * result["remat"]
    how += [f"{result['micro_batches']} micro-batches"] * (result["micro_batches"] > 1)
    width = max(len(row["row"]) for row in result["rows"])
    lines = [
        f"\n{result['model']}, batch {result['batch']}, meta batch {result['meta_batch']}, "
        f"{', '.join(how)}, {len(result['layers'])} layers; {made['device']} "
        f"({made['cores']} cores), jax {made['versions']['jax']}",
        f"{'step':{width}s} {'passes':>7s} {'FLOPs':>7s} {'memory':>7s} {'time':>7s} {'ms':>9s} "
        f"{'TFLOP/s':>8s} {'of rate':>7s} {'MiB':>8s} {'compile s':>10s}",
    ]
    for row in result["rows"]:
        achieved = row["flops_per_second"]
        lines.append(
            f"{row['row']:{width}s} {row['passes']:7.3f} {cell(row['flops_ratio'])} "
            f"{row['temp_bytes_ratio']:7.3f} {row['time_ratio']:7.3f} {row['step_ms']:9.2f} "
            f"{cell(None if achieved is None else achieved / 1e12, 8)} "
            f"{cell(row['share_of_matrix_rate'])} {row['total_bytes'] / 2**20:8.0f} "
            f"{row['compile_seconds']:10.1f}"
        )
    lines += [f"left out: {name}: {why}" for name, why in result["left_out"].items()]
    absolute = result["plain_flops"]
    plain = "unknown" if absolute is None else f"{absolute:.4g}"
    lines.append(
        "passes: over the plain step's, by analysis of the layers.\n"
        f"FLOPs (plain: {plain}), temporary memory and time over the plain step's; times are medians "
        f"of {result['rounds']} interleaved\nblocks of {result['block']}. Steps that differ: means "
        "over the programs that they run, memory of the largest. MiB: arguments,\nresults and "
        "temporary memory. of rate: achieved FLOP/s over those of products of "
        f"{rate['size']} x {rate['size']} matrices in\n{rate['precision']}, "
        f"{rate['flops_per_second'] / 1e12:.4g} TFLOP/s here."
    )
    before = result["plain_flops_before_xla"]
    if before and (absolute is None or abs(absolute / before - 1) > 0.1):
        share = before / (1e-3 * result["rows"][0]["step_ms"]) / rate["flops_per_second"]
        lines.append(
            f"Before XLA's passes the plain step counts {before:.4g} FLOPs: by them it reaches "
            f"{share:.3f} of the rate."
        )
    peak = result["device_memory"].get("peak_bytes_in_use")
    if peak is not None:
        lines.append(f"peak device memory over all of it: {peak / 2**20:.0f} MiB")
    return "\n".join(lines)


def cell(value: float | None, width: int = 7) -> str:
    """A number, or a dash where it is unknown."""
    return f"{'-':>{width}s}" if value is None else f"{value:{width}.3f}"
