"""What an experiment keeps in its work directory, and whether that still is what was kept.

Every file that is read again has a checksum and says what it was made from. One of other data is
refused; a damaged one is made again from the run's checkpoint, with a warning.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from famus_jax.files import write_atomically
from famus_jax.predictor import Predictor, save_predictor
from famus_jax.sealed import Damaged, Unsealed, file_checksum, read_sealed, write_sealed
from famus_jax.train.checkpoint import seals_in
from famus_jax.train.fingerprint import MadeFrom, refuse_others

CONFIG, RESULT, WEIGHTS = "config.json", "result.json", "weights.npz"
PREDICTOR = "predictor"  # a folder


def refuse_kept_of_others(workdir: Path, made_from: MadeFrom) -> None:
    """Raises `ValueError` unless all that is kept in `workdir` was made from the same config and
    data.

    Also where `config.json` is lost: every result and every checkpoint says it itself. What is
    damaged is passed over, since it is noticed where it is read; what an earlier version wrote,
    which can't be told, is refused.
    """
    for path in (workdir / CONFIG, *sorted(workdir.rglob(RESULT)), *seals_in(workdir)):
        try:
            kept = read_sealed(path) if path.exists() else None
        except Unsealed as error:
            raise ValueError(
                f"{error}: give this one another --workdir, or delete {workdir} (or this file "
                "alone, if you know that it is damaged)"
            ) from error
        except Damaged:
            continue
        if kept is not None:
            refuse_others(kept.get("made_from"), made_from, workdir)


def write_config(workdir: Path, config: Mapping[str, Any], made_from: MadeFrom) -> None:
    """Keeps what the work directory is for; warns if what was kept of it is damaged."""
    path = workdir / CONFIG
    if path.exists():
        try:
            read_sealed(path)
        except Damaged as damaged:
            warnings.warn(f"{damaged}; it is written anew", stacklevel=2)
    write_sealed(path, {**config, "made_from": dict(made_from)})


def write_result(
    folder: Path,
    result: Mapping[str, Any],
    made_from: MadeFrom,
    arrays: Mapping[str, np.ndarray],
    predictor: Predictor | None = None,
) -> None:
    """Keeps a run's result, and beside it `arrays` of its examples and its predictor, if there are
    some."""
    beside = {}
    if arrays:
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        write_atomically(folder / WEIGHTS, content.getvalue())
        beside[WEIGHTS] = file_checksum(folder / WEIGHTS)
    if predictor is not None:
        for path in save_predictor(folder / PREDICTOR, predictor):
            beside[path.relative_to(folder).as_posix()] = file_checksum(path)
    write_sealed(folder / RESULT, {**result, "made_from": dict(made_from), "files": beside})


def read_result(folder: Path, made_from: MadeFrom) -> dict[str, Any] | None:
    """What `write_result` was given; None if there is none, or after a warning if it is damaged.

    Raises:
      ValueError: if it was made from something else.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        result = read_sealed(path)
        for name, checksum in result["files"].items():
            if not (folder / name).exists() or file_checksum(folder / name) != checksum:
                raise Damaged(f"{folder / name} is missing or damaged")
    except Damaged as damaged:
        warnings.warn(f"{damaged}; it is made again, from the run's checkpoint", stacklevel=2)
        return None
    refuse_others(result.pop("made_from"), made_from, folder)
    del result["files"]
    return result
