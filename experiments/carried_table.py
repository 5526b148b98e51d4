"""The carried direction's table: paired differences to the exact gradient, over ten seeds.

    python -m experiments.carried_table runs/carried/* --json=results/carried.json
    python -m experiments.carried_table --json=results/carried.json --document=docs/meta_gradient.md

A folder is named like a variant of `configs/carried.py`; folders of unfinished experiments are left out
and named. The intervals are those of a t distribution over seeds, of the difference on the same seed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from famus_jax.files import read_json, write_atomically, write_json

EXACT = "all_layers"
KEPT = ("method", "estimator", "seed", "acc_last", "acc_best", "acc_selected", "weight_auroc")
MADE = ("step_cost", "noise_rate_realized", "noise_digest", "commit", "device", "seconds")
TITLES = {
    "digits": "digits, an MLP",
    "digits_norm": "digits, an MLP with BatchNorm",
    "features": "features of CIFAR-10, an MLP, 60 % symmetric",
    "features_norm": "the same with BatchNorm",
    "worst": "features of CIFAR-10N worst, an MLP",
    "worst_norm": "the same with BatchNorm",
}
MARKS = "<!-- table: carried -->\n", "<!-- end -->"


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="carried_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="*", type=Path, help="finished work directories")
    parser.add_argument("--json", type=Path, required=True, help="the record, read and written")
    parser.add_argument("--document", type=Path, help="write the table between its marks here")
    args = parser.parse_args(list(argv))
    record = read_json(args.json) if args.json.exists() else {}
    for folder in args.folders:
        if not (folder / "summary.json").exists():
            print(f"not finished: {folder}", file=sys.stderr)
            continue
        summary = read_json(folder / "summary.json")
        rows = [{key: row.get(key) for key in (*KEPT, *MADE)} for row in summary["rows"]]
        record[folder.name] = {"jax": summary["provenance"]["versions"]["jax"], "rows": rows}
    if args.folders:
        write_json(args.json, record)
    print(table(record))
    if args.document:
        text, (start, end) = args.document.read_text(), MARKS
        before, rest = text.split(start, 1)
        after = rest.split(end, 1)[1]
        write_atomically(args.document, f"{before}{start}{table(record)}{end}{after}".encode())
    return 0


def table(record: dict[str, Any]) -> str:
    """A line per setting and row, as Markdown."""
    lines = [
        "| data and network | estimator | last | minus all layers | AUROC | passes |",
        "|---|---|---|---|---|---|",
    ]
    for setting in (name for name in TITLES if name in record):
        rows = record[setting]["rows"]
        last = by_seed(rows, "acc_last")
        for place, name in enumerate(last):
            here = [row for row in rows if key_of(row) == name]
            paired = name[0] == "mwnet" and name[1] != EXACT
            cells = (
                TITLES[setting] if not place else "",
                title(*name),
                spread(list(last[name].values())),
                difference(last[name], last["mwnet", EXACT]) if paired else "–",
                auroc(row["weight_auroc"] for row in here),
                f"{statistics.mean(row['step_cost'] for row in here):.2f}",
            )
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def key_of(row: dict[str, Any]) -> tuple[str, str]:
    """Method and estimator."""
    return row["method"], row["estimator"]


def by_seed(rows: Sequence[dict[str, Any]], column: str) -> dict[tuple[str, str], dict[int, float]]:
    """A column in %, by row and seed, rows in the order of their first appearance."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        found.setdefault(key_of(row), {})[row["seed"]] = 100 * row[column]
    return found


def difference(mine: dict[int, float], exact: dict[int, float]) -> str:
    """Mean of the differences on the same seed, and its 95 % interval.

    >>> difference({0: 3.0, 1: 4.0, 2: 5.0}, {0: 2.0, 1: 2.0, 2: 2.0})
    '+2.0 (−0.5 to +4.5)'
    """
    from scipy.stats import t

    pairs = [mine[seed] - exact[seed] for seed in mine]
    mean, n = statistics.mean(pairs), len(pairs)
    if n < 2:
        return signed(mean)
    half = float(t.ppf(0.975, n - 1)) * statistics.stdev(pairs) / n**0.5
    return f"{signed(mean)} ({signed(mean - half)} to {signed(mean + half)})"


def signed(value: float) -> str:
    """With a sign that lines up in print."""
    return f"{value:+.1f}".replace("-", "−")


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def auroc(values: Any) -> str:
    """Mean and least, in %; a dash where nothing was weighed in any run."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return "–"
    return f"{statistics.mean(known):.1f} (least {min(known):.1f})"


def title(method: str, estimator: str) -> str:
    """What a line is called."""
    if method == "ce":
        return "cross-entropy"
    if estimator == EXACT:
        return "all layers"
    words = estimator.removeprefix(f"{EXACT}_")
    if not words.startswith("carried"):
        return f"all layers, {words.removeprefix('examples')} examples"
    settings = dict.fromkeys(("examples", "renewed", "decay"), "")
    for part in words.split("_"):
        for name in settings:
            if part.startswith(name):
                settings[name] = part.removeprefix(name)
    k, j, rho = settings["examples"], settings["renewed"] or "1", settings["decay"] or "0"
    return f"carried: k = {k}, j = {j}, ρ = {rho}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
