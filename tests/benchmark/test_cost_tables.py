"""The cost tables in docs/meta_gradient.md are those of the recorded results."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The docs speak as the library does today; records keep the words of their day.
COST = {
    "second order": "second_order",
    "all layers, one `jax.vjp` each (29)": "vjp_layerwise",
    "all layers, fused": "exact",
    "last block": "famus_last_block",
    "last layer": "famus_head",
    "last block, actual step": "one_pass_last_block",
    "last layer, actual step": "one_pass_head",
    "last layer, actual step, every 4 steps": "one_pass_head_every_4",
    "last block, active step": "active_only_last_block",
    "last layer, active step": "active_only_head",
    "random depth 1/5, a quarter of the examples, active step": "random_depth_0.2_part_0.25",
}

SCALING = {
    "exact": "all layers",
    "exact, per group": "all layers, one by one",
    "head": "last layer",
    "full": "last layers",
    "active-only": "last layers, active step",
    "active-only head": "last layer, active step",
    "active-only top group": "last layer, active step",
}


def result(name):
    return json.loads((ROOT / "results" / name).read_text())


def lines_after(text, header):
    """The rows of the Markdown table with this header."""
    lines = text.split(header, 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_cost():
    whole, eighth = (
        {row["row"]: row for row in result(f"benchmark_wrn_28_2_batch_32{meta}.json")["rows"]}
        for meta in ("", "_meta_8")
    )
    rows = lines_after(
        (ROOT / "docs" / "meta_gradient.md").read_text(), "| step | FLOPs | memory | time |"
    )
    assert len(rows) > 10
    for step, *told in rows:
        found = eighth if step.endswith(", meta batch 8") else whole
        row = found[COST[step.removesuffix(", meta batch 8")]]
        keys = ("flops_ratio", "temp_bytes_ratio", "time_ratio")
        assert told == [f"{row[key]:.2f}" for key in keys], step


def test_scaling_table():
    text = (ROOT / "docs" / "meta_gradient.md").read_text()
    rows = lines_after(text, "| axis | step | first to last | slope | by analysis | compile, s |")
    curves = [
        (label, curve)
        for axis in result("scaling.json")["axes"].values()
        for label, curve in axis["curves"].items()
    ]
    assert len(rows) == len(curves)
    for (_, step, ends, slope, predicted, compiling), (label, curve) in zip(rows, curves):
        flops, seconds = curve["flops_ratio"], curve["compile_seconds"]
        assert step == SCALING[label]
        assert ends == f"{flops[0]:.2f} to {flops[-1]:.2f}"
        assert float(re.match(r"\S+", slope)[0]) == pytest.approx(curve["slope"], abs=5.1e-5)
        assert float(predicted) == pytest.approx(curve["predicted_slope"], abs=5.1e-5)
        assert compiling == f"{min(seconds):.1f} to {max(seconds):.1f}"


def test_joint_pass_table():
    text = (ROOT / "docs" / "performance.md").read_text()
    rows = lines_after(text, "| | FLOPs | memory | time |")
    found = result("benchmark_wrn_28_2_batch_32_meta_8.json")["joint_pass"]
    by_name = {row["pass"]: row for row in found}
    for (_, *told), name in zip(rows, ("apart", "joint"), strict=True):
        row = by_name[name]
        assert told == [
            f"{row['flops_ratio']:.3f}",
            f"{row['temp_bytes_ratio']:.3f}",
            f"{row['time_ratio']:.2f}",
        ]
