"""How far apart rounding alone drives two runs: many devices against one, and one ulp against another.

    XLA_FLAGS=--xla_force_host_platform_device_count=4 python -m experiments.rounding --json=PATH

The quick start's L2R row, seed 0: once on one device, once on all, and on one device with learning
rates that differ from the config's by a few float32 ulps, which nobody would call another setting. Told
is the largest difference of test accuracy at one evaluation, and of the loss at the first.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from famus_jax import parallel
from famus_jax.files import write_json
from famus_jax.progress import track
from famus_jax.provenance import provenance
from famus_jax.train.experiment import run_experiment
from famus_jax.train.placement import ONE_DEVICE, Placement

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.py"


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.rounding", description=__doc__)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--ulps", type=int, default=4, help="so many up and down")
    parser.add_argument("--json", type=Path, default=None, help="write the rows here")
    arguments = parser.parse_args(argv)
    result = compare(arguments.steps, arguments.ulps)
    print(table(result["rows"]))
    if arguments.json:
        write_json(arguments.json, result)
    return 0


def compare(steps: int, ulps: int) -> dict[str, Any]:
    """Rows `{"what", "accuracy_points", "first_loss"}`: differences from one device."""
    rate = np.float32(_config()["schedule"]["learning_rate"])
    rates = {0: rate}
    for k in range(1, ulps + 1):
        rates[k] = np.nextafter(rates[k - 1], np.float32(np.inf))
        rates[-k] = np.nextafter(rates[1 - k], np.float32(0))
    settings = [("one device", rate, ONE_DEVICE)]
    if jax.device_count() > 1:
        everywhere = Placement(parallel.data_mesh())
        settings.append((f"{jax.device_count()} devices", rate, everywhere))
    settings += [
        (f"one device, learning rate {k:+d} ulp", rates[k], ONE_DEVICE) for k in sorted(rates) if k
    ]
    histories = [
        _history(steps, float(used), where) for _, used, where in track(settings, "run", "rounding")
    ]
    first = histories[0]
    rows = [
        {
            "what": what,
            "accuracy_points": 100 * max(_apart(first, history, "test_accuracy")),
            "first_loss": _apart(first, history, "loss")[0],
        }
        for (what, _, _), history in zip(settings, histories)
    ]
    return {"steps": steps, "rows": rows, "provenance": provenance()}


def _config() -> dict[str, Any]:
    return runpy.run_path(str(CONFIG))["get_config"]().to_dict()


def _history(steps: int, learning_rate: float, placement: Placement) -> list[dict[str, Any]]:
    config = _config()
    config["runs"] = [run for run in config["runs"] if run["method"] == "l2r"]
    config["seeds"] = (0,)
    config["schedule"] |= {"steps": steps, "eval_every": 10, "checkpoint_every": 10 * steps}
    config["schedule"]["learning_rate"] = learning_rate
    with tempfile.TemporaryDirectory() as folder:
        run_experiment(config, folder, show=lambda text: None, placement=placement)
        (path,) = Path(folder).glob("runs/*/seed_0/metrics.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()]


def _apart(a: list[dict[str, Any]], b: list[dict[str, Any]], name: str) -> list[float]:
    return [abs(x[name] - y[name]) for x, y in zip(a, b, strict=True)]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line per run."""
    head = f"{'run':36s} {'test accuracy, points':>22s} {'loss at first':>14s}"
    lines = [
        f"{row['what']:36s} {row['accuracy_points']:22.2f} {row['first_loss']:14.1e}"
        for row in rows
    ]
    return "\n".join([head, *lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
