"""Programs for a TPU that isn't here: compiled by libtpu in a process of their own, and read.

libtpu compiles for a described topology on any machine. It runs in a subprocess, so that this one never
tries to start a TPU. Nothing is run: FLOPs, bytes, memory and seconds are the compiler's estimates.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from famus_jax.files import read_json

_NAME = re.compile(r"v\d+[a-z]*:\d+(x\d+)+")
INSTALL = 'pip install "famus_jax[tpu]"'


def check_topology(name: str) -> None:
    """Raises `ValueError` if a name can't be a topology's, `ModuleNotFoundError` without libtpu.

    >>> check_topology("v5e-4")
    Traceback (most recent call last):
    ValueError: a topology is a kind of TPU and its chips along each axis, like v5e:2x2; got 'v5e-4'
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"a topology is a kind of TPU and its chips along each axis, like v5e:2x2; got {name!r}"
        )
    if importlib.util.find_spec("libtpu") is None:
        raise ModuleNotFoundError(f"compiling for {name} needs libtpu: {INSTALL}")


def compiled_for(name: str, settings: Mapping[str, Any], command: Sequence[str] | None) -> dict:
    """What the compiler says of every row's programs, `{"rows": ..., "provenance": ..., ...}`.

    Args:
      name: of the topology, like `"v5e:2x2"`, a TPU with four chips.
      settings: the arguments of `famus_jax.benchmark.tpu.programs.describe`.
      command: what to write down as the command.

    Raises:
      ValueError: for a name that is none, or what the compiler refuses (its last line).
      ModuleNotFoundError: if libtpu isn't installed.
    """
    check_topology(name)
    # No TPU is looked for, a run beside this one may compile too, and libtpu is quiet.
    env = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_STDERR_LOG_LEVEL": "3",
        "TPU_MIN_LOG_LEVEL": "3",
    }
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        asked = {"topology": name, "command": list(command or ()), **settings}
        words = [sys.executable, "-m", "famus_jax.benchmark.tpu.programs", str(out)]
        # stderr is ours, for the progress; a failure comes back through the file.
        done = subprocess.run(words, input=json.dumps(asked), text=True, env=env, check=False)
        if not out.exists():
            raise ValueError(
                f"compiling for {name} ended with status {done.returncode} and no result: libtpu "
                "knows no such topology, or the program is too large for this machine"
            )
        result = read_json(out)
    if "error" in result:
        raise ValueError(f"compiling for {name}: {result['error']}")
    return result
