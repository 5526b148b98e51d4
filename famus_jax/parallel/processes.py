"""Several processes, one experiment: how they start, what they must agree on, who writes.

Every process runs the same program on its own share of every batch; `jax.distributed` makes one set of
devices of all. Checkpoints are written by all together (orbax), everything else by the first one.
"""

from __future__ import annotations

import hashlib
import os
import signal

import jax
import numpy as np


def start(
    coordinator: str | None = None, count: int | None = None, index: int | None = None
) -> None:
    """Joins the other processes; before anything else asks for a device.

    Args:
      coordinator: `"host:port"` of the first process; None on TPU pods, under Slurm and under Open MPI,
        where JAX finds all three by itself.
      count, index: how many processes, and which one this is.

    Raises:
      ValueError: if only some of the three are given, or they make no sense.
    """
    given = (coordinator, count, index)
    if any(x is not None for x in given) and any(x is None for x in given):
        raise ValueError(
            f"--coordinator, --processes and --process belong together; got {given}: give all three, "
            "or none where the cluster tells (TPU pods, Slurm, Open MPI)"
        )
    if count is not None and index is not None and not 0 <= index < count:
        raise ValueError(f"--process={index} must be in [0, --processes={count})")
    jax.distributed.initialize(coordinator, count, index)


def is_writer() -> bool:
    """Whether this process writes the experiment's files."""
    return jax.process_index() == 0


def said_by_first(value: bool) -> bool:
    """What the first process says; every process must call it."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    return bool(multihost_utils.broadcast_one_to_all(np.asarray(value)))


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
