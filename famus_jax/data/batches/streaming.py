"""Batches of sets that are too large for the device: read by grain, prefetched, sharded per host.

The same `Stream` interface and the same batches as `in_memory_stream` with the same seed:
the order is `order.batch_indices`, the augmentation key `order.augment_key_data`. grain walks the
endless sequence of examples; asking for any other step than the next restarts it there.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np

from famus_jax.data import hashing
from famus_jax.data.augment.device import Augmentation
from famus_jax.data.batches.order import (
    augment_key_data,
    batch_indices,
    check_sizes,
    checked_step,
    epoch_indices,
    local_rows,
)
from famus_jax.data.batches.pixels import Normalize, finish_images, make_normalizer
from famus_jax.data.batches.workers import Workers
from famus_jax.data.sources.random_access import ImageSource

HostTransform = Callable[[np.ndarray, np.ndarray], np.ndarray]
HOST_NUMBERS = 16

_recent_epoch = functools.lru_cache(maxsize=3)(epoch_indices)
_finish = jax.jit(finish_images, static_argnames=("augment",))


class _Plan(NamedTuple):
    # All that decides which image is read where; picklable, for worker processes.
    source: ImageSource
    chosen: np.ndarray
    batch_size: int
    seed: int
    rows: tuple[int, int]
    transform: HostTransform | None


class _Positions:
    """grain's data source: position p of this host's sequence, counted from step `start`."""

    def __init__(self, start: int, local: int):
        self._first, self._length = start * local, 2**62

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> int:
        return self._first + int(index)


@functools.lru_cache(maxsize=8)
def _rows_of(count: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    return batch_indices(count, batch_size, seed, step, epoch_fn=_recent_epoch)


def host_numbers(seed: int, step: int, row: int) -> np.ndarray:
    """Uniform numbers in [0, 1) for the host transform of one image, float64[16]."""
    bits = hashing.bit_generator(seed, "host_transform", step, row).random_raw(HOST_NUMBERS)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


class _Read:
    """Position -> {"image", "index"}: a function that can be pickled."""

    def __init__(self, plan: _Plan):
        self._plan = plan

    def __call__(self, position: int) -> dict[str, np.ndarray]:
        plan = self._plan
        first, last = plan.rows
        step, local_row = divmod(position, last - first)
        row = first + local_row
        order = _rows_of(len(plan.chosen), plan.batch_size, plan.seed, step)
        index = plan.chosen[order[row]]
        image = plan.source[int(index)]
        if image.dtype != np.uint8 and image.dtype.kind != "f":
            raise ValueError(f"image {index} is {image.dtype}; expected uint8 (or float features)")
        if plan.transform is not None:
            image = plan.transform(image, host_numbers(plan.seed, step, row))
        return {"image": image, "index": index}


def _read_in_threads(plan: _Plan, start: int, threads: int, worker: int, workers: int):
    """The batches from step `start` on; of several workers, those that are this one's."""
    try:
        import grain
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "streaming reads through grain: pip install grain (small sets need none: "
            "in_memory_stream)"
        ) from error
    local = plan.rows[1] - plan.rows[0]
    dataset = (
        grain.MapDataset.source(_Positions(start, local))
        .map(_Read(plan))
        .batch(local, drop_remainder=True)
        .slice(slice(worker, None, workers))  # whole batches are shared out
    )
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    return iter(dataset.to_iter_dataset(options))


def _read_in_process(plan: _Plan, start: int, threads: int, worker: int, workers: int):
    """As `_read_in_threads`, in a process that has not read anything yet."""
    # Libraries import parts of themselves when first used; two threads that make tfds do so at once
    # can wait for one another for ever.
    _Read(plan)(0)
    return _read_in_threads(plan, start, threads, worker, workers)


def _reading(plan: _Plan, start: int, workers: int, threads: int) -> Iterator[dict]:
    """The batches from step `start` on, read in the background."""
    if not workers:
        return _read_in_threads(plan, start, threads, 0, 1)
    return Workers(functools.partial(_read_in_process, plan, start, threads), workers)


class GrainStream:
    """A `Stream` that reads ahead; make it with `streaming`, close it at the end."""

    def __init__(self, plan, labels, *, augment, normalizer, workers, threads, ahead):
        self._plan, self._labels = plan, labels
        self._augment, self._normalizer = augment, normalizer
        self._first_row = jax.device_put(np.int32(plan.rows[0]))
        self._workers, self._threads, self._ahead = workers, threads, ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="famus_data")
        self._queue: collections.deque[tuple[int, Future]] = collections.deque()
        self._iterator, self._next = None, -1

    def _restart(self, step: int) -> None:
        self._drain()
        self._iterator = _reading(self._plan, step, self._workers, self._threads)
        self._next = step

    def _drain(self) -> None:
        for _, future in self._queue:
            future.cancel()
        while self._queue:
            _, future = self._queue.popleft()
            if not future.cancelled():
                future.exception()  # wait: the iterator is not shared between threads
        if isinstance(self._iterator, Workers):
            self._iterator.close()
        self._iterator = None

    def _fetch(self, iterator) -> tuple[jax.Array, jax.Array, jax.Array]:
        batch = next(iterator)
        index = batch["index"].astype(np.int32)
        return jax.device_put((batch["image"], self._labels[index], index))

    def batch(self, step: int) -> dict[str, jax.Array]:
        """See `Stream.batch`. Fast in order; any other step restarts the reading there.

        Raises:
          ValueError: an image can't be read, or images differ in size.
        """
        step = checked_step(step)
        if self._iterator is None or not self._queue or self._queue[0][0] != step:
            self._restart(step)
        while len(self._queue) <= self._ahead:
            self._queue.append((self._next, self._pool.submit(self._fetch, self._iterator)))
            self._next += 1
        try:
            images, label, index = self._queue.popleft()[1].result()
        except Exception:
            self._drain()
            raise
        key_data = jax.device_put(augment_key_data(self._plan.seed, step))
        finished = _finish(
            images,
            key_data,
            self._first_row,
            self._normalizer,
            augment=self._augment,
        )
        return {**finished, "label": label, "index": index}

    def close(self) -> None:
        """Stop reading ahead and end the worker processes; `batch` may still restart it."""
        self._drain()

    def __enter__(self) -> GrainStream:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def streaming(
    source: ImageSource,
    labels: np.ndarray,
    batch_size: int,
    *,
    seed: int,
    augment: Augmentation | None = None,
    normalize: Normalize | None = None,
    indices: np.ndarray | None = None,
    host_transform: HostTransform | None = None,
    host_index: int = 0,
    host_count: int = 1,
    workers: int = 0,
    threads: int = 4,
    ahead: int = 2,
) -> GrainStream:
    """Batches from a source with random access, read ahead in the background.

    Args:
      source: row -> uint8[H, W, C], e.g. `random_access.FileSource`; picklable if workers > 0.
      labels: integers [N], e.g. of a noise table; kept on the host.
      batch_size, seed, augment, normalize, indices, host_index, host_count: as in
        `in_memory_stream`, with the same batches.
      host_transform: `transform(image, numbers) -> image` for images of many sizes, with float64
        numbers[16] in [0, 1) that are a function of (seed, step, row); see `augment.host`.
      workers: processes that read; 0 reads in threads of this process.
      threads: reading threads of each process; each reads a batch, so as many are in memory.
      ahead: batches that wait on the device.

    Raises:
      ValueError: sizes disagree, indices out of range, batch not divisible among hosts.
      ModuleNotFoundError: grain is missing; says what to install.
    """
    values = np.asarray(labels)
    if values.ndim != 1 or len(values) != len(source) or values.dtype.kind not in "iu":
        raise ValueError(
            f"labels are {values.dtype}{list(values.shape)} for {len(source)} images; give one "
            "class label per image"
        )
    chosen = np.arange(len(source)) if indices is None else np.asarray(indices)
    if chosen.size == 0 or chosen.min() < 0 or chosen.max() >= len(source):
        raise ValueError(
            f"indices must be positions in [0, {len(source)}) and at least one; got "
            f"{chosen.size} of them"
        )
    check_sizes(len(chosen), batch_size)
    for name, value, least in (
        ("workers", workers, 0),
        ("threads", threads, 1),
        ("ahead", ahead, 0),
    ):
        if int(value) != value or value < least:
            raise ValueError(f"{name} = {value!r} must be a whole number >= {least}")
    rows = local_rows(batch_size, host_index, host_count)
    plan = _Plan(
        source=source,
        chosen=chosen.astype(np.int64),
        batch_size=int(batch_size),
        seed=hashing.checked_seed(seed),
        rows=rows,
        transform=host_transform,
    )
    first = _Read(plan)(0)["image"]
    return GrainStream(
        plan,
        values.astype(np.int32),
        augment=augment,
        normalizer=make_normalizer(normalize, (batch_size, *first.shape)),
        workers=workers,
        threads=threads,
        ahead=ahead,
    )
