"""Accuracy against seconds: what a finished experiment reached, beside what its steps cost here.

    python -m experiments.frontier time --config=FILE --summary=WORKDIR/summary.json --json=OUT
    python -m experiments.frontier draw OUT [OUT ...] --picture=PATH

Seconds within a run are those of a machine that may have been busy; steps timed in turn, a block of
each, compare fairly.
"""

from __future__ import annotations

import argparse
import re
import runpy
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.dispatched import dispatched
from famus_jax.benchmark.measure import interleaved_seconds
from famus_jax.files import read_json, write_figure, write_json
from famus_jax.provenance import provenance
from famus_jax.train.config import ExperimentConfig, parse_config
from famus_jax.train.experiment import Experiment
from famus_jax.train.methods import METHODS
from famus_jax.train.results import grouped


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.frontier", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    timed = commands.add_parser("time", help="time a config's steps, join them with its summary")
    timed.add_argument("--config", required=True, help="FILE or FILE:VARIANT")
    timed.add_argument("--data_dir", default="", help="where prepared data lies")
    timed.add_argument("--summary", type=Path, required=True, help="summary.json of a finished run")
    timed.add_argument("--rounds", type=int, default=9, help="blocks per row")
    timed.add_argument("--block", type=int, default=20, help="steps in a block")
    timed.add_argument("--json", type=Path, required=True)
    drawn = commands.add_parser("draw", help="draw what `time` wrote")
    drawn.add_argument("files", nargs="+", type=Path)
    drawn.add_argument("--picture", type=Path, required=True)
    args = parser.parse_args(list(argv))
    try:
        if args.command == "draw":
            draw([read_json(path) for path in args.files], args.picture)
            return 0
        config = _load(args.config, args.data_dir)
        summary = read_json(args.summary)
        seconds = block_seconds(config, args.rounds, args.block)
        result = join(config, summary, seconds)
        result["rounds"], result["block"] = args.rounds, args.block
        result["provenance"] = provenance(["python -m experiments.frontier", *argv])
        result["summary_provenance"] = summary["provenance"]
        write_json(args.json, result)
        print(table(result))
    except (ValueError, FileNotFoundError) as error:
        print(f"frontier: {error}", file=sys.stderr)
        return 1
    return 0


def _load(path: str, data_dir: str) -> ExperimentConfig:
    file, _, variant = path.partition(":")
    make = runpy.run_path(file)["get_config"]
    config = (make(variant) if variant else make()).to_dict()
    if data_dir:
        config["data"]["data_dir"] = data_dir
    return parse_config(config)


def block_seconds(config: ExperimentConfig, rounds: int, block: int) -> dict[str, list[float]]:
    """Seconds per step of every run of a config, on its network and random data of its shapes.

    A block of steps of each run in turn, `rounds` times after its programs are compiled. A block holds
    every program of a step in its natural share: make it longer than `update_every` and
    `control_variate_every`.
    """
    experiment = Experiment(config, Path())
    shape = experiment.sources.train.images.shape[1:]
    classes = experiment.sources.train.num_classes

    def batch(size: int) -> dict[str, jax.Array]:
        rng = np.random.default_rng(size)
        images = rng.normal(size=(size, *shape)).astype(np.float32)
        labels = rng.integers(0, classes, size)
        return jax.device_put({"image": images, "label": labels, "index": np.arange(size)})

    train, meta = batch(config.schedule.batch_size), batch(config.schedule.meta_batch_size)
    params, model_state = experiment.setting.init(jax.random.key(0))
    steps = {}
    for run in config.runs:
        method = METHODS[run.method]
        if method.needs or method.batches != "noisy" or method.networks != 1:
            continue
        step = experiment.one_network.step(run, False, params, model_state, train)
        state, known = step.init(jax.random.key(0), params, model_state, train, meta), -1
        while known != len(step.compiled):  # until no program is new
            known = len(step.compiled)
            for _ in range(3 * block):
                state, _ = step(state, train, meta)
        steps[run.name] = dispatched(step, state, (train, meta))
    return interleaved_seconds(steps, rounds, block=block, shared=False, title="timing")


def join(
    config: ExperimentConfig, summary: dict[str, Any], seconds: dict[str, list[float]]
) -> dict[str, Any]:
    """The rows of a summary with their time over plain training's.

    Raises:
      ValueError: if the summary is of other runs than the config.
    """
    groups, rows = grouped(summary["rows"]), []
    if "ce" not in seconds:
        raise ValueError("the config needs the run {'method': 'ce'}: its step is the unit of time")
    plain = statistics.median(seconds["ce"])
    for run in config.runs:
        if run.name not in seconds:
            continue
        label = run.estimator_label
        known = (label, _label_before(label, config.schedule.batch_size))
        found = next((groups[run.method, k] for k in known if (run.method, k) in groups), None)
        if found is None:
            raise ValueError(f"the summary has no run {run.name!r}; it has {list(groups)}")
        last = 100 * np.array([row["acc_last"] for row in found])
        auroc = [row["weight_auroc"] for row in found if row.get("weight_auroc") is not None]
        rows.append(
            {
                "method": run.method,
                "estimator": run.estimator_label,
                "learns": METHODS[run.method].learns,
                "accuracy": float(last.mean()),
                "accuracy_sd": float(last.std(ddof=1)) if len(last) > 1 else 0.0,
                "auroc": float(np.mean(auroc)) if auroc else None,
                "step_cost": float(np.mean([row["step_cost"] for row in found])),
                "time_ratio": statistics.median(seconds[run.name]) / plain,
                "step_ms": 1e3 * statistics.median(seconds[run.name]),
                "seeds": len(found),
            }
        )
    return {"rows": rows, "source": config.data.source, "model": config.model.name}


# What labels said before they took the names of functions and fields: recorded summaries still do.
_BEFORE = (
    (r"^all_layers", "exact"),
    (r"^last_layers_(\d+)", r"famus_top\1"),
    (r"^random_layers_(\d+)", r"famus_random\1"),
    (r"^gates_([a-z]+)(_[a-z_]+=[^_]+)*", r"famus_\1"),
    (r"_active_step", "_active_only"),
    (r"_actual_step", "_one_pass"),
    (r"_through_optimizer", "_optimizer"),
    (r"_variate(\d+)", r"_corrected\1"),
)


def _label_before(label: str, batch_size: int) -> str:
    """An estimator's label as summaries of before have it."""
    for now, before in _BEFORE:
        label = re.sub(now, before, label)
    return re.sub(r"_examples(\d+)", lambda found: f"_part{int(found[1]) / batch_size}", label)


def table(result: dict[str, Any]) -> str:
    """The rows for people."""
    width = max(len(row["estimator"]) for row in result["rows"])
    lines = [
        f"{'method':14s} {'estimator':{width}s} {'accuracy':>12s} {'AUROC':>6s} {'passes':>7s} time"
    ]
    for row in result["rows"]:
        auroc = "-" if row["auroc"] is None else f"{100 * row['auroc']:.0f}"
        lines.append(
            f"{row['method']:14s} {row['estimator']:{width}s} "
            f"{row['accuracy']:5.1f} ± {row['accuracy_sd']:4.1f} {auroc:>6s} "
            f"{row['step_cost']:7.2f} {row['time_ratio']:5.2f}"
        )
    lines.append("passes and time: of a step, over a plain step's")
    return "\n".join(lines)


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Accuracy over time ratio, one panel per result; a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(results), 1, figsize=(10, 4.8 * len(results)), layout="constrained", squeeze=False
    )
    for axis, result in zip(axes[:, 0], results):
        for row in result["rows"]:
            color = {"ce": "black", "mwnet": "tab:blue"}.get(row["method"], "tab:orange")
            point = (row["time_ratio"], row["accuracy"])
            axis.errorbar(*point, yerr=row["accuracy_sd"], fmt="o", color=color, elinewidth=0.7)
            name = row["method"] if not row["learns"] else row["estimator"]
            axis.annotate(name, point, (5, 3), textcoords="offset points", fontsize=7, color=color)
        axis.set(
            xlabel="time of a step over a plain step's",
            ylabel="test accuracy, last step (%)",
            title=f"{result['source']}, {result['model']}: black CE, blue MW-Net, orange L2R",
        )
        axis.grid(alpha=0.25)
    write_figure(path, figure)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
