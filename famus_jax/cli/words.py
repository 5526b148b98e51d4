"""Words of a command line."""

from __future__ import annotations

import argparse


def listed(text: str) -> tuple[str, ...]:
    """Names between commas, for a flag that takes several.

    Raises:
      ArgumentTypeError: fewer than two, or one twice.

    >>> listed("cat, dog")
    ('cat', 'dog')
    """
    names = tuple(name.strip() for name in text.split(","))
    if len(names) < 2 or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"must be two names or more, each once; got {text!r}")
    return names
