"""Reads the work directory of an experiment, finished or not, whole or damaged."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from famus_jax.files import read_json
from famus_jax.lock import NAME as LOCK
from famus_jax.lock import in_use
from famus_jax.sealed import Damaged, read_sealed
from famus_jax.train.kept import CONFIG, RESULT
from famus_jax.train.methods import METHODS
from famus_jax.train.status import NAME as STATUS

SUMMARY = "summary.json"
STATES = ("running", "done", "stopped", "failed", "damaged")


class Run(NamedTuple):
    """One method with one seed, as far as it is.

    Attributes:
      method, estimator: as its row names them; `"none"` for no estimator.
      seed: of the run.
      row: of the table; None before the run is finished.
      history: a dict per evaluation; maybe empty.
      result: all else that was kept of the finished run.
    """

    method: str
    estimator: str
    seed: int
    row: Mapping[str, Any] | None
    history: Sequence[Mapping[str, Any]]
    result: Mapping[str, Any]


class Directory(NamedTuple):
    """A work directory.

    Attributes:
      path: of the folder.
      state: one of `STATES`: "stopped" is to be gone on with, by Ctrl-C, --max_minutes or a kill.
      what: the run that is or was being worked on.
      done, total: steps of the whole experiment; None where no file tells.
      seconds_left: about so much more, at the pace when `at` was; None: not known.
      message: how it ended, if it did before the end.
      at: when something was last written, in seconds since 1970.
      config, provenance: as `summary.json` has them; {} where nothing tells.
      runs: in the order of the config.
      problems: files that could not be read, each with why.
    """

    path: Path
    state: str
    what: str
    done: int | None
    total: int | None
    seconds_left: float | None
    message: str
    at: float
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    runs: tuple[Run, ...]
    problems: tuple[str, ...]


def is_work_directory(folder: Path) -> bool:
    """Whether an experiment is kept in `folder`, damaged or not."""
    return (folder / "runs").is_dir() and any((folder / n).exists() for n in (CONFIG, SUMMARY))


def read_directory(folder: Path) -> Directory:
    """What is in `folder`; what can't be read is among the `problems`.

    Raises:
      ValueError: if there is no experiment in it.
    """
    if not is_work_directory(folder):
        raise ValueError(
            f"{folder} is no work directory: it has no runs/ with a {CONFIG} or a {SUMMARY} beside "
            "it; name one that famus train wrote (famus runs lists them)"
        )
    problems: list[str] = []
    kept = _read(folder / CONFIG, problems, sealed=True)
    summary = _read(folder / SUMMARY, problems)
    status = _read(folder / STATUS, problems)
    config = kept.get("config") or summary.get("config") or {}
    runs = tuple(_runs(folder, config, problems))
    running = in_use(folder)
    if running:
        state = "running"
    elif not config:
        state = "damaged"
    elif status:
        state = "failed" if status.get("state") == "failed" else "stopped"
    else:
        state = "done" if summary else "stopped"
    done, total = status.get("done"), status.get("total")
    if state == "done":
        done = total = sum(int(run.row.get("steps") or 0) for run in runs if run.row)
    elif total is None:
        done, total = _counted(config, runs)
    left = status.get("seconds_left") if running else None
    if left is not None:
        left = max(0.0, left - (time.time() - status["at"]))
    at = max(_times(folder), default=0.0)
    message = "" if running else status.get("message", "")
    if status.get("state") == "running" and not running:
        message = "its process was killed; the same command goes on from the last checkpoint"
    return Directory(
        path=folder,
        state=state,
        what=status.get("what", ""),
        done=done,
        total=total,
        seconds_left=left,
        message=message,
        at=at,
        config=config,
        provenance=summary.get("provenance") or {},
        runs=runs,
        problems=tuple(problems),
    )


def best_accuracy(directory: Directory) -> tuple[float, Run] | None:
    """The best test accuracy of any evaluation, and whose it is; None before the first."""
    found = [
        (record["test_accuracy"], run)
        for run in directory.runs
        for record in run.history
        if isinstance(record.get("test_accuracy"), int | float)
    ]
    return max(found, key=lambda pair: pair[0], default=None)


def _counted(config: Mapping[str, Any], runs: Sequence[Run]) -> tuple[int | None, int | None]:
    """Steps done and in total, from the records, where no status was written."""
    try:
        wanted = [_length(run["method"], config["schedule"]) for run in config["runs"]]
        total = sum(wanted) * len(config["seeds"])
    except KeyError:  # of an earlier version
        return None, None
    return sum(int(run.history[-1]["step"]) for run in runs if _own_steps(run)), total


def _own_steps(run: Run) -> bool:
    known = METHODS.get(run.method)
    return bool(run.history) and known is not None and not known.early_stop


def _length(method: str, schedule: Mapping[str, Any]) -> int:
    if METHODS[method].early_stop:
        return 0
    return schedule["finetune_steps"] if METHODS[method].needs else schedule["steps"]


def _runs(folder: Path, config: Mapping[str, Any], problems: list[str]) -> list[Run]:
    found = [
        _run(place, problems) for place in (folder / "runs").glob("*/seed_*") if place.is_dir()
    ]
    methods = [run.get("method") for run in config.get("runs", ())]

    def order(run: Run) -> tuple[int, str, int]:
        known = run.method in methods
        return methods.index(run.method) if known else len(methods), run.estimator, run.seed

    return sorted((run for run in found if run), key=order)


def _run(folder: Path, problems: list[str]) -> Run | None:
    result = _read(folder / RESULT, problems, sealed=True)
    method, _, estimator = folder.parent.name.partition("-")  # `RunConfig.name`
    row = result.get("row")
    try:
        seed = int(folder.name.removeprefix("seed_"))
    except ValueError:
        return None
    history = result.get("history")
    if history is None:
        history = _lines(folder / "metrics.jsonl", problems)
    if row:
        method, estimator = row["method"], row["estimator"]
    return Run(method, estimator or "none", seed, row, history, result)


def _read(path: Path, problems: list[str], sealed: bool = False) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        value = read_sealed(path) if sealed else read_json(path)
        if not isinstance(value, dict):
            raise ValueError(f"{path} holds no object")
    except (Damaged, ValueError, OSError) as error:
        problems.append(str(error))
        return {}
    return value


def _lines(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """The records of a run that isn't finished; its last line may still be being written."""
    try:
        lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]
    except (ValueError, OSError) as error:
        problems.append(f"{path} can't be read ({error})")
        return []


def _times(folder: Path) -> list[float]:
    found = [folder / name for name in (CONFIG, SUMMARY, STATUS, LOCK)]
    found += (folder / "runs").glob("*/seed_*/metrics.jsonl")
    return [path.stat().st_mtime for path in found if path.exists()]
