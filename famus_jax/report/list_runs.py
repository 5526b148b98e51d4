"""Lists the experiments under a folder: state, progress, best accuracy, time left, age.

  famus runs
  famus runs runs/methods --json

States: running; done; stopped (the same command goes on where it was); failed (the line says why);
damaged (what is wrong is named).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from famus_jax.files import expanded
from famus_jax.printable import printable
from famus_jax.progress import clock_time
from famus_jax.report.read import Directory, best_accuracy, is_work_directory, read_directory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("folder", nargs="?", default="runs", metavar="DIR", help="default: runs")
    parser.add_argument("--json", action="store_true", help="a list of objects")


def run(arguments: argparse.Namespace) -> int:
    """Prints the list.

    Returns:
      The exit status, 0; damaged folders are named and don't change it.

    Raises:
      ValueError: if there is no such folder.
    """
    root = expanded(arguments.folder)
    if not root.is_dir():
        raise ValueError(
            f"{root} is no folder: name one that holds work directories of famus train"
        )
    rows = [as_row(read_directory(folder), root) for folder in work_directories(root)]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print(table(rows))
    else:
        print(f"no experiment under {root}")
    return 0


def work_directories(root: Path) -> Iterator[Path]:
    """Every work directory at or under `root`, sorted; nothing inside of one is looked at."""
    for place, folders, _ in os.walk(root):
        if is_work_directory(Path(place)):
            folders.clear()
            yield Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def as_row(one: Directory, root: Path) -> dict[str, Any]:
    """What the list says of a directory, as plain values.

    Returns:
      `name` (under root), `state`, `progress` in [0, 1], `best` test accuracy in [0, 1] and the run
      that had it (`best_run`), `seconds_left`, `age` in seconds since something was written,
      `message`, `problems`; None for what isn't known.
    """
    best = best_accuracy(one)
    known = one.done is not None and bool(one.total)
    name = one.path.relative_to(root).as_posix()
    return {
        "name": one.path.name if name == "." else name,
        "state": one.state,
        "progress": round(one.done / one.total, 4) if known else None,  # type: ignore[operator]
        "best": best and best[0],
        "best_run": best and f"{best[1].method} {best[1].estimator} seed {best[1].seed}",
        "seconds_left": one.seconds_left,
        "age": round(max(0.0, time.time() - one.at), 1),
        "message": one.message,
        "problems": list(one.problems),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The list for people: a line each, then what is wrong."""
    lines = [("experiment", "state", "progress", "best", "by", "time left", "age")]
    for row in rows:
        left = row["seconds_left"]
        lines.append(
            (
                printable(row["name"]),
                row["state"],
                "-" if row["progress"] is None else f"{row['progress']:.0%}",
                "-" if row["best"] is None else f"{row['best']:.1%}",
                printable((row["best_run"] or "-").replace(" none ", " ")),
                "-" if left is None else clock_time(left),
                age(row["age"]),
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    said = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    for row in rows:
        told = [row["message"], *row["problems"]]
        said += [f"{printable(row['name'])}: {printable(text)}" for text in told if text]
    return "\n".join(said)


def age(seconds: float) -> str:
    """In the largest unit that fits.

    >>> age(40), age(7300), age(200000)
    ('40 s', '2 h', '2 d')
    """
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
