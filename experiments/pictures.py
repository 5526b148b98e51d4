"""Pictures of costs: phases of a step as stacked bars, cost against size as lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from famus_jax.files import write_figure

PHASES = (
    "forward",
    "virtual backward",
    "meta forward",
    "meta backward",
    "J v and θ",
    "samplers",
    "actual backward",
    "optimizer",
    "all in one",
)
"""The phases of a step, in order; `all in one` is second order's, which can't be told apart."""


def draw_phases(path: Path, result: dict[str, Any]) -> None:
    """Writes the result of `experiments.phases` as a picture; raises `OSError`."""
    steps = result["phases"]
    figure, axes = _figure(1, 2, width=11, height=0.9 + 0.42 * len(steps))
    colors = {name: f"C{i}" for i, name in enumerate(PHASES)}
    for axis, key, what in zip(axes, ("flops_ratio", "time_ratio"), ("FLOPs", "time")):
        for row, step in enumerate(steps):
            left = 0.0
            for bar in step["phases"]:
                length = max(bar[key], 0.0)
                axis.barh(row, length, left=left, color=colors[bar["phase"]], height=0.7)
                left += length
            axis.text(left, row, f" {step[key]:.2f}", va="center", fontsize=8)
        axis.set_xlim(0, 1.15 * max(step[key] for step in steps))
        axis.set(xlabel=f"{what}, in plain steps", yticks=range(len(steps)))
        axis.set_yticklabels([step["step"] for step in steps] if axis is axes[0] else [])
        axis.invert_yaxis()
        axis.axvline(1, color="grey", linewidth=0.6, linestyle=":")
    used = {bar["phase"] for step in steps for bar in step["phases"]}
    from matplotlib.patches import Patch

    handles = [Patch(color=colors[name], label=name) for name in PHASES if name in used]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    made = result["provenance"]
    figure.suptitle(
        f"{result['model']}, batch {result['batch']}, meta batch {result['meta_batch']}, "
        f"{result['precision']}; {made['device']}",
        fontsize=9,
    )
    write_figure(path, figure)


def draw_scaling(path: Path, result: dict[str, Any]) -> None:
    """Writes measured (dots) and predicted (lines) step costs, one panel per axis; raises `OSError`."""
    axes_found = list(result["axes"].items())
    columns = 3
    lines = -(-len(axes_found) // columns)
    figure, axes = _figure(lines, columns, width=11, height=2.6 * lines)
    for axis, (name, found) in zip(axes, axes_found):
        for i, (label, curve) in enumerate(found["curves"].items()):
            axis.plot(found["x"], curve["flops_ratio"], "o", color=f"C{i}", markersize=4)
            axis.plot(found["x"], curve["predicted"], "-", color=f"C{i}", linewidth=1, label=label)
        axis.set(ylim=(0, None), title=f"{name} ({found['model']})", xlabel=found["unit"])
        axis.title.set_fontsize(8)
        axis.legend(fontsize=6, frameon=False)
    for axis in axes[len(axes_found) :]:
        axis.axis("off")
    figure.supylabel("FLOPs of a step, in plain steps", fontsize=9)
    figure.suptitle("dots: XLA's count; lines: famus_jax.core.cost.step_cost", fontsize=9)
    write_figure(path, figure)


def _figure(rows: int, columns: int, *, width: float, height: float) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)
