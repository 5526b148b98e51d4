"""Which examples batch t holds: pure functions of (seed, t), on the host.

Symbols: N examples, n batch size, t step. Position p = t n + row of the endless sequence of
examples lies in epoch p // N; each epoch is its own permutation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from famus_jax.data import hashing


def checked_step(step: int) -> int:
    """Return `step` as an int; raise `ValueError` unless it is a whole number >= 0."""
    if int(step) != step or step < 0:
        raise ValueError(f"step = {step!r} must be a whole number >= 0")
    return int(step)


def check_sizes(num_examples: int, batch_size: int) -> tuple[int, int]:
    """Return both as ints; raise `ValueError` unless both are at least 1."""
    if num_examples < 1:
        raise ValueError(f"num_examples = {num_examples}: there is nothing to draw batches from")
    if batch_size < 1:
        raise ValueError(f"batch_size = {batch_size} must be at least 1")
    return int(num_examples), int(batch_size)


def epoch_indices(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of epoch `epoch`: int64[N], a function of the arguments for ever."""
    bits = hashing.bit_generator(seed, "epoch", epoch).random_raw(num_examples)
    return np.argsort(bits, kind="stable").astype(np.int64)


def batch_indices(
    num_examples: int,
    batch_size: int,
    seed: int,
    step: int,
    *,
    epoch_fn: Callable[[int, int, int], np.ndarray] = epoch_indices,
) -> np.ndarray:
    """The examples of batch `step`: int64[n] in [0, N).

    For n <= N the batches cut the sequence of epochs into equal pieces, so that a batch may span
    two epochs and every batch is full. A batch with n > N (a small trusted set) holds floor(n/N)
    whole passes, each in its own order, and fills up from such a sequence: every example occurs at
    least floor(n/N) times (and at most twice more, where two epochs meet). Over N batches every
    example occurs equally often.

    Args:
      num_examples: N >= 1.
      batch_size: n >= 1, also above N.
      seed: int.
      step: t >= 0.
      epoch_fn: replaces `epoch_indices`, e.g. by a version that remembers the last epochs.
    """
    n_examples, n = check_sizes(num_examples, batch_size)
    step = checked_step(step)
    if n > n_examples:
        # Passes are the epochs -1, -2, …, which the sequence below never uses.
        passes, rest = divmod(n, n_examples)
        numbers = range(-step * passes - 1, -(step + 1) * passes - 1, -1)
        parts = [epoch_fn(n_examples, seed, number) for number in numbers]
        if rest:
            parts.append(batch_indices(n_examples, rest, seed, step, epoch_fn=epoch_fn))
        return np.concatenate(parts)
    start = step * n
    position = np.arange(start, start + n, dtype=np.int64)
    epochs = position // n_examples
    out = np.empty(n, np.int64)
    for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
        mine = epochs == epoch
        out[mine] = epoch_fn(n_examples, seed, epoch)[position[mine] % n_examples]
    return out


def augment_key_data(seed: int, step: int) -> np.ndarray:
    """The augmentation key of batch `step`: uint32[2] for `jax.random.wrap_key_data`."""
    text = f"famus_jax\x00augment\x00{hashing.checked_seed(seed)}\x00{checked_step(step)}"
    return np.frombuffer(hashlib.blake2b(text.encode(), digest_size=8).digest(), "<u4").copy()


def local_rows(batch_size: int, host_index: int, host_count: int) -> tuple[int, int]:
    """The rows [first, last) of a global batch that belong to one host.

    Raises:
      ValueError: the batch can't be divided evenly, or the index is not below the count.
    """
    if host_count < 1 or not 0 <= host_index < host_count:
        raise ValueError(f"host_index = {host_index} must be in [0, host_count = {host_count})")
    if batch_size % host_count:
        raise ValueError(
            f"batch_size = {batch_size} can't be divided among {host_count} hosts; "
            f"use a multiple of {host_count}"
        )
    share = batch_size // host_count
    return host_index * share, (host_index + 1) * share
