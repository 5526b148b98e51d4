"""docs/label_issues.md from the record: the tables between its markers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.label_issues.sets import SETS

_METHODS = {
    "ours": "ours",
    "cleanlab_self_confidence": "cleanlab",
    "cleanlab_5x_self_confidence": "cleanlab 5 x",
    "cleanlab_5x_repeated_self_confidence": "cleanlab, mean of 5",
    "best": "cleanlab, best of all",
    "mean_loss": "mean loss",
    "aum": "AUM",
    "neighbors": "neighbors",
}
_BEST_OF = "cleanlab"
_PRICED = ("ours", "cleanlab_self_confidence", "cleanlab_5x_self_confidence", "aum")
_KINDS = ("held_out", "aum", "probability", "neighbors")
_TRAINED_ON = {
    "plain": "given labels",
    "mended": "mended by us",
    "mended_cleanlab": "by cleanlab",
    "mended_by_a_person": "by a person",
    "clean": "true labels",
}


def with_tables(document: str, record: dict[str, Any]) -> str:
    """The document with its tables made anew.

    Raises:
      ValueError: a marker for which there is no table.
    """
    tables = tables_of(record)

    def anew(found: re.Match) -> str:
        name = found["name"]
        if name not in tables:
            raise ValueError(f"the document asks for the table {name!r}; there are {list(tables)}")
        return f"<!-- table: {name} -->\n{tables[name]}\n<!-- end -->"

    return re.sub(r"<!-- table: (?P<name>.*?) -->\n.*?<!-- end -->", anew, document, flags=re.S)


def tables_of(record: dict[str, Any]) -> dict[str, str]:
    """Name -> a table in Markdown. All figures are in %, means ± standard deviation over seeds."""
    groups = {
        name: [row for row in record["rows"] if row["set"] == name]
        for name in SETS
        if any(row["set"] == name for row in record["rows"])
    }
    found = {
        title: _ranked(groups, figure)
        for title, figure in (
            ("AUROC", "auroc"),
            ("average precision", "average_precision"),
            ("precision", "precision"),
        )
    }
    found["sets"] = _sets(groups)
    found["answers"] = _answers(groups)
    found["evidence"] = _evidence(groups)
    found["decided"] = _decided(groups)
    found["accuracy"] = _accuracy(groups)
    found["provenance"] = _made(record)
    return found


def best_of_all(row: dict[str, Any], figure: str) -> float:
    """Of all of cleanlab's scores, of any compute, the one that the truth favors; no user knows it."""
    found = [v[figure] for k, v in row["rankings"].items() if k.startswith(_BEST_OF)]
    return max(found, default=float("nan"))


def _ranked(groups: dict[str, list], figure: str) -> str:
    def cell(rows: Sequence[dict[str, Any]], method: str) -> str:
        if method == "best":
            return _spread([best_of_all(row, figure) for row in rows])
        return _spread([row["rankings"].get(method, {}).get(figure, np.nan) for row in rows])

    lines = []
    for name, rows in groups.items():
        cells = [cell(rows, method) for method in _METHODS]
        lines.append([_title(name), *cells])
    return _table(["set", *_METHODS.values()], lines)


def _sets(groups: dict[str, list]) -> str:
    lines = []
    for name, rows in groups.items():
        row = rows[0]
        epochs, passes = row["epochs"], row["passes_per_example"]
        lines.append([
            SETS[name].title,
            "developed on" if SETS[name].developed_on else "only tested on",
            f"{row['examples']:,}",
            str(len(rows)),
            row["made"],
            row["network"],
            " / ".join(str(epochs.get(k, "–")) for k in ("ours", "cleanlab", "cleanlab_5x")),
            " / ".join(f"{passes[k]:,.0f}" if k in passes else "–" for k in _PRICED),
        ])  # fmt: skip
    head = ["set", "recipe", "examples", "seeds", "how", "network"]
    return _table([*head, "epochs: ours / cleanlab / 5 x", "passes: …, plain training"], lines)


def _answers(groups: dict[str, list]) -> str:
    def mean(rows: Sequence[dict[str, Any]], figure: str) -> str:
        values = [row["answer"][figure] for row in rows]
        return "–" if None in values else _spread(values)

    lines = []
    for name, rows in groups.items():
        answers = [row["answer"] for row in rows]
        inside = sum(a["share_low"] <= a["share_true"] <= a["share_high"] for a in answers)
        warned = sum(bool(a["warnings"]) for a in answers)
        figures = ("share_true", "share", "calibration_error", "cut_precision", "cut_recall")
        suggestions = ("right_suggestions_of_errors", "right_suggestions_of_errors_in_the_cut")
        cells = [mean(rows, figure) for figure in figures]
        cells.insert(2, f"{inside} of {len(rows)}")
        lines.append([
            _title(name), *cells, *(mean(rows, s) for s in suggestions), f"{warned} of {len(rows)}"
        ])  # fmt: skip
    head = ["set", "wrong", "estimated", "within the interval", "calibration error"]
    head += ["cut: precision", "cut: recall", "right suggestions", "in the cut", "warned"]
    return _table(head, lines)


def _decided(groups: dict[str, list]) -> str:
    lines = []
    for name, rows in groups.items():
        have = [row["decided"] for row in rows if "decided" in row]
        if not have:
            continue
        true = [row["answer"]["share_true"] for row in rows if "decided" in row]
        inside = sum(
            d["share_low"] <= t <= d["share_high"] for d, t in zip(have, true, strict=True)
        )
        cells = [_spread(true)]
        cells.append(_spread([row["answer"]["share"] for row in rows if "decided" in row]))
        cells.append(_spread([d["share"] for d in have]))
        cells.append(f"{inside} of {len(have)}")
        cells += [
            _spread([d[k] for d in have]) for k in ("calibration_error_before", "calibration_error")
        ]
        cells += [
            _spread([d[when][figure] for d in have])
            for figure in ("auroc", "average_precision")
            for when in ("before", "after")
        ]
        lines.append([_title(name), *cells])
    head = ["set", "wrong", "estimated before", "after", "within the interval"]
    head += ["calibration error before", "after", "AUROC before", "after"]
    return _table([*head, "average precision before", "after"], lines)


def _evidence(groups: dict[str, list]) -> str:
    lines = []
    for name, rows in groups.items():
        cells = [_spread([row["rankings"]["ours"]["auroc"] for row in rows])]
        for kind in _KINDS:
            have = [row["evidence"][kind] for row in rows if kind in row["evidence"]]
            weight = np.mean([one["weight"] or 0 for one in have])
            cells.append(f"{_spread([one['auroc'] for one in have])} ({weight:.2f})")
        lines.append([_title(name), *cells])
    return _table(["set", "together", *_KINDS], lines)


def _accuracy(groups: dict[str, list]) -> str:
    lines = []
    for name, rows in groups.items():
        cells = [_spread([row["accuracy"][how] for row in rows]) for how in _TRAINED_ON]
        cut = np.mean([row["answer"]["cut"] for row in rows])
        lines.append([_title(name), f"{rows[0]['test_examples']:,}", f"{cut:,.0f}", *cells])
    return _table(["set", "test examples", "top k", *_TRAINED_ON.values()], lines)


def _made(record: dict[str, Any]) -> str:
    made, versions = record["provenance"], record["provenance"]["versions"]
    used = ("jax", "flax", "numpy", "cleanlab", "mlxtend", "scikit-learn")

    def all_of(get: Callable[[dict[str, Any]], Any]) -> str:
        return ", ".join(dict.fromkeys(str(get(row)) for row in record["rows"]))

    return (
        f"`{made['command']}`; commit {all_of(lambda row: row['commit'][:10])}; "
        f"{all_of(lambda row: row['device'])}, {made['processor']}, {made['cores']} cores; "
        + ", ".join(f"{name} {versions[name]}" for name in used)
        + "; [JSON](../results/label_issues.json)."
    )


def _title(name: str) -> str:
    return SETS[name].title + ("" if SETS[name].developed_on else " *")


def _spread(values: Sequence[float]) -> str:
    """Of those that were measured; in brackets how many, if not all were."""
    percent = 100 * np.asarray(values, np.float64)
    known = percent[np.isfinite(percent)]
    if len(known) == 0:
        return "not run"
    if len(known) < len(percent):
        return f"{_spread((known / 100).tolist())} ({len(known)})"
    if len(percent) == 1:
        return f"{percent[0]:.1f}"
    return f"{percent.mean():.1f} ± {percent.std(ddof=1):.1f}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
