"""Files that are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PART = ".part"


def expanded(path: str | os.PathLike) -> Path:
    """The path, with `~` and `~name` as the home folders that they stand for.

    Raises:
      ValueError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        first = Path(path).parts[0]
        raise ValueError(
            f"{os.fspath(path)!r}: {first} would be a user's home folder, and there is no such user; "
            f"write ./{first} for a folder of that name"
        ) from error


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
    """Writes a neighbor and renames it: no reader ever sees half a file. Respects the umask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}-{secrets.token_hex(4)}{_PART}"
    # What the system's own call makes has the rights that the umask leaves.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_parts(folder: Path) -> None:
    """Removes what killed writers have left below `folder`; nobody else may be writing there."""
    for path in folder.rglob(f".?*-*{_PART}"):
        path.unlink(missing_ok=True)


def write_figure(path: Path, figure: Any) -> None:
    """A matplotlib figure, in the format of the path's suffix (default: PNG)."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:] or "png", dpi=110)
    write_atomically(path, content.getvalue())


def write_json(path: Path, value: Any) -> None:
    """JSON that people can read; refuses NaN, which JSON does not know (see `finite`)."""
    text = json.dumps(value, indent=1, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def finite(value: Any) -> Any:
    """A value for JSON with null in the place of every number that is not finite.

    >>> finite({"loss": [0.5, float("inf")]})
    {'loss': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {name: finite(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Any:
    """Raises `ValueError`, naming the file, if it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:  # of the encoding as well
        raise ValueError(f"{path} is not valid JSON ({error}); delete it to start anew") from error
