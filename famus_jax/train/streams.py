"""Batches of one seed's data for training, meta steps and evaluation, from memory or from disk."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax import data
from famus_jax.data import hashing
from famus_jax.train.data_config import DataConfig
from famus_jax.train.data_setup import SeedData, Sources
from famus_jax.train.lazy_images import LazyImages
from famus_jax.train.method_values import DEFAULT_META, MetaConfig
from famus_jax.train.methods import MethodSpec
from famus_jax.train.schema import ScheduleConfig
from famus_jax.train.small_loss import SmallLoss

_EVALUATION_BATCH = 256
# Keeps the meta batches' order and augmentation apart from the training batches'.
_META_SEED_OFFSET = 1_000_003


class RunStreams(NamedTuple):
    """The batches of one run; `meta` is None for methods without a meta-model."""

    training: data.Stream
    meta: data.Stream | None


@contextlib.contextmanager
def open_streams(
    method: MethodSpec,
    seeded: SeedData,
    config: DataConfig,
    schedule: ScheduleConfig,
    seed: int,
    hosts: Mapping[str, int] | None = None,
    section: MetaConfig = DEFAULT_META,
) -> Iterator[RunStreams]:
    """The streams of a run; threads and processes that read for them end with the block.

    Also when it ends by an error or by Ctrl-C. `hosts`: see `make_stream`; `section`: which examples
    are in the meta batches.
    """
    with contextlib.ExitStack() as stack:

        def stream(where: np.ndarray, labels: np.ndarray, batch_size: int, seed: int, workers=0):
            return make_stream(
                stack, seeded, where, labels, config, batch_size, seed, workers=workers, hosts=hosts
            )

        def meta() -> data.Stream:
            """Trusted examples, augmented like the training batches."""
            size = schedule.meta_batch_size
            return stream(seeded.splits.trusted, seeded.clean, size, seed + _META_SEED_OFFSET)

        def chosen() -> data.Stream:
            """Meta batches of the examples that the config names, labels as they came."""
            size, examples = schedule.meta_batch_size, method.meta(section).examples
            if examples == "trusted":
                return meta()
            if examples == "noisy":
                where = seeded.splits.train
                return stream(where, seeded.noisy, size, seed + _META_SEED_OFFSET)
            where = seeded.splits.train

            def opened(on: contextlib.ExitStack, some: np.ndarray) -> data.Stream:
                own = seed + _META_SEED_OFFSET
                return make_stream(on, seeded, some, seeded.noisy, config, size, own, hosts=hosts)

            every = section.select_every or -(-len(where) // schedule.batch_size)
            return SmallLoss(stack, opened, seeded.noisy, where, section.per_class, every)

        labels = seeded.clean if method.batches in ("clean", "trusted") else seeded.noisy
        where = seeded.splits.trusted if method.batches == "trusted" else seeded.splits.train
        training = stream(where, labels, schedule.batch_size, seed, config.workers)
        if method.batches == "noisy+trusted":
            training = Joined(training, meta())
        yield RunStreams(training, chosen() if method.learns else None)


class Joined(NamedTuple):
    """A stream whose batches are those of two streams, one after the other."""

    first: data.Stream
    second: data.Stream

    def batch(self, step: int) -> dict[str, jax.Array]:
        """See `famus_jax.data.Stream`."""
        a, b = self.first.batch(step), self.second.batch(step)
        return {name: jnp.concatenate([a[name], b[name]]) for name in a}


def evaluation_sets(
    sources: Sources, seeded: SeedData, config: DataConfig
) -> dict[str, Iterable[dict[str, jax.Array]]]:
    """Batches of the test sets and of the noisy validation set, to go through many times.

    From memory they are made once and kept on the device; streamed ones are read every time.
    """
    test, held_out = sources.test, seeded.splits.validation
    parts = {
        "test": (test.images, test.labels, np.arange(len(test.labels))),
        "validation": (seeded.images, seeded.noisy, held_out),
    }
    if (second := sources.second_test) is not None:
        parts["second_test"] = (second.images, second.labels, np.arange(len(second.labels)))
    sets = {
        name: whole_set(images, labels, where, seeded.normalize, config)
        for name, (images, labels, where) in parts.items()
    }
    if config.path == "stream":
        return sets
    return {name: list(batches) for name, batches in sets.items()}


@dataclasses.dataclass(frozen=True)
class StreamedEvaluation:
    """Every example once, read anew by each pass; the last batch is filled up and masked.

    A stream's first N examples are a permutation of all N, so its first batches are an evaluation.

    Attributes:
      images, labels: of a whole set.
      where: int [N], the positions to evaluate on.
      normalize, threads: as `famus_jax.data.streaming` takes them.
    """

    images: Any
    labels: np.ndarray
    where: np.ndarray
    normalize: tuple[Any, Any] | None
    threads: int

    def __iter__(self) -> Iterator[dict[str, jax.Array]]:
        """{"image", "label", "index", "mask": float32 [n]}; the mask is 0 where it is filled up."""
        count, n = len(self.where), _EVALUATION_BATCH
        with data.streaming(
            self.images,
            self.labels,
            n,
            seed=0,
            normalize=self.normalize,
            indices=self.where,
            threads=self.threads,
        ) as stream:
            for step in range(-(-count // n)):
                mask = (np.arange(n) < count - step * n).astype(np.float32)
                yield {**stream.batch(step), "mask": jax.device_put(mask)}


class _Reading:
    """A streamed `Stream` that remembers its last batch: asking twice does not read twice."""

    def __init__(self, stream: Any):
        self._stream, self._last = stream, (-1, {})

    def batch(self, step: int) -> dict[str, jax.Array]:
        """See `famus_jax.data.Stream`."""
        if self._last[0] != step:
            self._last = (step, self._stream.batch(step))
        return self._last[1]

    def __enter__(self) -> _Reading:
        return self

    def __exit__(self, *exception: object) -> None:
        self._last = (-1, {})
        self._stream.close()


def make_stream(
    stack: contextlib.ExitStack,
    seeded: SeedData,
    where: np.ndarray,
    labels: np.ndarray,
    config: DataConfig,
    batch_size: int,
    seed: int,
    *,
    views: int = 1,
    workers: int = 0,
    hosts: Mapping[str, int] | None = None,
) -> data.Stream:
    """Batches of the examples `where`, from memory or from disk.

    Args:
      stack: what reads from disk ends with it.
      seeded: images and how they are normalized.
      where: int [M], positions.
      labels: int [N].
      config: augmentation, how to read, whether classes are drawn equally often.
      batch_size, seed: of the batches.
      views: how many augmented views of each image: `"image"`, `"image_1"`, ...
      workers: processes that read from disk.
      hosts: `host_index` and `host_count` of this process; None for one alone.
    """
    augment = data.named_augment(config.augment, "data.augment")
    if config.balanced:
        where = data.repeated_to_balance(where, labels)
    if views > 1:
        augment = data.Views((augment or data.chain(),) * views)
    options: dict[str, Any] = {
        "seed": seed,
        "augment": augment,
        "normalize": seeded.normalize,
        "indices": where,
        **(hosts or {}),
    }
    if not isinstance(seeded.images, LazyImages):
        return data.in_memory_stream(seeded.images, labels, batch_size, **options)
    options.update(workers=workers, threads=config.threads)
    return stack.enter_context(
        _Reading(data.streaming(seeded.images, labels, batch_size, **options))
    )


def seed_of(seed: int, purpose: str) -> int:
    """A seed for one of several streams of a run: a function of the run's seed and a name."""
    return int(hashing.hash_words(seed, "stream", [purpose])[0] >> np.uint64(33))


def whole_set(
    images: Any,
    labels: np.ndarray,
    where: np.ndarray,
    normalize: tuple[Any, Any] | None,
    config: DataConfig,
) -> Iterable[dict[str, jax.Array]]:
    """Every one of the examples `where` once, in batches to go through many times."""
    if config.path == "stream":
        return StreamedEvaluation(
            images=images, labels=labels, where=where, normalize=normalize, threads=config.threads
        )
    return data.evaluation_batches(images, labels, _EVALUATION_BATCH, normalize, indices=where)
