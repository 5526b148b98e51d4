"""The picture of an agreement study: agreement, gates and weights over time, accuracy by cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.agreement.config import gates_of
from experiments.agreement.lines import Lines
from experiments.agreement.shared import Study
from famus_jax.files import write_figure


def draw(study: Study, lines: Lines, accuracy: Sequence[dict[str, Any]], path: Path) -> None:
    """All panels in one PNG; `accuracy` as `report.accuracies` gives it, may be empty."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    runs = study.plan.experiment.runs
    gated = [run for run in runs if gates_of(study.estimators[run.name])]
    names = [run.name for run in runs]
    panels = 2 + len(gated) + len(names) + bool(accuracy)
    columns = min(panels, 4)
    rows = -(-panels // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(4.6 * columns, 3.9 * rows), layout="constrained", squeeze=False
    )
    free = iter(axes.ravel())
    _over_time(next(free), study, lines, "cosine", "cosine with the exact ∂L_val/∂V")
    signs = next(free)
    _over_time(signs, study, lines, "sign_agreement", "share of equal signs")
    for run in gated:
        axis = next(free)
        figure.colorbar(
            _openings(axis, study, lines, run.name), ax=axis, label="share of steps open"
        )
    for name in names:
        _weights(next(free), lines, name)
    if accuracy:
        _accuracy(next(free), accuracy)
    for axis in free:
        axis.set_axis_off()
    figure.legend(*signs.get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  fontsize=8, frameon=False)  # fmt: skip
    write_figure(path, figure)
    plt.close(figure)


def _over_time(axis, study: Study, lines: Lines, name: str, title: str) -> None:
    """One curve per estimator: mean over seeds ± standard deviation over batches.

    Other routes to the exact gradient coincide with it, and are left out.
    """
    count = 0
    for run in study.plan.experiment.runs:
        for label in study.compared_along(run):
            found = lines.of("agreement", run=run.name, estimator=label)
            if label != "all_layers" and min(record["cosine"] for record in found) > 0.99999:
                continue
            steps = sorted({record["step"] for record in found})
            mean, sd = (
                np.array([np.mean([r[key] for r in found if r["step"] == s]) for s in steps])
                for key in (name, f"{name}_sd")
            )
            color, style = f"C{count % 10}", ("-", "--", ":")[count // 10 % 3]
            axis.plot(steps, mean, style, color=color, label=label, linewidth=1.5, marker=".")
            axis.fill_between(steps, mean - sd, mean + sd, color=color, alpha=0.06, linewidth=0)
            count += 1
    axis.set(xlabel="step", title=title)
    axis.set_ylim(top=1.02)
    axis.grid(alpha=0.25)


def _openings(axis, study: Study, lines: Lines, name: str):
    """How often every layer was open, window by window; bottom layer below."""
    found = lines.of("window", run=name)
    ends = sorted({record["step"] for record in found})
    share = np.stack([np.mean([r["open"] for r in found if r["step"] == e], 0) for e in ends], 1)
    edges = [0, *ends]
    image = axis.pcolormesh(edges, np.arange(len(share) + 1), share, vmin=0, vmax=1, cmap="viridis")
    layers = study.layers_of(study.estimators[name]).names
    axis.set_yticks(np.arange(len(layers)) + 0.5, layers, fontsize=7)
    axis.set_title(f"{name}: open layers", fontsize=9)
    axis.set_xlabel("step")
    return image


def _weights(axis, lines: Lines, name: str) -> None:
    """Median, quartiles and 5 to 95 % of the weights of right and of wrong labels."""
    for kind, color, label in (
        ("clean", "tab:green", "right label"),
        ("wrong", "tab:red", "wrong label"),
    ):
        found = [r for r in lines.of("weights", run=name) if r[kind] is not None]
        if not found:
            continue
        steps = sorted({record["step"] for record in found})
        bands = np.stack([np.mean([r[kind] for r in found if r["step"] == s], 0) for s in steps])
        axis.fill_between(steps, bands[:, 0], bands[:, 4], color=color, alpha=0.12, linewidth=0)
        axis.fill_between(steps, bands[:, 1], bands[:, 3], color=color, alpha=0.25, linewidth=0)
        axis.plot(steps, bands[:, 2], color=color, label=label, marker=".")
    axis.axhline(1, color="grey", linewidth=0.6, linestyle=":")
    axis.set(xlabel="step", ylabel="weight (1 = plain training)", ylim=(0, None))
    axis.set_title(f"{name}: weights", fontsize=9)
    axis.legend(fontsize=7, frameon=False)


def _accuracy(axis, accuracy: Sequence[dict[str, Any]]) -> None:
    for entry in accuracy:
        axis.errorbar(entry["cost"], 100 * entry["mean"], 100 * (entry["sd"] or 0), fmt="o", ms=4)
        axis.annotate(
            entry["name"],
            (entry["cost"], 100 * entry["mean"]),
            fontsize=5,
            xytext=(3, 2),
            textcoords="offset points",
        )
    axis.set(
        xlabel="cost in plain steps", ylabel="final test accuracy (%)", title="Accuracy by cost"
    )
    axis.grid(alpha=0.25)
