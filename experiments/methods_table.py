"""The table of all methods: from the work directories of `configs/methods.py` to one record and a page.

    python -m experiments.methods_table --choose runs/methods/*          prints CHOSEN for the config
    python -m experiments.methods_table runs/methods/* --json=results/methods.json
    python -m experiments.methods_table --json=results/methods.json --page=docs/methods_measured.md

A folder is named by its variant: SETTING_GROUP, or SETTING_GROUP_low, _mid, _high for the tuning runs.
Folders of unfinished experiments are left out and named. What is in the record already is kept.
"""

from __future__ import annotations

import argparse
import json
import runpy
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from famus_jax.files import read_json, write_atomically
from famus_jax.train.methods import METHODS

CONFIG = runpy.run_path(str(Path(__file__).parent.parent / "configs" / "methods.py"))
LEVELS, SETTINGS, TUNED_ON, VALUES = (
    CONFIG[name] for name in ("LEVELS", "SETTINGS", "TUNED_ON", "VALUES")
)
# The methods that a setting is chosen by; others that read it take it over.
READERS = {
    "finetune_learning_rate": "finetune",
    "q": "gce",
    "sce_alpha": "sce",
    "nce_alpha": "nce_rce",
    "smoothing": "label_smoothing",
    "bootstrap_soft": "bootstrap_soft",
    "bootstrap_hard": "bootstrap_hard",
    "u_step": "sop",
    "concentration": "mixup",
    "percentile": "mentormix",
    "step": "mlc",
    "lambda_u": "dividemix",
}
BY_SECTION = {
    "elr": "elr",
    "meta": "mwnet",
    "label_correction": "meta_label_correction",
    "co_teaching": "co_teaching",
    "m_correction": "m_correction",
}
TITLES = {
    "symmetric_40": "symmetric, 40 %",
    "symmetric_60": "symmetric, 60 %",
    "asymmetric_40": "asymmetric, 40 %",
    "aggregate": "CIFAR-10N aggregate",
    "worst": "CIFAR-10N worst",
}


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="methods_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="*", type=Path, help="finished work directories")
    parser.add_argument("--json", type=Path, help="the record, which is read and written")
    parser.add_argument("--page", type=Path, help="write the page of tables here")
    parser.add_argument("--choose", action="store_true", help="print CHOSEN from tuning runs")
    args = parser.parse_args(list(argv))
    record = (
        read_json(args.json) if args.json and args.json.exists() else {"rows": [], "tuning": []}
    )
    for folder in args.folders:
        if not (folder / "summary.json").exists():
            print(f"not finished: {folder}", file=sys.stderr)
            continue
        setting, group, level = parts(folder.name)
        part = "tuning" if level else "rows"
        record[part] = merged(record[part], rows_of(folder, setting, group, level))
    if args.choose:
        print(json.dumps(chosen(record["tuning"]), indent=4))
    if args.json and args.folders:
        write_atomically(args.json, json.dumps(record, indent=1).encode())
    if args.page:
        write_atomically(args.page, page(record).encode())
    elif not args.choose:
        print(page(record))
    return 0


def parts(name: str) -> tuple[str, str, str]:
    """Setting, group and level ("" for none) of a variant's name.

    >>> parts("symmetric_60_one_low")
    ('symmetric_60', 'one', 'low')
    """
    level = ""
    if name.endswith(LEVELS):
        name, level = name.rsplit("_", 1)
    setting, group = name.rsplit("_", 1)
    if setting not in SETTINGS:
        raise ValueError(
            f"{name}: a folder must be named SETTING_GROUP; settings: {list(SETTINGS)}"
        )
    return setting, group, level


def rows_of(folder: Path, setting: str, group: str, level: str) -> list[dict[str, Any]]:
    """What the table needs of a finished experiment."""
    summary = read_json(folder / "summary.json")
    made = summary["provenance"]
    rows = []
    for row in summary["rows"]:
        name = row["method"] + ("" if row["estimator"] == "none" else f"-{row['estimator']}")
        run = folder / "runs" / name.replace("/", ".") / f"seed_{row['seed']}"
        kept = {
            "setting": setting,
            "group": group,
            **({"level": level} if level else {}),
            **{key: row[key] for key in ("method", "estimator", "seed")},
            "last": row["acc_last"],
            "best": row["acc_best"],
            "selected": row["acc_selected"],
            "auroc": row.get("weight_auroc") or row.get("probability_auroc"),
            "cost": row["step_cost"],
            "seconds": row["seconds"],
            **{key: row.get(key) for key in ("noise_rate_realized", "noise_digest", "commit")},
            "jax": made["versions"]["jax"],
        }
        metrics = run / "metrics.jsonl"
        if level and metrics.exists():
            *_, last = metrics.read_text().splitlines()
            kept["validation_last"] = json.loads(last)["validation_accuracy"]
        rows.append(kept)
    return rows


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Old rows, replaced where a new one is of the same run, in a fixed order."""
    found = {_key(row): row for row in (*old, *new)}
    return [found[key] for key in sorted(found)]


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    names = ("setting", "group", "level", "method", "estimator", "seed")
    return tuple(str(row.get(name, "")) for name in names)


def chosen(tuning: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Positions in `VALUES`, by setting: of the best accuracy on noisy labels at the last step.

    A setting that several rows of its method read (estimators) is chosen by their mean. The middle one
    where nothing was run, and of equals.
    """
    settings = [name for name in SETTINGS if name not in TUNED_ON]
    return {setting: [_position(tuning, setting, key) for key in VALUES] for setting in settings}


def _position(tuning: list[dict[str, Any]], setting: str, key: tuple[str, str]) -> int:
    section, name = key
    method = BY_SECTION.get(section) or READERS[name]
    means = []
    for level in LEVELS:
        found = [
            row["validation_last"]
            for row in tuning
            if (row["setting"], row["method"], row["level"]) == (setting, method, level)
        ]
        means.append(statistics.mean(found) if found else 0.0)
    return max((1, 0, 2), key=lambda i: means[i])


def page(record: dict[str, Any]) -> str:
    """All tables, as Markdown."""
    rows = record["rows"]
    settings = [name for name in SETTINGS if any(row["setting"] == name for row in rows)]
    lines = [_HEAD, "## Last accuracy\n", *_overview(rows, settings), ""]
    for setting in settings:
        here = [row for row in rows if row["setting"] == setting]
        wrong = 100 * here[0]["noise_rate_realized"]
        lines += [f"## {TITLES[setting]} ({wrong:.1f} % wrong)\n", *_whole(here), ""]
    return "\n".join(lines)


_HEAD = """# Methods, measured

<!-- Generated by `python -m experiments.methods_table` from results/methods.json. Don't edit. -->

Every method on 12,500 images of CIFAR-10 as a pretrained network sees them, an MLP, 3,000 steps of 128:
long enough that plain training learns every wrong label by heart. 200 trusted labels for the rows that
use them. What the settings are, how each method was tuned and the commands:
[configs/methods.py](../configs/methods.py). Test accuracy in %, mean ± standard deviation over three
seeds, of the [record](../results/methods.json); "selected": at the best accuracy on held-out *noisy*
labels; AUROC: how well learned weights (of two networks, the mixture's probabilities) tell right labels
from wrong ones; passes: of a step over a plain one's. What learns weights or corrections ran with the
middle one of its three values, not tuned. What it says: [Methods](methods.md#measured).
"""


def _overview(rows: list[dict[str, Any]], settings: list[str]) -> list[str]:
    head = ["", "trusted labels", *(TITLES[name] for name in settings), "passes"]
    lines = [_line(head), _line(["---"] * len(head))]
    for name in _names(rows):
        of = [row for row in rows if _name(row) == name]
        cells = [
            _spread([r["last"] for r in of if r["setting"] == setting]) for setting in settings
        ]
        lines.append(_line([_title(of[0]), _trusts(of[0]), *cells, _cost(of)]))
    return lines


def _whole(rows: list[dict[str, Any]]) -> list[str]:
    head = ["", "trusted labels", "last", "best", "selected", "AUROC", "passes", "seconds"]
    lines = [_line(head), _line(["---"] * len(head))]
    for name in _names(rows):
        of = [row for row in rows if _name(row) == name]
        cells = [_spread([row[key] for row in of]) for key in ("last", "best", "selected")]
        known = [row["auroc"] for row in of if row["auroc"] is not None]
        seconds = f"{statistics.median(row['seconds'] for row in of):.0f}"
        lines.append(
            _line([_title(of[0]), _trusts(of[0]), *cells, _spread(known), _cost(of), seconds])
        )
    return lines


def _names(rows: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    order = list(METHODS)
    return sorted({_name(row) for row in rows}, key=lambda name: (order.index(name[0]), name[1]))


def _name(row: dict[str, Any]) -> tuple[str, str]:
    return row["method"], row["estimator"]


def _title(row: dict[str, Any]) -> str:
    title, label = METHODS[row["method"]].title, row["estimator"]
    return title if label == "none" else f"{title}; {label.replace('_', ' ')}"


def _trusts(row: dict[str, Any]) -> str:
    if row["method"] == "clean":
        return "all"
    return "200" if METHODS[row["method"]].trusts() else "none"


def _spread(values: list[float]) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return f"{100 * values[0]:.1f}"
    return f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f}"


def _cost(rows: list[dict[str, Any]]) -> str:
    return f"{statistics.mean(row['cost'] for row in rows):.2f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
