"""Files that are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def check_folder(path: Path) -> None:
    """Looks whether a folder is there that can be written to, or can be made; makes nothing.

    Raises:
      OSError: if not, before any work was done for what would be written there.
    """
    with contextlib.suppress(FileNotFoundError):
        os.stat(path)  # a name that is too long, links in a circle, a file among the parents
    above = (path.absolute(), *path.absolute().parents)
    existing = next(place for place in above if os.path.lexists(place))  # maybe a link to nothing
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(existing))
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "no permission to write", str(existing))


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a neighbour and renames it: no reader ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_figure(path: Path, figure: Any) -> None:
    """A matplotlib figure, in the format of the path's suffix (default: PNG)."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:] or "png", dpi=110)
    write_atomically(path, content.getvalue())


def write_json(path: Path, value: Any) -> None:
    """JSON that people can read; refuses NaN, which JSON does not know."""
    text = json.dumps(value, indent=1, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Raises `ValueError`, naming the file, if it is not JSON."""
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); delete it to start anew") from error
