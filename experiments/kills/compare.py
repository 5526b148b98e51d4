"""Every file of two work directories, times aside."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import jax
import numpy as np

from famus_jax.train import checkpoint

# Of where and how long; what a run found must not depend on it.
TIMES = ("seconds", "times", "provenance")


def differences(expected: Path, found: Path) -> list[str]:
    """A line for each file that differs, is missing or too many; none if the folders are the same.

    Checkpoints are compared array by array and event files value by value, since their own files
    have random names.
    """
    one, other = contents(expected), contents(found)
    lines = [f"missing: {name}" for name in one.keys() - other.keys()]
    lines += [f"too many: {name}" for name in other.keys() - one.keys()]
    lines += [f"differs: {name}" for name in one.keys() & other.keys() if one[name] != other[name]]
    return sorted(lines)


def contents(workdir: Path) -> dict[str, Any]:
    """What is in every file, as values that can be compared."""
    found: dict[str, Any] = {}
    for folder in sorted(workdir.rglob("checkpoints")):
        for name, value in _checkpoints(folder).items():
            found[f"{folder.relative_to(workdir)}/{name}"] = value
    for folder in sorted(workdir.rglob("tensorboard")):
        found[str(folder.relative_to(workdir))] = _events(folder)
    for path in sorted(workdir.rglob("*")):
        inside = {parent.name for parent in path.relative_to(workdir).parents}
        if path.is_file() and not inside & {"checkpoints", "tensorboard"}:
            found[str(path.relative_to(workdir))] = _content(path)
    return found


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text()))
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: _array(arrays[name]) for name in arrays.files}
    return path.read_bytes()


def _checkpoints(folder: Path) -> dict[str, Any]:
    """Arrays and record of every checkpoint, and whatever else lies there."""
    steps = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    found: dict[str, Any] = {path.name: None for path in folder.iterdir()}
    for step in steps:
        arrays, record = checkpoint.contents(folder / str(step))
        leaves = jax.tree_util.tree_flatten_with_path(arrays)[0]
        found[f"{step}/record"] = _without_times(record)
        for path, leaf in leaves:
            found[f"{step}/{jax.tree_util.keystr(path)}"] = _array(np.asarray(leaf))
    return found


def _events(folder: Path) -> list[tuple[str, int, float]]:
    """(name, step, value) of every scalar in the event files, in the order of their writing."""
    from tensorboardX.proto.event_pb2 import Event  # type: ignore[attr-defined]

    found = []
    for path in sorted(folder.iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):  # length, its checksum, event, its checksum
            (size,) = struct.unpack("<Q", content[at : at + 8])
            event = Event.FromString(content[at + 12 : at + 12 + size])
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            at += 16 + size
    return found


def _array(x: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return str(x.dtype), x.shape, x.tobytes()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if k not in TIMES}
    return [_without_times(v) for v in value] if isinstance(value, list) else value
