"""The parity table: rows that are recorded, rows that are missing, rows that are off."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.parity.cases import RECORDED, Case
from famus_jax.files import read_json

FLOAT32_BOUND = 1e-6  # of leaves that are float32 in a float64 run: an ulp is 1e-7


def table(
    rows: Iterable[dict[str, Any]], by: tuple[str, ...] = ("method", "estimator", "network")
) -> str:
    """Markdown: for each value of the columns `by`, the worst of all other columns.

    What is compared in float32 is shown under metrics, to which nearly all of it belongs.
    """
    worst: dict[tuple, dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[name] for name in by)
        seen = worst.setdefault(key, {"params": 0, "theta": 0, "metrics": 0, "gates": True, "n": 0})
        for name in ("params", "theta", "metrics"):
            seen[name] = max(seen[name], row[name])
        seen["metrics"] = max(seen["metrics"], row.get("float32", 0.0))
        seen["gates"] &= row["gates"]
        seen["n"] += 1
    heads = [*by, "programs", "parameters", "θ", "metrics", "gates"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for key, seen in worst.items():
        numbers = [f"{seen[name]:.0e}" for name in ("params", "theta", "metrics")]
        same = "same" if seen["gates"] else "DIFFER"
        lines.append("| " + " | ".join([*key, str(seen["n"]), *numbers, same]) + " |")
    return "\n".join(lines)


def missing(chosen: Iterable[Case], rows: Iterable[dict[str, Any]]) -> list[Case]:
    """The cases that have no row yet."""
    names = [field.name for field in dataclasses.fields(Case)]
    known = {Case(**{name: row[name] for name in names}) for row in rows}
    return [case for case in chosen if case not in known]


def recorded(path: Path | None, dtype: Any) -> dict[str, Any]:
    """What the file has already: `rows` and the `provenance` of each command that made some.

    Raises ValueError where it was made in another precision, or is no JSON.
    """
    name = np.dtype(dtype).name
    if path is None or not path.exists():
        return {"dtype": name, "rows": [], "provenance": []}
    found = read_json(path)
    if found.get("dtype", "float64") != name:
        raise ValueError(f"{path} is of {found['dtype']}, this run of {name}: name another file")
    return {
        "dtype": name,
        "rows": list(map(_renamed, found["rows"])),
        "provenance": found["provenance"],
    }


def _renamed(row: dict[str, Any]) -> dict[str, Any]:
    """A row in today's words."""
    row = {"method" if key == "objective" else key: value for key, value in row.items()}
    return {**row, "estimator": RECORDED.get(row["estimator"], row["estimator"])}


def is_off(row: dict[str, Any], bound: float) -> bool:
    """Whether many devices gave other numbers than one, or other gates."""
    worst = max(row["params"], row["theta"], row["metrics"])
    return worst > bound or row.get("float32", 0.0) > FLOAT32_BOUND or not row["gates"]
