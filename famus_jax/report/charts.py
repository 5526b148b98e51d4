"""What the page shows of a work directory, as plain values: a table, charts, histograms, matrices.

What isn't recorded is left out: no chart without a point, no column without a value.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from famus_jax.report.read import Directory, Run
from famus_jax.train.measure import LOSS_EDGES
from famus_jax.train.methods import METHODS


class Column(NamedTuple):
    """Of the table: the row's name of it, a title, digits, a factor, and what it means."""

    key: str
    title: str
    digits: int
    scale: float
    meaning: str


COLUMNS = (
    Column("acc_best", "Best, %", 1, 100, "best test accuracy of all evaluations"),
    Column("acc_last", "Last, %", 1, 100, "test accuracy at the last step"),
    Column("acc_selected", "Selected, %", 1, 100, "test accuracy where noisy validation was best"),
    Column("acc_best_second", "2nd best, %", 1, 100, "best accuracy on the second test set"),
    Column("acc_last_second", "2nd last, %", 1, 100, "last accuracy on the second test set"),
    Column("top5_best", "Top-5, %", 1, 100, "the label is one of the first five choices, best"),
    Column("weight_auroc", "AUROC, %", 1, 100, "how well weights rank right above wrong labels"),
    Column("probability_auroc", "Mixture, %", 1, 100, "the same of the mixture model's probabilities"),
    Column("step_cost", "Cost", 2, 1, "forward and backward passes of a step over a plain step's"),
    Column("seconds", "Seconds", 1, 1, "spent in steps, without compiling and evaluating"),
    Column("noise_rate_realized", "Noise, %", 1, 100, "share of the training labels that was changed"),
)  # fmt: skip

# Charts over steps: the record's name, title, unit on the axis, factor.
_CURVES = (
    ("validation_accuracy", "Accuracy on held-out noisy labels", "%", 100),
    ("train_accuracy", "Accuracy on the training labels as given", "%", 100),
    ("loss", "Training loss", "", 1),
    ("meta_loss", "Meta loss", "", 1),
    ("cost", "Cost of a step", "plain steps", 1),
    ("weight_clean", "Weight of right labels", "1 = plain", 1),
    ("weight_wrong", "Weight of wrong labels", "1 = plain", 1),
    ("weight_loss_correlation", "Weight with loss, rank correlation", "", 1),
    ("open_layers", "Open layers", "layers", 1),
)
_SHOWN = {"step", "test_accuracy", *(name for name, *_ in _CURVES)}
Group = tuple[str, str]


def groups_of(one: Directory) -> dict[Group, list[Run]]:
    """Runs by method and estimator, in their order."""
    found: dict[Group, list[Run]] = {}
    for run in one.runs:
        found.setdefault((run.method, run.estimator), []).append(run)
    return found


def title_of(group: Group) -> str:
    """A legend entry.

    >>> title_of(("ce", "none")), title_of(("own", "all_layers"))
    ('cross-entropy', 'own, all_layers')
    """
    method, estimator = group
    name = METHODS[method].title if method in METHODS else method
    return name if estimator == "none" else f"{name}, {estimator}"


def table_rows(one: Directory) -> list[dict[str, Any]]:
    """A row per method and estimator, of its finished seeds.

    Returns:
      For each `method`, `estimator`, `seeds` (a list), `of` (how many the config wants), `values`
      (by `Column.key`, [mean, standard deviation over n − 1 or None], in the column's unit),
      `bound` (it trains on right labels: no result to compare with) and `warnings`.
    """
    wanted = len(one.config.get("seeds", ()))
    rows = []
    for group, runs in groups_of(one).items():
        finished = [run.row for run in runs if run.row]
        values = {}
        for column in COLUMNS:
            found = [float(x) for row in finished if (x := row.get(column.key)) is not None]
            if found and len(found) == len(finished):
                values[column.key] = _spread([column.scale * x for x in found])
        rows.append(
            {
                "method": title_of((group[0], "none")),
                "estimator": "" if group[1] == "none" else group[1],
                "seeds": [run.seed for run in runs if run.row],
                "of": max(wanted, len(runs)),
                "values": values,
                "bound": group[0] in METHODS and METHODS[group[0]].batches == "clean",
                "warnings": [
                    f"seed {row['seed']}: {text}"
                    for row in finished
                    for text in row.get("warnings", ())
                ],
            }
        )
    return rows


def curves(one: Directory) -> list[dict[str, Any]]:
    """Charts over steps; the accuracy is the first, others have those methods only that record it."""
    groups = groups_of(one)
    # A run that was stopped early is part of another's curve.
    drawn = {
        g: runs for g, runs in groups.items() if g[0] not in METHODS or not METHODS[g[0]].early_stop
    }
    start = int(one.config.get("schedule", {}).get("steps", 0))
    more = dict.fromkeys(
        name
        for runs in drawn.values()
        for run in runs
        for record in run.history[:1]
        for name, value in record.items()
        if name not in _SHOWN and isinstance(value, int | float)
    )
    wanted = [("test_accuracy", "Accuracy on the test labels", "%", 100), *_CURVES]
    wanted += [(name, name.replace("_", " ").capitalize(), "", 1) for name in more]
    charts = []
    for name, title, unit, scale in wanted:
        series = []
        for i, (group, runs) in enumerate(drawn.items()):
            later = group[0] in METHODS and METHODS[group[0]].needs is not None
            lines = {run.seed: _points(run.history, name, scale, start * later) for run in runs}
            lines = {seed: line for seed, line in lines.items() if line}
            if lines:
                series.append(
                    {
                        "name": title_of(group),
                        "color": i,
                        "seeds": lines,
                        "mean": _mean(lines.values()),
                    }
                )
        if series and not (name == "cost" and _all_one(series)):
            charts.append(
                {"key": name, "title": title, "unit": unit, "x": "step", "series": series}
            )
    return charts  # fmt: skip


def weights_by_loss(one: Directory) -> list[dict[str, Any]]:
    """The learned V(ℓ): per method the mean weight by loss, early, in the middle and at the end."""
    charts = []
    for group, runs in groups_of(one).items():
        run = next((r for r in runs if any("weight_by_loss" in x for x in r.history)), None)
        if run is None:
            continue
        told = [x for x in run.history if "weight_by_loss" in x]
        chosen = dict.fromkeys((0, len(told) // 3, 2 * len(told) // 3, len(told) - 1))
        series = []
        for k, i in enumerate(chosen):
            line = told[i]["weight_by_loss"]
            mean = [[x, y, None] for x, y in enumerate(line) if y is not None]
            name = f"step {told[i]['step']:,}"
            series.append({"name": name, "color": k, "mean": mean, "seeds": {}})
        ticks = [[i + 0.5, f"{edge:g}"] for i, edge in enumerate(LOSS_EDGES)]
        charts.append(
            {
                "key": "weight_by_loss",
                "title": title_of(group),
                "note": f"seed {run.seed}",
                "unit": "weight",
                "x": "loss of the example",
                "ticks": ticks,
                "series": series,
                "ordered": True,
            }
        )
    return charts


def histograms(one: Directory) -> list[dict[str, Any]]:
    """What weights right and wrong labels got, of all finished seeds together: shares in percent."""
    found = []
    for group, runs in groups_of(one).items():
        kept = [run.result["weight_counts"] for run in runs if run.result.get("weight_counts")]
        if not kept:
            continue
        sides = {}
        for side in ("right", "wrong", "unknown"):
            counts = np.sum([one_seed[side] for one_seed in kept if side in one_seed], axis=0)
            if np.sum(counts):
                sides[side] = (100 * counts / np.sum(counts)).round(3).tolist()
        found.append({"title": title_of(group), "edges": kept[0]["edges"], "sides": sides})
    return found


def matrices(one: Directory) -> list[dict[str, Any]]:
    """The noise as realized, and what was learned of it where a method keeps that; in percent."""
    found = []
    for run in one.runs:
        if matrix := run.result.get("noise_transition"):
            note = (
                f"seed {run.seed}: of the true class (line), how many got which label (column), %"
            )
            found.append({"title": "Noise as made", "note": note, "values": _percent(matrix)})
            break
    for run in one.runs:
        if matrix := run.result.get("learned_transition"):
            title = f"Learned: {title_of((run.method, run.estimator))}"
            note = (
                f"seed {run.seed}: how much of a class's logit (line) goes to a label (column), %"
            )
            found.append({"title": title, "note": note, "values": _percent(matrix)})
    return found


def flat(config: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """A nested config as `section.name` -> text.

    >>> flat({"data": {"noise_rate": 0.4}, "seeds": [0, 1]})
    {'data.noise_rate': '0.4', 'seeds': '[0, 1]'}
    """
    found: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, list | tuple) and any(isinstance(part, Mapping) for part in value):
            value = {str(i): part for i, part in enumerate(value)}
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{above}{name}.")
        else:
            found[above + name] = "" if value is None else str(value)
    return found


def differences(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The names whose values differ between configs, and each one's value ("–": it has none).

    Without the runs: the table has them.

    >>> differences([{"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}])
    [('a.c', ['2', '3'])]
    """
    texts = [flat({k: v for k, v in config.items() if k != "runs"}) for config in configs]
    names = dict.fromkeys(name for text in texts for name in text)
    lines = [(name, [text.get(name, "–") for text in texts]) for name in names]
    return [(name, values) for name, values in lines if len(set(values)) > 1]


def _spread(values: Sequence[float]) -> list[float | None]:
    return [statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None]


def _points(
    history: Sequence[Mapping[str, Any]], name: str, scale: float, offset: int
) -> list[list[float]]:
    return [
        [offset + record["step"], round(scale * record[name], 5)]
        for record in history
        if isinstance(record.get(name), int | float)
    ]


def _mean(lines: Iterable[Sequence[Sequence[float]]]) -> list[list[float | None]]:
    """[x, mean, standard deviation] wherever every line has a point (a run may be behind others)."""
    by_step: dict[float, list[float]] = {}
    lines = list(lines)
    for line in lines:
        for x, y in line:
            by_step.setdefault(x, []).append(y)
    whole = {x: ys for x, ys in by_step.items() if len(ys) == len(lines)}
    return [[x, *(_rounded(v) for v in _spread(ys))] for x, ys in sorted(whole.items())]


def _rounded(value: float | None) -> float | None:
    return value if value is None else round(value, 5)


def _all_one(series: Sequence[Mapping[str, Any]]) -> bool:
    return all(point[1] == 1 for line in series for point in line["mean"])


def _percent(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    scaled: Callable[[float], float] = lambda x: round(100 * x, 1)  # noqa: E731
    return [[scaled(x) for x in line] for line in matrix]
