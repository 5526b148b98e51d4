"""A comparison for people and programs: `compare.json`, `compare.csv`, and a table on the screen."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from famus_jax.audit.compare import Comparison
from famus_jax.audit.compare_choice import Row
from famus_jax.files import finite, write_atomically, write_json


def write_comparison(workdir: Path, found: Comparison, provenance: dict[str, Any]) -> list[Path]:
    """Writes both files.

    Returns:
      Their paths.
    """
    table, whole = workdir / "compare.csv", workdir / "compare.json"
    text = io.StringIO()
    writer = csv.DictWriter(text, Row._fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row._asdict() for row in found.rows)
    write_atomically(table, text.getvalue().encode())
    said = {
        **found._asdict(),
        "rows": [row._asdict() for row in found.rows],
        "curve": [point._asdict() for point in found.curve],
    }
    write_json(whole, finite({**said, **provenance}))
    return [table, whole]


def lines_of(found: Comparison) -> list[str]:
    """The table, the curve, and the recommendation, which comes last."""
    width = max(len(row.name) for row in found.rows)
    wide = max(len(row.labels) for row in found.rows)
    lines = [
        f"Accuracy on {found.test_size:,} {found.test}; {found.steps:,} steps each:",
        f"  {'':{width}s}  {'labels':{wide}s}  accuracy  95 % interval     behind the best",
    ]
    for row in found.rows:
        interval = f"{row.low:.1%} to {row.high:.1%}"
        behind = f"{row.behind:.1%}" + (" (ties)" if row.ties else "")
        first = f"  {row.name:{width}s}  {row.labels:{wide}s}"
        lines.append(f"{first}  {row.accuracy:8.1%}  {interval:16s}  {behind}")
    lines += found.notes
    if found.curve:
        points = ", ".join(f"{p.trusted}: {p.accuracy:.1%}" for p in found.curve)
        lines.append(f"By the number of trusted labels ({found.curve_row}): {points}.")
    return [*lines, found.curve_says, found.recommendation]
