"""Batches read by processes that end with the one that asked for them, however that ends.

grain's own processes wait for ever once their parent is killed, and batches that they have put into
named shared memory stay there. Here a batch travels through a pipe, which has no name and is gone
with its ends, and every process watches its parent.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import pickle
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from famus_jax.data.batches.waiting import watched

_Pipe = multiprocessing.connection.Connection


class Workers:
    """The batches of several processes in turn: the first one's first, the second one's first, ...

    Args:
      make: `(worker, workers) -> ` the endless batches of this worker; called in its process.
      workers: how many processes.
    """

    def __init__(self, make: Callable[[int, int], Iterator[Any]], workers: int):
        import cloudpickle  # grain brings it

        context, pickled = multiprocessing.get_context("spawn"), cloudpickle.dumps(make)
        self._pipes, self._processes, self._turn = [], [], 0
        for worker in range(workers):
            mine, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_serve, args=(theirs, pickled, worker, workers), daemon=True
            )
            with _blocked_signals():  # until the process ignores them itself, in `_serve`
                process.start()
            theirs.close()  # so that the pipe ends with the process
            self._pipes.append(mine)
            self._processes.append(process)
        self._end = weakref.finalize(self, _end, self._pipes, self._processes)

    def __iter__(self) -> Workers:
        return self

    def __next__(self) -> Any:
        """The next batch.

        Raises:
          ChildProcessError: if the process whose turn it is has ended, or is stopped; see `waiting`.
          Exception: what reading it raised there.
        """
        turn, self._turn = self._turn, (self._turn + 1) % len(self._pipes)
        process = self._processes[turn]
        why: list[str] = []  # we have ended it ourselves
        try:
            with watched(process, why):
                content = self._pipes[turn].recv_bytes()
        except (EOFError, OSError):  # between two batches, and in the middle of one
            process.join(1)
            if why:
                raise ChildProcessError(why[0]) from None
            raise ChildProcessError(
                f"process {process.pid}, which read images, has ended (exit status "
                f"{process.exitcode}; -9 is often for want of memory). The same command goes on from "
                "the last checkpoint; fewer data.workers take less memory"
            ) from None
        batch = pickle.loads(content)
        if isinstance(batch, Exception):
            raise batch
        return batch

    def close(self) -> None:
        """Ends the processes; what they have read ahead is lost."""
        self._end()


def _signals() -> list[signal.Signals]:
    """Those that end the parent: whoever ends it decides. Windows lacks one."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    """A process that is started here has them blocked from its first instruction on."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    multiprocessing.resource_tracker.ensure_running()  # starting it in here would unblock some
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(pipes: list[_Pipe], processes: list[Any]) -> None:
    for process in processes:
        process.kill()  # it keeps nothing
    for process, pipe in zip(processes, pipes, strict=True):
        process.join()
        pipe.close()


def _serve(pipe: _Pipe, pickled: bytes, worker: int, workers: int) -> None:
    """A worker's whole life."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # A signal to the group must not take the batches of the parent's last steps.
    for number in _signals():
        signal.signal(number, signal.SIG_IGN)  # those that waited are gone
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _signals())
    try:
        for batch in pickle.loads(pickled)(worker, workers):
            pipe.send_bytes(pickle.dumps(batch, pickle.HIGHEST_PROTOCOL))
    except (BrokenPipeError, ConnectionResetError):  # nobody reads any more
        return
    except Exception as error:
        pipe.send_bytes(_pickled_error(error))


def _pickled_error(error: Exception) -> bytes:
    try:
        content = pickle.dumps(error)
        pickle.loads(content)
        return content
    except Exception:  # errors of other libraries may refuse, in ways of their own
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
