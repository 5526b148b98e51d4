"""From measurements along runs to the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.agreement.config import gates_of
from experiments.agreement.lines import Lines
from experiments.agreement.shared import Study
from famus_jax.core.cost import mean_cost
from famus_jax.files import read_json

_MEANS = (
    "cosine",
    "cosine_sd",
    "sign_agreement",
    "sign_agreement_sd",
    "relative_error",
    "relative_error_sd",
)
_MEDIANS = ("theta_variance", "theta_bias")  # ratios whose denominator is at times near 0


def rows_of(study: Study, lines: Lines, prices: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per estimator, over points and seeds; spreads (`..._sd`) are over batches.

    Means; of `theta_variance` and `theta_bias` medians.

    The cost is in plain steps: by `mean_cost`, and for learned gates the mean over the programs that
    came up (`prices`, by run).
    """
    rows = []
    for run in study.plan.experiment.runs:
        for label, estimator in study.compared_along(run).items():
            found = lines.of("agreement", run=run.name, estimator=label)
            cost = (
                prices[run.name]["analytic_mean"]
                if gates_of(estimator)
                else mean_cost(study.problem, estimator, study.n, study.m)
            )
            row = {"estimator": label, "run": run.name, "points": len(found), "cost": float(cost)}
            for names, middle in ((_MEANS, np.mean), (_MEDIANS, np.median)):
                for name in names:
                    known = [record[name] for record in found if record[name] is not None]
                    row[name] = float(middle(known)) if known else None
            rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]], prices: dict[str, dict[str, Any]]) -> str:
    """The rows, and what learned gates cost, for people."""
    width = max(len(row["estimator"]) for row in rows)
    header = (
        f"{'estimator':{width}s} {'cosine':>15s} {'signs':>7s} {'rel. error':>11s} "
        f"{'θ variance':>11s} {'θ bias':>7s} {'cost':>6s}"
    )
    lines = [header, "-" * len(header)]
    for row in rows:
        lines.append(
            f"{row['estimator']:{width}s} {row['cosine']:7.4f} ± {row['cosine_sd']:5.3f} "
            f"{row['sign_agreement']:7.3f} {row['relative_error']:11.3g} "
            f"{_number(row['theta_variance']):>11s} {_number(row['theta_bias']):>7s} {row['cost']:6.2f}"
        )
    lines.append(
        "\nAgainst the exact ∂L_val/∂V, V the weights of the batch: means over the points of the run; "
        "± is the\nstandard deviation over batches and draws. θ variance: over batches, of MW-Net's "
        "gradient over its squared\nmean; θ bias: the distance of its mean to the exact one's, over "
        "the latter (medians over points).\ncost: in plain steps."
    )
    for name, price in prices.items():
        lines.append(f"\n{name}: what the gates cost, in plain steps")
        lines.append(
            f"  {'lowest layer':20s} {'share':>7s} {'FLOPs':>7s} {'analysis':>9s} {'time':>7s}"
        )
        for number, share in price["shares"].items():
            lines.append(
                f"  {price['lowest_layer'][number]:20s} {share:7.1%} "
                f"{price['flops_ratio'][number]:7.3f} {price['analytic'][number]:9.3f} "
                f"{price['time_ratio'][number]:7.3f}"
            )
        lines.append(
            f"  {'mean':20s} {'':7s} {price['flops']:7.3f} {price['analytic_mean']:9.3f} "
            f"{price['time']:7.3f}"
        )
        if price["budget"] is not None:
            lines.append(
                f"  declared budget {price['budget']:g}: {price['budget_deviation']:+.1%} by analysis, "
                f"{price['flops'] / price['budget'] - 1:+.1%} by FLOPs"
            )
    return "\n".join(lines)


def input_effects(lines: Lines) -> dict[str, float]:
    """Per gates run the mean over gates, points and seeds of |p(ḡ) − p(0)|."""
    effects: dict[str, list[float]] = {}
    for record in lines.of("gates"):
        effects.setdefault(record["run"], []).append(record["input_effect_mean"])
    return {name: float(np.mean(values)) for name, values in effects.items()}


def accuracies(path: Path) -> list[dict[str, Any]]:
    """Final accuracy beside cost, from a finished `summary.json` of `famus train`.

    Returns:
      One dict per method and estimator: `name`, `cost` (plain steps), `mean`, `sd` (fractions; the
      sd over seeds is None for one seed).

    Raises:
      ValueError: if it is no such file.
    """
    try:
        rows = read_json(path)["rows"]
        groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for row in rows:
            key = (row["method"], row["estimator"])
            groups.setdefault(key, []).append((row["acc_last"], row["step_cost"]))
    except FileNotFoundError as error:
        raise ValueError(f"--accuracy={path}: there is no such file") from error
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"--accuracy={path} is no summary.json of `famus train`: it lacks {error}"
        ) from error
    found = []
    for (method, estimator), pairs in groups.items():
        last = np.array([accuracy for accuracy, _ in pairs])
        found.append(
            {
                "name": method if estimator == "none" else f"{method} {estimator}",
                "cost": float(np.mean([cost for _, cost in pairs])),
                "mean": float(last.mean()),
                "sd": float(last.std(ddof=1)) if len(last) > 1 else None,
            }
        )
    return found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
