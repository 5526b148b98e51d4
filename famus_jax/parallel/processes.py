"""Several processes, one experiment: how they start, what they must agree on, who writes.

Every process runs the same program on its own share of every batch; `jax.distributed` makes one set of
devices of all. Checkpoints are written by all together (orbax), everything else by the first one.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import secrets
import signal
import time
from pathlib import Path

import jax
import numpy as np

from famus_jax.bounds import Bounds, whole
from famus_jax.parallel.address import bracketed, parse_address, resolve
from famus_jax.parallel.watch import Watch, meet


def start(
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
    *,
    wait: float = 300.0,
) -> Watch | None:
    """Joins the other processes; before anything else asks for a device.

    With a coordinator they watch one another from here on: when one is killed the others end at once,
    when one stands still after a minute, each with a line that says which. Without (the cluster tells),
    jax alone looks after them.

    Args:
      coordinator: `"host:port"` of the first process; None on TPU pods, under Slurm and under Open MPI,
        where JAX finds all three by itself.
      count, index: how many processes, and which one this is.
      wait: seconds to wait for the last of them.

    Returns:
      The watch, to be told why this process ends, if that is early; None without a coordinator.

    Raises:
      ValueError: if only some of the three are given, or they make no sense; naming who is missing, or
        an address that can't be.
    """
    given = (coordinator, count, index)
    if any(x is not None for x in given) and any(x is None for x in given):
        raise ValueError(
            f"--coordinator, --processes and --process belong together; got {given}: give all three, "
            "or none where the cluster tells (TPU pods, Slurm, Open MPI)"
        )
    if coordinator is None or count is None or index is None:
        jax.distributed.initialize()
        return None
    whole(count, Bounds(1, 100_000), "--processes")
    if not 0 <= index < count:
        raise ValueError(f"--process={index} must be in [0, --processes={count})")
    address = resolve(*parse_address(coordinator))
    watch = meet(address, count, index, wait)
    there = bracketed(*address)  # and nowhere else: anyone who reaches it may join
    jax.distributed.initialize(there, count, index, coordinator_bind_address=there)
    atexit.register(watch.leave)
    return watch.start()


def is_writer() -> bool:
    """Whether this process writes the experiment's files."""
    return jax.process_index() == 0


def said_by_first(value: bool) -> bool:
    """What the first process says; every process must call it."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    return bool(multihost_utils.broadcast_one_to_all(np.asarray(value)))


def text_of_first(text: str) -> str:
    """The first process's text; every process must call it, and waits for the first one."""
    if jax.process_count() == 1:
        return text
    from jax.experimental import multihost_utils

    content = np.frombuffer(text.encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.asarray(len(content))))
    padded = np.zeros(size, np.uint8)
    if is_writer():
        padded[:] = content
    return np.asarray(multihost_utils.broadcast_one_to_all(padded), np.uint8).tobytes().decode()


def all_end_here(asked: bool, place: int) -> bool:
    """Whether all processes end at this place, because one of them was asked to.

    They are not in step: one may be some places ahead. jax's coordinator finds a place that none has
    reached yet; it listens for SIGTERM, so that another wish has to be made one.

    Args:
      asked: whether this process was asked; alone, that decides.
      place: a count that rises by one at every call, the same in all processes.
    """
    if jax.process_count() == 1:
        return asked
    from jax.experimental import multihost_utils

    return multihost_utils.reached_preemption_sync_point(place)


def tell_all(number: int) -> None:
    """Passes a signal that this process got on to what `all_end_here` listens to."""
    if number != signal.SIGTERM:
        os.kill(os.getpid(), signal.SIGTERM)


def agree(what: str, value: str, fix: str) -> None:
    """Returns only if all processes hold the same `value`; every process must call it.

    Raises:
      ValueError: on every process, if they don't: which ones, and what to do.
    """
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    digest = hashlib.blake2b(value.encode(), digest_size=16).digest()
    mine = np.frombuffer(digest, np.uint8)
    everyone = np.asarray(multihost_utils.process_allgather(mine)).reshape(-1, len(mine))
    apart = [i for i, row in enumerate(everyone) if (row != everyone[0]).any()]
    if apart:
        raise ValueError(
            f"the processes disagree on {what}: process 0 has another one than "
            f"{', '.join(f'process {i}' for i in apart)}. {fix}"
        )


def check_shared(folder: Path, seconds: float = 10.0) -> None:
    """Returns only if all processes see what the first one writes in a folder; every one must call it.

    Args:
      folder: there already, for the first process.
      seconds: to wait for a file to appear on other machines.

    Raises:
      ValueError: on every process, if one does not see it: which ones.
    """
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    mine = np.frombuffer(secrets.token_bytes(8), np.uint8)
    token = np.asarray(multihost_utils.broadcast_one_to_all(mine), np.uint8).tobytes().hex()
    sign = folder / f".seen_by_all_{token}"
    if is_writer():
        sign.touch()
    until = time.monotonic() + seconds
    while not (seen := sign.exists()) and time.monotonic() < until:
        time.sleep(0.1)
    everyone = np.asarray(multihost_utils.process_allgather(np.asarray(seen))).reshape(-1)
    if is_writer():
        sign.unlink(missing_ok=True)
    if blind := [f"process {i}" for i, one in enumerate(everyone) if not one]:
        raise ValueError(
            f"{', '.join(blind)} can't see what process 0 writes in {folder}: give all of them the "
            "same --workdir, on a disk that they share"
        )
