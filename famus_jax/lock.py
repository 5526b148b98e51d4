"""One command at a time in a folder.

The lock is the kernel's (`flock`), on a file in the folder: it ends with the process that holds it,
however that ends, so none is ever left behind. What the file says is for people only. Where there
is no such lock (on some network file systems) a warning says so.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

NAME = "in_use"


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Holds the folder while the block runs, and makes it if there is none.

    At the end the lock's file is removed, and the folders that were made here if they are empty.

    Raises:
      ValueError: at once, if another process holds it: which one, and what to do.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _held(folder / NAME):
            yield
    finally:
        for place in made:
            with contextlib.suppress(OSError):  # not empty
                place.rmdir()


def in_use(folder: Path) -> bool:
    """Whether a process is at work in the folder; takes no lock where there is no lock's file.

    What a killed process left is asked for the lock, shared and for a moment only; a command that
    starts in that very moment tries again (see `_lock`).
    """
    try:
        handle = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no locks here: the file alone can tell
        return True
    finally:
        os.close(handle)
    return False


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    handle = _locked(path)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, _this_process().encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: nobody can hold the removed one
        os.close(handle)


def _locked(path: Path) -> int:
    """A handle of the file `path`, held."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle, path)
        except BaseException:
            os.close(handle)
            raise
        if _is_still(path, handle):
            return handle
        os.close(handle)  # its last holder has just removed it


def _lock(handle: int, path: Path) -> None:
    try:
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.05)  # `in_use` may have been looking
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 1000, 0).decode(errors="replace").strip() or "another process"
        raise ValueError(
            f"{path.parent} is in use by {holder}: wait until it is done or end it, or give this run "
            "another --workdir"
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            raise
        warnings.warn(
            f"{path.parent} can't be locked ({error}): start no second run in it", stacklevel=2
        )


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _this_process() -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"process {os.getpid()} on {platform.node()}, since {since}\n"
