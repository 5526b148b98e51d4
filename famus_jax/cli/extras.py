"""Which packages a command misses, and what to install."""

from __future__ import annotations

import re
from importlib import metadata

EXTRA = "train"


def missing_packages(extra: str = EXTRA) -> list[str]:
    """The packages of one of famus_jax's extras that are not installed, as pip names them.

    Empty where famus_jax itself was not installed: then nothing says what the extra holds.
    """
    try:
        required = metadata.requires("famus_jax") or []
    except metadata.PackageNotFoundError:
        return []
    mine = [line for line in required if re.search(rf"extra == ['\"]{extra}['\"]", line)]
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in mine]
    return [name for name in names if not _installed(name)]


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
