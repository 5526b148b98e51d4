"""docs/reproduction.md from the files in results/: our numbers beside the paper's, "not run" elsewhere.

    python -m experiments.report

A number of ours is the mean of the best test accuracy (what the paper prints) over the seeds there are,
from `summary.json` files of finished experiments whose setting is exactly that of the table's config.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import runpy
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.published import TABLES, Row, Table
from famus_jax.files import read_json, write_atomically
from famus_jax.train.config import parse_config
from famus_jax.train.estimator_spec import build_estimator

SECTIONS = (
    "data",
    "model",
    "schedule",
    "meta",
    "transition",
    "label_correction",
    "long_tail",
    "pseudo_clean",
)
OWN_SECTIONS = {name: name for name in ("mentormix", "co_teaching", "elr_plus", "m_correction")}
"""Sections that count where a method of the experiment reads them; older files don't have them."""
NO_SETTING = {
    "model": ("dtype",),
    "data": ("data_dir", "path", "workers", "threads"),
    "schedule": ("eval_every", "checkpoint_every"),
}
"""What may differ: the number format (told in the notes), where data lies and how it is read, how often
it is evaluated and saved."""
LATER = {"schedule": ("ema",)}
"""Fields that older files don't have; 0 there is as if they were not."""


class Result(NamedTuple):
    """One row of one file: a finished run. Without a setting (an older form) it is in no table."""

    file: str
    row: dict[str, Any]
    estimator: dict[str, Any] | None
    setting: str | None
    provenance: dict[str, Any]


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--configs", type=Path, default=Path("configs"))
    parser.add_argument("--out", type=Path, default=Path("docs/reproduction.md"))
    args = parser.parse_args(list(argv))
    try:
        text = report(read_results(args.results), settings_of(args.configs))
    except (ValueError, FileNotFoundError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    write_atomically(args.out, text.encode())
    print(f"written: {args.out}")
    return 0


def read_results(folder: Path) -> list[Result]:
    """Every run in the folder's summaries; files of other kinds (benchmarks) are left out."""
    found = []
    for path in sorted(folder.glob("*.json")):
        summary = read_json(path)
        if not {"rows", "config", "provenance"} <= summary.keys():
            continue
        config, setting, estimators = summary["config"], None, {}
        if _in_todays_words(config):
            setting, runs = setting_of(config), config["runs"]
            estimators = {(r["method"], _label(r["estimator"])): r["estimator"] for r in runs}
        for row in summary["rows"]:
            if "acc_best" not in row:
                continue
            estimator = estimators.get((row["method"], row["estimator"]))
            found.append(Result(path.name, row, estimator, setting, summary["provenance"]))
    return found


def _in_todays_words(config: dict[str, Any]) -> bool:
    """Older files lack sections, or call estimators and fields by other names: they are in no table."""
    return set(SECTIONS) <= config.keys() and "normalize" in config["meta"]


def settings_of(configs: Path) -> Callable[[str], str]:
    """`"table1.py:cifar10_mwnet_60" -> setting`, of the config files in a folder."""
    files: dict[str, Any] = {}

    def setting(name: str) -> str:
        file, variant = name.split(":")
        if file not in files:
            files[file] = runpy.run_path(str(configs / file))["get_config"]
        parsed = parse_config(files[file](variant).to_dict())
        return setting_of(dataclasses.asdict(parsed))

    return setting


def setting_of(config: dict[str, Any]) -> str:
    """All of an experiment's config that makes its setting, as text to compare."""
    methods = {run["method"] for run in config.get("runs", ())}
    own = [section for method, section in OWN_SECTIONS.items() if method in methods]
    kept = {
        name: {
            k: v
            for k, v in config[name].items()
            if k not in NO_SETTING.get(name, ()) and (v or k not in LATER.get(name, ()))
        }
        for name in (*SECTIONS, *own)
    }
    return json.dumps(kept, sort_keys=True)


def report(results: Sequence[Result], setting: Callable[[str], str], tables=TABLES) -> str:
    """The document.

    Raises:
      ValueError: if two files hold the same seed of the same cell.
    """
    notes: list[str] = []
    used: set[tuple[str, str, str]] = set()  # file, method, estimator
    parts = [_HEAD]
    for table in tables:
        parts.append(_table(table, results, setting, notes, used))
    parts.append("## Our runs\n")
    parts.append("\n".join(notes) if notes else "None yet.")
    others: dict[str, list[str]] = {}
    for file, method, estimator in sorted({_key(result) for result in results} - used):
        others.setdefault(file, []).append(
            method if estimator == "none" else f"{method} {estimator}"
        )
    if others:
        parts.append("\nRuns in settings that no table of the paper has:\n")
    for file, rows in others.items():
        named = ", ".join(rows) if any(file == key[0] for key in used) else "all"
        parts.append(f"* [{file}](../results/{file}): {named}")
    return "\n".join(parts) + "\n"


_HEAD = """# Reproduction

<!-- Generated by `python -m experiments.report` from results/*.json. Don't edit. -->

What the FaMUS paper prints for CIFAR, and what we measured in the same setting: best test accuracy in
%, mean ± standard deviation over seeds (their number in brackets). "not run": no finished run of ours
in `results/`; "–": the paper prints nothing, or no run of ours is this row. How to run them:
[performance.md](performance.md).
"""


def _table(table: Table, results, setting, notes: list[str], used: set) -> str:
    timed = any(row.ms for row in table.rows)
    names = ["", *(["ms, V100"] if timed else [])]
    names += [text for column in table.columns for text in (f"{column}: paper", "ours")]
    lines = [f"## {table.title}\n", _line(names), _line(["---"] * len(names))]
    for row in table.rows:
        cells = [row.label, *([str(row.ms or "–")] if timed else [])]
        for i, key in enumerate(table.keys):
            cells += [_printed(row, i), _ours(row, key, results, setting, notes, used)]
        lines.append(_line(cells))
    if table.note:
        lines.append(f"\n{table.note}")
    return "\n".join(lines) + "\n"


def _printed(row: Row, column: int) -> str:
    value = row.values[column]
    if value is None:
        return "–"
    text = f"{value:.1f}" if round(value, 1) == value else f"{value:.2f}"
    return f"{text} ± {row.spread[column]:.2f}" if row.spread else text


def _ours(row: Row, key: str, results, setting, notes: list[str], used: set) -> str:
    """Our cell; appends what made it to `notes`."""
    if not row.method:
        return "–"
    wanted = setting(row.config.format(key))
    found: dict[int, Result] = {}
    for result in results:
        same = (result.row["method"], result.estimator, result.setting)
        if same != (row.method, row.estimator, wanted):
            continue
        seed = result.row["seed"]
        if seed in found:
            raise ValueError(
                f"{found[seed].file} and {result.file} both hold {row.label!r} at "
                f"{row.config.format(key)}, seed {seed}: move one of them away"
            )
        found[seed] = result
    if not found:
        return "not run"
    used.update(map(_key, found.values()))
    notes.append(_note(len(notes) + 1, row, key, found))
    return f"{_spread(found, 'acc_best')} ({len(found)}) [{len(notes)}]"


def _spread(found: dict[int, Result], key: str) -> str:
    values = [100 * result.row[key] for result in found.values()]
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def _note(number: int, row: Row, key: str, found: dict[int, Result]) -> str:
    results = [found[seed] for seed in sorted(found)]

    def all_of(values) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values))

    computed = all_of(r.row.get("dtype", "float32") for r in results)
    return (
        f"{number}. {row.label}, {row.config.format(key)}: seeds {all_of(sorted(found))}; last "
        f"{_spread(found, 'acc_last')}; {all_of(_made(r, 'device') for r in results)}; commit "
        f"{all_of(_made(r, 'commit')[:10] for r in results)}; jax "
        f"{all_of(r.provenance['versions']['jax'] for r in results)}; computed in "
        f"{computed}, products in "
        f"{all_of(r.provenance.get('matmul_precision', 'default') for r in results)} precision; noise "
        f"{all_of(r.row['noise_digest'][:8] for r in results)}; "
        f"{all_of(f'[{r.file}](../results/{r.file})' for r in results)}."
    )


def _made(result: Result, key: str) -> str:
    """Of the run itself; of its experiment's end in files from before runs said so."""
    return str(result.row.get(key) or result.provenance[key] or "unknown")


def _key(result: Result) -> tuple[str, str, str]:
    return result.file, result.row["method"], result.row["estimator"]


def _label(estimator: dict[str, Any]) -> str:
    return build_estimator(estimator).label if estimator else "none"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
