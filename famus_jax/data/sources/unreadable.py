"""What to do with files and rows that can't be read: a few are left out, more are an error."""

from __future__ import annotations

import math
import warnings


def check_tolerance(tolerance: float) -> float:
    """Return it; raise `ValueError` unless it is a share in [0, 1)."""
    if not 0.0 <= float(tolerance) < 1.0:
        raise ValueError(f"tolerance = {tolerance!r} must be a share of the images, in [0, 1)")
    return float(tolerance)


def report_unreadable(
    reasons: dict[str, str],
    count: int,
    tolerance: float,
    noun: str,
    stacklevel: int = 3,
    flag: str = "famus train: --config.data.tolerance",
) -> None:
    """Name and count what could not be read: a warning within the tolerance, an error above it.

    Args:
      reasons: name -> why, of the unreadable ones.
      count: how many there are in all.
      tolerance: the share that may be unreadable.
      noun: "images" or "rows", for the message.
      stacklevel: of the warning; 3 is the line that called our caller.
      flag: how a command is told to allow more.

    Raises:
      ValueError: more than `tolerance * count` are unreadable.
    """
    if not reasons:
        return
    some = "\n".join(f"    {name}: {why}" for name, why in list(reasons.items())[:10])
    more = f"\n    … and {len(reasons) - 10} more" if len(reasons) > 10 else ""
    text = f"{len(reasons)} of {count} {noun} can't be read:\n{some}{more}"
    if len(reasons) > tolerance * count:
        raise ValueError(
            f"{text}\nThe tolerance is {tolerance:g} of them. Mend or remove these, or allow more: "
            f"tolerance={_enough(len(reasons), count)} ({flag})."
        )
    warnings.warn(f"{text}\nThey are left out (tolerance={tolerance:g}).", stacklevel=stacklevel)


def _enough(bad: int, count: int) -> str:
    """The smallest tolerance of few digits that allows so many."""
    for digits in range(2, 9):
        share = math.ceil(10**digits * bad / count) / 10**digits
        if share < 1:
            return f"{share:.{digits}g}"
    return "0.99999999"
