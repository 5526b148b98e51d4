"""Plots of an experiment: accuracy over time, and what weight right and wrong labels got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from famus_jax.files import write_figure
from famus_jax.train.figures import new_figure
from famus_jax.train.methods import METHODS

RIGHT, WRONG, UNKNOWN = "right label", "wrong label", "label, right or wrong"
_SIDES = {RIGHT: (-1, "tab:green"), WRONG: (1, "tab:red"), UNKNOWN: (-1, "tab:gray")}


class Curve(NamedTuple):
    """One method: its estimator, every seed's history, and the weights by label quality.

    `offset` is where the curve starts, in steps: a run that continues another is drawn behind it.
    `weights` holds the mean weights (1 = plain training) of examples by what is known of their labels
    (`RIGHT` and `WRONG`, or `UNKNOWN`), of all seeds together; empty for methods without weights.
    """

    method: str
    estimator: str
    histories: Sequence[Sequence[dict[str, Any]]]
    offset: int = 0
    weights: Mapping[str, np.ndarray] = MappingProxyType({})

    @property
    def title(self) -> str:
        """A legend entry."""
        name = METHODS[self.method].title
        return name if self.estimator == "none" else f"{name}, {self.estimator}"


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Accuracy of every method over steps, beside the weights that the methods learned; a PNG."""
    weighted = [c for c in curves if c.weights]
    figure = new_figure((7 + 2.2 * len(weighted), 4.6), layout="constrained")
    axes = figure.subplots(
        1,
        1 + len(weighted),
        width_ratios=[7, *[2.2] * len(weighted)],
        squeeze=False,
    )
    _accuracies(axes[0, 0], curves, [f"C{i}" for i in range(10)])
    for axis, curve in zip(axes[0, 1:], weighted):
        _weights(axis, curve)
    if weighted:
        axes[0, 1].set_ylabel("weight (1 = plain training)")
        handles, labels = axes[0, 1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower right", ncols=2, frameon=False)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=3,
                  fontsize=8, frameon=False)  # fmt: skip
    write_figure(path, figure)


def _accuracies(axis, curves: Sequence[Curve], colors) -> None:
    for i, curve in enumerate(curves):
        steps = [curve.offset + record["step"] for record in curve.histories[0]]
        values = 100 * np.array(
            [[record["test_accuracy"] for record in history] for history in curve.histories]
        )
        style = "-" if curve.weights else "--"
        color = colors[i % len(colors)]
        marker = "o" if len(steps) == 1 else None  # a line of one point can't be seen
        axis.plot(
            steps,
            values.mean(0),
            style,
            color=color,
            label=curve.title,
            linewidth=1.6,
            marker=marker,
        )
        if len(values) > 1 and len(steps) == 1:
            axis.errorbar(steps, values.mean(0), values.std(0, ddof=1), color=color, capsize=3)
        elif len(values) > 1:
            mean, spread = values.mean(0), values.std(0, ddof=1)
            axis.fill_between(
                steps, mean - spread, mean + spread, color=color, alpha=0.12, linewidth=0
            )
    axis.set(xlabel="step", ylabel="test accuracy (%)", title="Accuracy on the test labels")
    axis.grid(alpha=0.25)


def _weights(axis, curve: Curve) -> None:
    """Half violins of one histogram range: right labels on the left, wrong ones on the right."""
    every = np.concatenate(list(curve.weights.values()))
    if not len(every):
        return
    top = np.quantile(every, 0.99) * 1.05 + 1e-9
    edges = np.linspace(0, top, 40)
    centers = (edges[1:] + edges[:-1]) / 2
    for label, values in curve.weights.items():
        if not len(values):  # no wrong label at all, say
            continue
        side, color = _SIDES[label]
        counts, _ = np.histogram(np.minimum(values, top), edges)
        width = side * counts / max(counts.max(), 1)
        axis.fill_betweenx(centers, 0, width, color=color, alpha=0.7, label=label)
        axis.hlines(values.mean(), *sorted((0, side)), color=color, linewidth=2)
    axis.axvline(0, color="black", linewidth=0.6)
    axis.axhline(1, color="grey", linewidth=0.6, linestyle=":")
    axis.set(xticks=[], ylim=(0, None))
    axis.set_title(f"{METHODS[curve.method].title}\n{curve.estimator}", fontsize=8)
