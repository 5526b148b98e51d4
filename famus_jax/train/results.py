"""Rows, tables and the summary file of an experiment."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from famus_jax.train.methods import METHODS

_PACKAGES = ("famus_jax", "jax", "jaxlib", "flax", "optax", "numpy", "tensorflow-datasets")


def make_row(
    method: str, estimator: str, seed: int, history: Sequence[dict[str, Any]], **more: Any
) -> dict[str, Any]:
    """One run as a row of the summary; accuracies are fractions on the clean test set.

    `acc_selected` is the test accuracy where the *noisy validation* accuracy was best (the first
    such evaluation); `acc_best` is the best of all, as most papers print it.
    """
    test = [record["test_accuracy"] for record in history]
    validation = [record["validation_accuracy"] for record in history]
    return {
        "method": method,
        "estimator": estimator,
        "seed": seed,
        "acc_best": max(test),
        "acc_last": test[-1],
        "acc_selected": test[int(np.argmax(validation))],
        **more,
    }


def made_on() -> dict[str, str | None]:
    """Where a run ended: commit and hardware, for its row (an experiment may go on elsewhere)."""
    return {"commit": _commit(), "device": _device()}


def provenance(command: Sequence[str] | None = None) -> dict[str, Any]:
    """What made a result: command, commit, versions, hardware."""
    device = jax.devices()[0]
    return {
        "command": " ".join(command or sys.argv),
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "device": _device(),
        "matmul_precision": getattr(jax.config, "jax_default_matmul_precision", None) or "default",
        "platform": device.platform,
        "platform_version": str(getattr(device.client, "platform_version", "")),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Mean ± standard deviation over seeds, in percent; a row per method and estimator."""
    width = max(len(row["estimator"]) for row in rows)
    columns = {"best": "acc_best", "last": "acc_last", "selected": "acc_selected"}
    columns["AUROC"] = "weight_auroc"
    if any(row.get("probability_auroc") is not None for row in rows):
        columns["mixture"] = "probability_auroc"
    header = (
        f"{'method':32s} {'estimator':{width}s} "
        + " ".join(f"{name:>12s}" for name in columns)
        + f" {'noise':>6s} {'seconds':>8s} {'cost':>6s}"
    )
    lines = [header, "-" * len(header)]
    for (method, estimator), group in grouped(rows).items():
        noise = np.mean([row["noise_rate_realised"] for row in group])
        seconds = np.mean([row["seconds"] for row in group])
        lines.append(
            f"{METHODS[method].title:32s} {estimator:{width}s} "
            + " ".join(f"{_spread(group, key):>12s}" for key in columns.values())
            + f" {noise:6.1%} {seconds:8.2f} {np.mean([row['step_cost'] for row in group]):6.2f}"
        )
    seeds = len({row["seed"] for row in rows})
    lines.append(
        f"\nTest accuracy in %, mean ± standard deviation over {seeds} seeds: best of all "
        "evaluations, the last, and\nthe one selected on held-out noisy labels. AUROC: how well the "
        "learned weights tell right from wrong labels\n(50: not at all); mixture: how well the "
        "probabilities of the mixture model do. noise: realised share of wrong training\nlabels. "
        "cost: forward and backward passes of a step in units of a plain step."
    )
    return "\n".join(lines)


def grouped(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Rows by (method, estimator), in the order of their first appearance."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["estimator"]), []).append(row)
    return groups


def _spread(group: Sequence[dict[str, Any]], key: str) -> str:
    if any(row.get(key) is None for row in group):
        return "-"
    values = 100 * np.array([row[key] for row in group])
    return f"{values.mean():.1f} ± {values.std(ddof=1) if len(values) > 1 else 0:.1f}"


def _device() -> str:
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"


def _commit() -> str | None:
    """The commit of the source tree, with "+" if it has uncommitted changes; None outside git."""
    here = Path(__file__).parent

    def git(*args: str) -> str:
        run = subprocess.run(["git", *args], cwd=here, capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != here.parent.parent:
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
