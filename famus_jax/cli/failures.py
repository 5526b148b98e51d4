"""A failure as one line: what a person at a command line can use."""

from __future__ import annotations

_LONGEST = 1000
# Of these the message is for people; of others the type says more than the text.
_TOLD = (ValueError, TypeError, FloatingPointError, ImportError, FileNotFoundError)


def one_line(error: BaseException) -> str:
    """The error's message without line breaks; with its type, where the message is none by itself.

    >>> one_line(ValueError("no such\\n  file")), one_line(KeyError("x"))
    ('no such file', "KeyError: 'x' (--traceback shows where)")
    """
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        text = ": ".join(str(x) for x in (error.strerror, error.filename) if x is not None)
    elif isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        text = f"out of memory: take smaller batches, a smaller network or fewer workers ({text})"
    elif not isinstance(error, _TOLD) or not text:
        text = f"{type(error).__name__}: {text} (--traceback shows where)"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 2] + " …"
