"""Any text, on one line, for a terminal or a picture."""

from __future__ import annotations


def printable(text: str, most: int | None = None) -> str:
    r"""Without line breaks, and without characters that would do something to a terminal.

    Args:
      text: whatever a file or a person gave.
      most: how many characters to keep.

    >>> printable("a\n  b\x1b[2J"), printable("x" * 30, 24)
    ('a b\\x1b[2J', 'xxxxxxxxxxxxxxxxxxxxxxx…')
    """
    joined = " ".join(text.split())
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in joined)
    return plain if most is None or len(plain) <= most else plain[: most - 1] + "…"
