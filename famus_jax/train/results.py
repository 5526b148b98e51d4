"""Rows and tables of an experiment."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from famus_jax.train.methods import METHODS, MethodSpec
from famus_jax.train.schema import ScheduleConfig


def make_row(
    method: str, estimator: str, seed: int, history: Sequence[dict[str, Any]], **more: Any
) -> dict[str, Any]:
    """One run as a row of the summary; accuracies are fractions of the test set's own labels.

    `acc_selected` is the test accuracy where the *noisy validation* accuracy was best (the first
    such evaluation); `acc_best` is the best of all, as most papers print it. Where there is a second
    test set, the same of it: `acc_best_second` and so on; with many classes `top5_best` and so on,
    the share of examples whose label is one of the first five choices.
    """
    selected = int(np.argmax([record["validation_accuracy"] for record in history]))
    measured: dict[str, float] = {}
    for metric, name, suffix in _MEASURED:
        values = [record[metric] for record in history if metric in record]
        if values:
            kept = {"best": max(values), "last": values[-1], "selected": values[selected]}
            measured |= {f"{name}_{which}{suffix}": value for which, value in kept.items()}
    return {"method": method, "estimator": estimator, "seed": seed, **measured, **more}


# What is measured at every evaluation, and what a row calls it.
_MEASURED = (
    ("test_accuracy", "acc", ""),
    ("second_test_accuracy", "acc", "_second"),
    ("test_top5", "top5", ""),
    ("second_test_top5", "top5", "_second"),
)


def stopped_early(method: str, seed: int, parent: dict[str, Any]) -> dict[str, Any]:
    """The parent's run, ended at its best noisy-validation accuracy."""
    history = parent["history"]
    stop = int(np.argmax([record["validation_accuracy"] for record in history]))
    kept, row = history[: stop + 1], parent["row"]
    share = kept[-1]["step"] / history[-1]["step"]
    carried = (
        "noise_rate_realized",
        "noise_digest",
        "commit",
        "device",
        "model",
        "dtype",
        "step_cost",
    )
    return {
        "row": make_row(
            method,
            "none",
            seed,
            kept,
            **{name: row[name] for name in carried},
            steps=kept[-1]["step"],
            seconds=round(row["seconds"] * share, 3),
        ),
        "history": kept,
        "weights": None,
    }


def repeated(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """What looked wrong, and at how many evaluations; texts that differ in numbers only are one."""
    said: dict[str, list[str]] = {}
    for record in history:
        for text in record.get("warnings", ()):
            said.setdefault(without_numbers(text), []).append(text)
    return [f"{texts[-1]} ({len(texts)} of {len(history)} evaluations)" for texts in said.values()]


def without_numbers(text: str) -> str:
    """What a warning says, whatever its numbers.

    >>> without_numbers("loss reached 27.4, and guessing has 2.3")
    'loss reached , and guessing has '
    """
    return re.sub(r"[\d.]+(e[+-]?\d+)?", "", text)


def auroc(values: np.ndarray | None, wrong: np.ndarray) -> float | None:
    """The chance that a right label gets more than a wrong one; None without either, or values (or if
    all are the same: nothing was weighed, as by MLC)."""
    if values is None:
        return None
    drawn = np.isfinite(values)
    if len(set(wrong[drawn].tolist())) < 2 or np.ptp(values[drawn]) < 1e-6:
        return None
    from sklearn.metrics import roc_auc_score

    return round(float(roc_auc_score(~wrong[drawn], values[drawn])), 4)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Mean ± standard deviation over seeds, in percent; a row per method and estimator."""
    width = max(len(row["estimator"]) for row in rows)
    columns = {"best": "acc_best", "last": "acc_last", "selected": "acc_selected"}
    if any("acc_best_second" in row for row in rows):
        columns |= {"2nd: best": "acc_best_second", "2nd: last": "acc_last_second"}
    if any("top5_best" in row for row in rows):
        columns["top-5: best"] = "top5_best"
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
        rates = [row["noise_rate_realized"] for row in group]
        noise = "-" if None in rates else f"{np.mean(rates):.1%}"
        seconds = np.mean([row["seconds"] for row in group])
        lines.append(
            f"{METHODS[method].title:32s} {estimator:{width}s} "
            + " ".join(f"{_spread(group, key):>12s}" for key in columns.values())
            + f" {noise:>6s} {seconds:8.2f} {np.mean([row['step_cost'] for row in group]):6.2f}"
        )
    for row in rows:
        for text in row.get("warnings", ()):
            lines.append(f"warning: {row['method']} {row['estimator']} seed {row['seed']}: {text}")
    lines.append("\n" + "\n".join(textwrap.wrap(" ".join(_legend(rows, columns)), 110)))
    return "\n".join(lines)


def _legend(rows: Sequence[dict[str, Any]], columns: Mapping[str, str]) -> list[str]:
    """What the columns hold, in sentences; only of what the table has."""
    seeds = len({row["seed"] for row in rows})
    spread = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "of one seed"
    said = [
        f"Accuracy in % on the test labels as they came, {spread}: best of all evaluations, the last, "
        "and the one selected on held-out noisy labels."
    ]
    if "2nd: best" in columns:
        said.append("2nd: on data.second_test.")
    if "top-5: best" in columns:
        said.append("top-5: the label is one of the five first choices.")
    if any(row.get("weight_auroc") is not None for row in rows):
        said.append(
            "AUROC: how well the learned weights tell right from wrong labels (50: not at all, less: "
            "upside down)."
        )
    if "mixture" in columns:
        said.append("mixture: how well the probabilities of the mixture model do.")
    said.append(
        "noise: share of the training labels that was changed here (-: none; what was wrong before is "
        "not known). seconds: spent in steps, without compiling and evaluating. cost: forward and "
        "backward passes of a step in units of a plain step."
    )
    methods = {row["method"] for row in rows}
    steps = {row.get("steps") for row in rows}
    if any(METHODS[m].needs and not METHODS[m].early_stop for m in methods):
        said.append(
            'Rows that are fine-tuned, or say "after", take their own steps on top of CE\'s.'
        )
    if any(METHODS[m].early_stop for m in methods):
        said.append("Rows that are stopped early end before the others.")
    if (
        len(steps) == 1
        and None not in steps
        and len(methods) > 1
        and not any(METHODS[m].needs for m in methods)
    ):
        said.append(f"All rows take the same {steps.pop()} steps.")
    return said


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
    spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""  # of one, none is known
    return f"{values.mean():.1f}{spread}"


def step_cost(
    schedule: ScheduleConfig, method: MethodSpec, history: Sequence[dict[str, Any]]
) -> float:
    """The step's forward and backward passes over a plain step's, from its layers."""
    if method.batches == "noisy+trusted":
        return 1 + schedule.meta_batch_size / schedule.batch_size
    return float(np.mean([record["cost"] for record in history]))
