"""The benchmark's result for people."""

from __future__ import annotations

from typing import Any


def table(result: dict[str, Any]) -> str:
    """The rows, what was left out, and how to read it."""
    made = result["provenance"]
    how = [result["precision"]] + ["rematerialised"] * result["remat"]
    how += [f"{result['micro_batches']} micro-batches"] * (result["micro_batches"] > 1)
    width = max(len(row["variant"]) for row in result["rows"])
    lines = [
        f"\n{result['model']}, batch {result['batch']}, meta batch {result['meta_batch']}, "
        f"{', '.join(how)}, {len(result['groups'])} layer groups; {made['device']} "
        f"({made['cores']} cores), jax {made['versions']['jax']}",
        f"{'variant':{width}s} {'passes':>7s} {'FLOPs':>7s} {'memory':>7s} {'time':>7s} {'cosine':>7s} "
        f"{'ms':>9s} {'TFLOP/s':>8s} {'of rate':>7s} {'MiB':>8s} {'compile s':>10s}",
    ]
    for row in result["rows"]:
        achieved, share = row["flops_per_second"], row["share_of_matrix_rate"]
        lines.append(
            f"{row['variant']:{width}s} {row['passes']:7.3f} {_cell(row['flops_ratio'])} "
            f"{row['temp_bytes_ratio']:7.3f} "
            f"{row['time_ratio']:7.3f} {_cell(row['cosine_weights'])} {row['step_ms']:9.2f} "
            f"{_cell(None if achieved is None else achieved / 1e12, 8)} {_cell(share)} "
            f"{row['total_bytes'] / 2**20:8.0f} {row['compile_seconds']:10.1f}"
        )
    lines += [f"left out: {name}: {why}" for name, why in result["left_out"].items()]
    absolute = result["plain_flops"]
    plain = "unknown" if absolute is None else f"{absolute:.4g}"
    rate = result["matrix_rate"]
    lines.append(
        "passes: over the plain step's, by analysis of the layer groups.\n"
        f"FLOPs (plain: {plain}), temporary memory and time over the plain step's; times are medians "
        f"of {result['rounds']} interleaved\nblocks of {result['block']}. Steps that differ: means "
        "over the programs that they run, memory of the largest. cosine: to the exact\n∂L_val/∂V at "
        "this random network, mean over single draws. MiB: arguments, results and temporary memory.\n"
        f"of rate: achieved FLOP/s over those of products of {rate['size']} x {rate['size']} matrices "
        f"in {rate['precision']}, {rate['flops_per_second'] / 1e12:.4g} TFLOP/s here."
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


def strategy_table(rows: list[dict[str, Any]]) -> str:
    """The host's dispatch beside `lax.switch`."""
    width = max(len(row["estimator"]) for row in rows)
    lines = [
        f"\n{'estimator':{width}s} {'strategy':>8s} {'time':>7s} {'passes':>7s} {'ms':>9s} "
        f"{'programs':>8s}"
    ]
    for row in rows:
        lines.append(
            f"{row['estimator']:{width}s} {row['strategy']:>8s} {_cell(row['time_ratio'])} "
            f"{row['mean_cost']:7.3f} {_cell(row['step_ms'], 9)} {row['programs']:8d}"
        )
    lines.append(
        "time: over the plain step's, medians of blocks in turn; passes: mean cost of the steps "
        "walked, by analysis."
    )
    return "\n".join(lines)


def joint_pass_table(rows: list[dict[str, Any]]) -> str:
    """An active-only head with training and meta batch in two passes and in one."""
    lines = [f"\n{'passes':8s} {'FLOPs':>7s} {'memory':>7s} {'time':>7s} {'ms':>9s}"]
    lines += [
        f"{row['pass']:8s} {_cell(row['flops_ratio'])} {row['temp_bytes_ratio']:7.3f} "
        f"{row['time_ratio']:7.3f} {row['step_ms']:9.2f}"
        for row in rows
    ]
    lines.append("over the plain step's; apart: the library's step, active-only head.")
    return "\n".join(lines)


def _cell(value: float | None, width: int = 7) -> str:
    return f"{'-':>{width}s}" if value is None else f"{value:{width}.3f}"
