"""Kills runs at random moments, starts them again, and compares what they leave with a run left
alone.

  python -m experiments.kills stream --kills=20 --folder=runs/kills

Every second kill is of the main process alone, the others of its whole group. Exit status 1 if a
file differs, or if a process or shared memory is left after five seconds.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

from experiments.kills import left
from experiments.kills.compare import differences
from experiments.kills.config import RUNS

CONFIG = Path(__file__).with_name("config.py")
GRACE = 5.0  # seconds until nothing may be left


def main(argv: list[str] | None = None) -> int:
    """Does what the words say; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=sorted(RUNS))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--folder", type=Path, required=True, help="for the work directories")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--within", type=float, default=4.0, help="seconds of training until a kill"
    )
    arguments = parser.parse_args(argv)
    root = arguments.folder / arguments.kind
    if root.exists():
        parser.error(f"{root} exists: delete it, or give another --folder")
    moments = random.Random(arguments.seed)
    whole = root / "whole"
    status = _start(arguments.kind, whole, "").wait()
    if status:
        print(f"the run that was left alone failed (exit status {status})")
        return 1
    kills, trial, bad = 0, 0, []
    while kills < arguments.kills:
        workdir, here = root / f"trial_{trial}", 0
        while True:
            ended = _once(arguments, workdir, moments, kills)
            if isinstance(ended, list):
                kills, here, bad = kills + 1, here + 1, bad + ended
                print(f"kill {kills}, in trial {trial}: left {ended or 'nothing'}", flush=True)
            elif ended:
                bad.append(f"trial {trial} failed (exit status {ended})")
                break
            else:
                break
        apart = differences(whole, workdir)
        print(f"trial {trial}: {here} kills, {len(apart)} differences", *apart, sep="\n  ")
        bad, trial = bad + apart, trial + 1
    print(f"{arguments.kind}: {kills} kills in {trial} trials, {len(bad)} faults")
    return 1 if bad else 0


def _once(arguments, workdir: Path, moments: random.Random, kills: int) -> list[str] | int:
    """One start: its exit status if it came to its end, or what was left after it was killed."""
    mark, before = uuid.uuid4().hex, left.shared_memory()
    alone = kills % 2 == 0
    process = _start(arguments.kind, workdir, mark)
    try:
        if kills >= arguments.kills:
            return process.wait()
        delay = moments.uniform(0, arguments.within)
        if moments.random() < 0.8:  # the others fall into the start
            _wait_for_training(process, workdir)
        try:
            return process.wait(delay)
        except subprocess.TimeoutExpired:
            pass
        os.kill(process.pid, signal.SIGKILL) if alone else os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return left.after(GRACE, mark, before)
    finally:
        for pid in left.processes(mark):  # so that a fault does not spoil the next trial
            os.kill(pid, signal.SIGKILL)


def _start(kind: str, workdir: Path, mark: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "famus_jax.cli", "train"]
    command += [f"--config={CONFIG}:{kind}", f"--workdir={workdir}"]
    workdir.parent.mkdir(parents=True, exist_ok=True)
    with (workdir.parent / "log.txt").open("ab") as log:
        environment = {**os.environ, "FAMUS_KILLS_MARK": mark or "none"}
        return subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )


def _wait_for_training(process: subprocess.Popen[bytes], workdir: Path) -> None:
    """Until the process writes below `runs`, or ends."""
    start = time.time()
    while process.poll() is None:
        files = (workdir / "runs").rglob("metrics.jsonl")
        if any(path.exists() and path.stat().st_mtime >= start for path in files):
            return
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
