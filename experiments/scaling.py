"""How the cost of a step grows: with depth, width, batch, meta batch, layers, active layers.

    python -m experiments.scaling --json=PATH --picture=PATH

Small networks by default, so that compiling is most of the work. Measured: XLA's FLOPs of the step over
those of the plain step of the same size, and compile seconds. Predicted: `core.cost.step_cost`, from
the layers alone. Per axis a line is fitted to both; L = the number of layers, n, m = batch sizes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.pictures import draw_scaling
from famus_jax.benchmark.measure import Compiled, compile_step, interleaved_seconds
from famus_jax.benchmark.workload import Workload, lower_ours, lower_plain, make_workload
from famus_jax.core.cost import program_costs
from famus_jax.core.estimator import Estimator
from famus_jax.core.estimators import all_layers, last_layers
from famus_jax.files import write_json
from famus_jax.layers.partition import Layers, layers_by
from famus_jax.models.simple import SmallCNN
from famus_jax.models.wide_resnet import WideResNet
from famus_jax.progress import track
from famus_jax.provenance import provenance


class Axis(NamedTuple):
    """One axis.

    Attributes:
      unit: what x is, with its unit.
      model: the network, for people.
      values: what varies, ascending.
      x: value -> the number that the line is fitted against.
      work: value -> the workload.
      estimators: value, L -> the steps, by label.
    """

    unit: str
    model: str
    values: tuple[int, ...]
    x: Callable[[int], float]
    work: Callable[[int], Workload]
    estimators: Callable[[int, int], dict[str, Estimator]]


def common_estimators(value: int, num_layers: int) -> dict[str, Estimator]:
    """The steps of most axes."""
    del value, num_layers
    return {
        "all layers": all_layers(),
        "last layer": last_layers(1),
        "last layer, active virtual step": last_layers(1, virtual_step="active"),
    }


def layer_estimators(value: int, num_layers: int) -> dict[str, Estimator]:
    """Those of the axis of layer counts: one product for all, one per layer, the last layer."""
    del value, num_layers
    top = last_layers(1, virtual_step="active")
    return {
        "all layers": all_layers(),
        "all layers, one by one": all_layers(route="vjp"),
        "last layer, active virtual step": top,
    }


def active_estimators(value: int, num_layers: int) -> dict[str, Estimator]:
    """Those of the axis of active layers: the last `value`."""
    k = min(value, num_layers)
    active = last_layers(k, virtual_step="active")
    return {"last layers": last_layers(k), "last layers, active virtual step": active}


def default_axes(image_size: int = 16) -> dict[str, Axis]:
    """The axes, by name; about three minutes of compiling on two cores."""

    def net(*widths: int) -> SmallCNN:
        return SmallCNN(10, widths=widths)

    def cnn(n: int = 16, m: int = 16, scale: int = 1) -> Workload:
        return make_workload(net(*(scale * w for w in (16, 32, 64))), n, m, image_size=image_size)

    def deep(n: int, count: int | None = None) -> Workload:
        widths = (16, 16, 32, 32, 64, 64, 64)
        work = make_workload(net(*widths), n, n, image_size=2 * image_size)
        return work if count is None else work._replace(layers=coarse(work.layers, count))

    def wide(depth: int) -> Workload:
        return make_workload(WideResNet(depth, 1, 10), 8, 8, image_size=image_size)

    small, common = "convolutions of 16, 32, 64 channels", common_estimators
    long = "7 convolutions"
    own = float
    return {
        "depth": Axis("depth", "WideResNet, width 1", (10, 16, 22, 28), own, wide, common),
        "width": Axis("times as wide", small, (1, 2, 3, 4), own, lambda k: cnn(scale=k), common),
        "batch": Axis(
            "meta batch / batch (meta batch 8)",
            small,
            (8, 16, 32, 64),
            lambda n: 8 / n,
            lambda n: cnn(n, 8),
            common,
        ),
        "meta_batch": Axis(
            "meta examples (batch 32)", small, (4, 8, 16, 32), own, lambda m: cnn(32, m), common
        ),
        "layers": Axis("layers", long, (2, 4, 6, 8), own, lambda k: deep(8, k), layer_estimators),
        "active_layers": Axis(
            "active layers", long, (1, 3, 5, 8), own, lambda k: deep(8), active_estimators
        ),
    }


def coarse(layers: Layers, count: int) -> Layers:
    """A coarser partition: `count` runs of neighboring layers, as equal in number as they can be.

    Raises:
      ValueError: unless 1 <= count <= L.
    """
    size = len(layers)
    if not 1 <= count <= size:
        raise ValueError(f"count must lie between 1 and {size}, the number of layers; got {count}")
    owner = [i * count // size for i in layers.all]
    costs = [sum(c for c, o in zip(layers.costs, owner) if o == i) for i in range(count)]
    names = [f"run{i}" for i in range(count)]
    tree = layers.treedef.unflatten([owner[i] for i in layers.index])
    return layers_by(tree, tree, names, costs)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the least-squares line through the points, in y per x; 0 if all x are alike."""
    if len(set(x)) < 2:
        return 0.0
    return float(np.polyfit(np.asarray(x), np.asarray(y), 1)[0])


def measure_axis(axis: Axis, rounds: int = 0) -> dict[str, Any]:
    """One axis.

    Args:
      axis: what varies.
      rounds: timed steps per program; 0 for no times.

    Returns:
      `{"unit", "model", "values", "x", "plain_flops", "curves": {label: {"flops_ratio", "predicted",
      "compile_seconds", "time_ratio" (None without times), "slope", "predicted_slope"}}}`; slopes in
      plain steps per unit of x.
    """
    points: dict[str, list[dict[str, float | None]]] = {}
    plain_flops = []
    for value in axis.values:
        work = axis.work(value)
        steps: dict[str, Compiled] = {"plain": compile_step(*lower_plain(work))}
        plain = steps["plain"].flops or 1.0
        plain_flops.append(plain)
        estimators = axis.estimators(value, len(work.layers))
        for label, estimator in estimators.items():
            steps[label] = compile_step(*lower_ours(work, estimator))
        median = {}
        if rounds:
            seconds = interleaved_seconds(steps, rounds)
            median = {label: statistics.median(times) for label, times in seconds.items()}
        for label, estimator in estimators.items():
            point = {
                "flops_ratio": (steps[label].flops or 0.0) / plain,
                "predicted": program_costs(work.problem(), estimator, work.n, work.m)[0],
                "compile_seconds": steps[label].compile_seconds,
                "time_ratio": median[label] / median["plain"] if median else None,
            }
            points.setdefault(label, []).append(point)
    x = [axis.x(value) for value in axis.values]
    curves = {}
    for label, found in points.items():
        curve: dict[str, Any] = {key: [point[key] for point in found] for key in found[0]}
        curve["slope"] = slope(x, curve["flops_ratio"])
        curve["predicted_slope"] = slope(x, curve["predicted"])
        curves[label] = curve
    return {
        "unit": axis.unit,
        "model": axis.model,
        "values": list(axis.values),
        "x": x,
        "plain_flops": plain_flops,
        "curves": curves,
    }


def run_scaling(
    only: Sequence[str] = (),
    *,
    image_size: int = 16,
    rounds: int = 0,
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Every axis (or `only` these); returns `{"axes": {name: see measure_axis}, "provenance"}`.

    Raises:
      ValueError: for an unknown axis, images under 8 pixels, or negative rounds.
    """
    axes = default_axes(image_size)
    if unknown := [name for name in only if name not in axes]:
        raise ValueError(f"no axis {unknown[0]!r}; the axes are {list(axes)}")
    if image_size < 8:
        raise ValueError(f"image_size must be at least 8 pixels; got {image_size}")
    if rounds < 0:
        raise ValueError(f"rounds must be at least 0 (0: no times); got {rounds}")
    result = {}
    chosen = [name for name in axes if not only or name in only]
    for name in track(chosen, "axis", "scaling"):
        result[name] = measure_axis(axes[name], rounds)
    return {
        "axes": result,
        "image_size": image_size,
        "rounds": rounds,
        "provenance": provenance(command),
    }


def table(result: dict[str, Any]) -> str:
    """Per axis and step: the ratios along the axis, and both slopes."""
    made = result["provenance"]
    lines = [
        f"\nFLOPs of a step over a plain step's; {made['device']}, jax {made['versions']['jax']}"
    ]
    for name, axis in result["axes"].items():
        lines.append(f"\n{name}: {axis['model']}; x = {axis['unit']}")
        points = " ".join(f"{x:7.4g}" for x in axis["x"])
        lines.append(f"{'x':32s} {points} {'slope':>9s} {'predicted':>9s} {'compile s':>12s}")
        for label, curve in axis["curves"].items():
            points = " ".join(f"{y:7.3f}" for y in curve["flops_ratio"])
            seconds = curve["compile_seconds"]
            lines.append(
                f"{label:32s} {points} {curve['slope']:9.4f} {curve['predicted_slope']:9.4f} "
                f"{min(seconds):5.1f}..{max(seconds):.1f}"
            )
            if curve["time_ratio"][0] is not None:
                times = " ".join(f"{y:7.3f}" for y in curve["time_ratio"])
                lines.append(f"{'  time':32s} {times}")
    lines.append(
        "\nSlopes are of least-squares lines, in plain steps per unit of x; predicted by step_cost"
    )
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.scaling", description=__doc__)
    add = parser.add_argument
    add("--axes", default="", help="only these, comma-separated")
    add("--image_size", type=int, default=16, help="height and width in pixels")
    add("--rounds", type=int, default=0, help="timed steps per program (default: no times)")
    add("--json", type=Path, default=None, help="write everything here")
    add("--picture", type=Path, default=None, help="draw it here")
    args = parser.parse_args(list(argv))
    try:
        result = run_scaling(
            [name for name in args.axes.split(",") if name],
            image_size=args.image_size,
            rounds=args.rounds,
            command=["python -m experiments.scaling", *argv],
        )
    except ValueError as error:
        print(f"scaling: {error}", file=sys.stderr)
        return 1
    print(table(result))
    if args.picture:
        draw_scaling(args.picture, result)
        print(f"written: {args.picture}")
    if args.json:
        write_json(args.json, result)
        print(f"written: {args.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
