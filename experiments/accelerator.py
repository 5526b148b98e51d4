"""Runs pieces of work on an accelerator, one after the other, within a given time.

    python -m experiments.accelerator --list
    python -m experiments.accelerator --piece=benchmark_wrn_28_10_bfloat16,strategies_wrn_28_10
    python -m experiments.accelerator --piece=cifar10_60_wrn_28_2 --data_dir=DIR --max_minutes=9
    python -m experiments.accelerator --piece=all --smoke

Call it again to go on: a benchmark whose result is there is not repeated, training resumes. Every
command is a process of its own, so that each starts with an empty device; compiled programs are kept in
{out}/compiled for the next one. What a command took goes to {out}/pieces.jsonl; what it found to the
folder of results.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.accelerator_pieces import PIECES, STUDIES, Command, Piece
from famus_jax.train.clock import Clock


class Places(NamedTuple):
    """Folders: of runs, of results, of prepared data."""

    out: Path
    results: Path
    data: str


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status: 0 also when the time is up."""
    parser = argparse.ArgumentParser(
        prog="accelerator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--list", action="store_true", help="print the pieces")
    add("--piece", default="", help="names, comma-separated, in this order; or all")
    add(
        "--smoke",
        action="store_true",
        help="run them at a size for one CPU core, under {out}/smoke",
    )
    add("--max_minutes", type=float, default=None, help="for all of them together")
    add("--data_dir", default="", help="where prepared data lies (default: tfds's)")
    add("--out", type=Path, default=Path("runs/accelerator"), help="folder of runs")
    add("--results", type=Path, default=Path("results"), help="folder of results")
    args = parser.parse_args(list(argv))
    if args.list or not args.piece:
        print(listing(PIECES.values(), args.smoke))
        return 0
    names = list(PIECES) if args.piece == "all" else args.piece.split(",")
    unknown = [name for name in names if name not in PIECES]
    if unknown:
        print(f"accelerator: no piece {unknown[0]!r}; --list shows them", file=sys.stderr)
        return 2
    places = Places(args.out, args.results, args.data_dir)
    if args.smoke:
        places = Places(args.out / "smoke", args.out / "smoke" / "results", "")
    try:
        return run_pieces([PIECES[name] for name in names], places, args.max_minutes, args.smoke)
    except ValueError as error:
        print(f"accelerator: {error}", file=sys.stderr)
        return 1


def listing(pieces, smoke: bool = False) -> str:
    """Every piece, its question, its guessed minutes and its commands."""
    lines = []
    for piece in pieces:
        lines.append(f"{piece.name}  (about {piece.minutes} min, a guess): {piece.answers}")
        for command in piece.smoke if smoke else piece.commands:
            lines.append("    " + said(command))
    return "\n".join(lines)


def said(command: Command) -> str:
    """As one types it."""
    return " ".join(
        ("python -m", *_module(command)) if command[0] in STUDIES else ("famus", *command)
    )


def _module(command: Command) -> Command:
    """The module that runs it, and its arguments."""
    if command[0] in STUDIES:
        return (f"experiments.{command[0]}", *command[1:])
    return ("famus_jax.cli", *command)


def run_pieces(
    pieces: Sequence[Piece],
    places: Places,
    max_minutes: float | None = None,
    smoke: bool = False,
    *,
    run: Callable[[list[str]], int] | None = None,
    now: Callable[[], float] = time.monotonic,
) -> int:
    """Runs their commands in order.

    Args:
      pieces, places: what, and where.
      max_minutes: start nothing after so long, and let training stop then; None: no limit.
      smoke: the small commands.
      run: runs a command and returns its exit status; by default as a process of its own.
      now: seconds; an argument for tests.

    Returns:
      0 if all that was begun ended well; else the first command's status that did not (the other
      pieces are run all the same).
    """
    clock, begun, worst = Clock(max_minutes, now), now(), 0
    run = run or _runner(places, smoke)
    for piece in pieces:
        for command in piece.smoke if smoke else piece.commands:
            filled = fill(command, places)
            if (result := _option(filled, "json")) and Path(result).exists():
                print(f"{piece.name}: {result} is there already; delete it to run this again")
                continue
            if clock.is_up():
                print(f"the time is up before {piece.name}; the same command goes on")
                return worst
            if filled[0] == "train" and max_minutes is not None:
                left = max(0.001, max_minutes - (now() - begun) / 60)
                filled = (*filled, f"--max_minutes={left:.3f}")
            print(f"{piece.name}: {said(filled)}", flush=True)
            start = now()
            status = run([sys.executable, "-m", *_module(filled)])
            _write_down(places, piece.name, filled, status, now() - start)
            worst = worst or status
            if status == 0 and filled[0] == "train":
                _keep(piece.name, Path(_option(filled, "workdir")), places.results)
            if status:
                print(f"{piece.name}: exit status {status}", file=sys.stderr)
                break  # what follows within the piece would fail alike
    return worst


def _runner(places: Places, smoke: bool) -> Callable[[list[str]], int]:
    """Runs a process, with a folder for compiled programs: a piece that goes on need not compile again.

    Not for smokes: on the CPU there is little to keep, and it would be tied to that machine.
    """
    environment = dict(os.environ)
    if not smoke:
        environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(places.out.absolute() / "compiled"))
    return lambda command: subprocess.run(command, env=environment).returncode


def fill(command: Command, places: Places) -> Command:
    """The command with its folders; an empty data folder leaves its argument out."""
    kept = [part for part in command if places.data or "{data}" not in part]
    names = {"out": str(places.out), "results": str(places.results), "data": places.data}
    return tuple(part.format(**names) for part in kept)


def _option(command: Command, name: str) -> str:
    start = f"--{name}="
    return next((part[len(start) :] for part in command if part.startswith(start)), "")


def _keep(name: str, workdir: Path, results: Path) -> None:
    """A finished experiment's summary among the results."""
    if (workdir / "summary.json").exists():
        results.mkdir(parents=True, exist_ok=True)
        shutil.copy(workdir / "summary.json", results / f"{name}.json")
        print(f"written: {results / name}.json")


def _write_down(places: Places, name: str, command: Command, status: int, seconds: float) -> None:
    places.out.mkdir(parents=True, exist_ok=True)
    with (places.out / "pieces.jsonl").open("a") as file:
        record = {"piece": name, "command": command, "status": status, "seconds": round(seconds, 1)}
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
