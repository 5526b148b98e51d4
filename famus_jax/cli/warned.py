"""Warnings at a command line: one line each, as failures are, and each text once."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

from famus_jax.printable import printable


@contextlib.contextmanager
def told_warnings(name: str) -> Iterator[None]:
    """In the block a warning is a line on standard error: `famus train: warning: text`.

    Which ones are shown, or raised, is Python's to say, as ever: `python -W`, `PYTHONWARNINGS`.

    Args:
      name: the command's, for the line.
    """
    told: set[str] = set()
    before = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if file is not None:  # somebody asked for it there
            before(message, category, filename, lineno, file, line)
            return
        text = printable(str(message))
        if not issubclass(
            category, UserWarning
        ):  # of a library or of Python, which are to be named
            text = f"{text} ({category.__name__}, {filename}:{lineno})"
        if text not in told:
            told.add(text)
            print(f"{name}: warning: {text}", file=sys.stderr, flush=True)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
