"""`famus mend SOURCE --decisions=decisions.csv --out=FILE`: the data with mended labels, in a new file.

A table stays a table, with all its columns and rows; a folder of images becomes a table of paths and
labels (.csv), which famus train and famus audit take as a source; of --features and --labels, the
labels are mended. The source is never changed.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from famus_jax.audit.mend import (
    Mended,
    by_decisions,
    by_label_issues,
    content,
    pairs,
    together,
    undecided,
)
from famus_jax.audit.read import list_rows
from famus_jax.audit.source_flags import add_source_flags, columns_of
from famus_jax.files import expanded, write_atomically
from famus_jax.printable import printable

_MOST_PAIRS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags to `parser`."""
    add_source_flags(parser)
    parser.add_argument("--out", required=True, help="file to write, of the source's format")
    parser.add_argument("--decisions", help="decisions.csv, as the page of the audit saves it")
    parser.add_argument(
        "--label-issues", help="label_issues.csv: take its suggestions, without a person"
    )
    parser.add_argument(
        "--above", type=float, default=0.9, help="for suggestions: p_wrong above this (default 0.9)"
    )
    parser.add_argument(
        "--drop-wrong",
        action="store_true",
        help="leave rows out whose label is wrong (default: emptied)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file --out")


def run(arguments: argparse.Namespace) -> int:
    """Mend the source and say what was changed.

    Returns:
      The exit status, 0.

    Raises:
      FileExistsError: there is a file at --out, and no --overwrite.
      ValueError: see `list_rows`, `by_decisions`, `by_label_issues`, `content`.
    """
    a = arguments
    if not (a.decisions or a.label_issues):
        raise ValueError("says nothing about labels: give --decisions, or --label-issues")
    if a.features and a.drop_wrong:
        raise ValueError("--drop-wrong would leave features without a row of labels; leave it out")
    rows = list_rows(
        a.source,
        features=a.features,
        labels=a.labels,
        class_names=a.class_names,
        **columns_of(a),
    )
    source, out = expanded(a.labels or a.source), expanded(a.out)
    _check_out(
        source, out, [p for p in (a.decisions, a.label_issues, a.features) if p], a.overwrite
    )
    decisions = expanded(a.decisions) if a.decisions else None
    mended = by_decisions(rows, decisions) if decisions else None
    if a.label_issues:
        issues = by_label_issues(rows, expanded(a.label_issues), a.above)
        free = undecided(rows, decisions) if decisions else np.ones(len(rows.ids), bool)
        count = int((free & (issues.labels != rows.labels)).sum())
        print(
            f"suggestions     {count} labels changed without a person (p_wrong above {a.above:g})"
        )
        mended = issues if mended is None else together(mended, issues, rows.labels, free)
    assert mended is not None
    data = content(rows, mended, source, out, label_column=a.label_column, drop_wrong=a.drop_wrong)
    write_atomically(out, data)
    _report(rows, mended, out, a.drop_wrong)
    return 0


def _check_out(source: Path, out: Path, others: list[str], overwrite: bool) -> None:
    suffix = ".csv" if source.is_dir() else source.suffix.lower()
    if out.suffix.lower() != suffix:
        kind = (
            "the images of a folder become a table" if source.is_dir() else f"{source.name} stays"
        )
        raise ValueError(f"--out={out}: {kind}, {suffix}; give a file that ends so")
    for other in (source, *(expanded(other) for other in others)):
        if os.path.realpath(other) == os.path.realpath(out):
            raise ValueError(
                f"--out={out} is {other} itself, which is never changed; name a new file"
            )
    if out.is_dir() or (out.exists() and not overwrite):
        raise FileExistsError(17, "there is a file (--overwrite replaces it)", str(out))


def _report(rows, mended: Mended, out: Path, dropped: bool) -> None:
    changed = int((mended.labels != rows.labels).sum())
    wrong = int(mended.wrong.sum())
    without = int(((mended.labels < 0) & ~(mended.wrong & dropped)).sum())
    print(f"wrote           {out}")
    print(f"examples        {len(rows.ids)}")
    print(f"relabeled       {changed - wrong}")
    print(f"wrong           {wrong} ({'left out' if dropped else 'label left empty'})")
    print(f"right           {mended.confirmed} confirmed")
    found = pairs(rows, mended)
    for before, after, count in found[:_MOST_PAIRS]:
        print(f"{count:15d} {_shown(before)} -> {_shown(after)}")
    if len(found) > _MOST_PAIRS:
        print(f"                … and {len(found) - _MOST_PAIRS} more pairs")
    if without:
        print(f"{without} have no label: famus audit suggests one, famus train refuses them")


def _shown(name: str) -> str:
    return printable(name) if name else "(no label)"
