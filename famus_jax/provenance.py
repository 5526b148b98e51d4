"""What made a result: command, commit, versions, hardware."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

_PACKAGES = ("famus_jax", "jax", "jaxlib", "flax", "optax", "numpy", "tensorflow-datasets")


def made_on() -> dict[str, str | None]:
    """Where a run ended: commit and hardware, for its row (an experiment may go on elsewhere)."""
    return {"commit": _commit(), "device": _device()}


def provenance(command: Sequence[str] | None = None) -> dict[str, Any]:
    """What made a result: command, commit, versions, hardware."""
    device = jax.devices()[0]
    return {
        "command": " ".join(command or _command(sys.argv)),
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "device": _device(),
        "matmul_precision": getattr(jax.config, "jax_default_matmul_precision", None) or "default",
        "platform": device.platform,
        "platform_version": str(getattr(device.client, "platform_version", "")),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }


def _command(argv: Sequence[str]) -> list[str]:
    """A command line without the folders of the machine that it ran on.

    >>> _command(["/home/me/famus/experiments/rounding.py", "--json=a.json"])
    ['rounding.py', '--json=a.json']
    """
    return [Path(argv[0]).name, *argv[1:]]


def _device() -> str:
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"


def _commit() -> str | None:
    """The commit of the source tree, with "+" if it has uncommitted changes; None outside git."""
    here = Path(__file__).parent

    def git(*args: str) -> str:
        run = subprocess.run(["git", *args], cwd=here, capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != here.parent:
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
