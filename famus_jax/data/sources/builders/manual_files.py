"""Reading the text files that come with data sets downloaded by hand."""

from __future__ import annotations

from pathlib import Path


def first_that_exists(candidates: list[Path], what: str, instructions: str) -> Path:
    """The first path that exists.

    Raises:
      FileNotFoundError: none does; lists where it looked and repeats the manual steps.
    """
    for path in candidates:
        if path.exists():
            return path
    looked = "\n".join(f"    {path}" for path in candidates)
    raise FileNotFoundError(f"{what} not found; looked at\n{looked}\n{instructions}")


def read_pairs(path: Path) -> list[tuple[str, int]]:
    """Lines "name label" as (name, label); the name may hold spaces, blank lines are skipped.

    Raises:
      ValueError: a line without a whole number at its end (file and line are named).
    """
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdecimal():
            raise ValueError(f"{path}, line {number}: expected 'image-path label', got {line!r}")
        pairs.append((name.strip(), int(label)))
    return pairs


def read_keys(path: Path) -> list[str]:
    """One name per line, blank lines skipped."""
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
