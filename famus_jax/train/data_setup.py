"""From a config and a seed to splits, noisy labels and streams of batches."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax import data
from famus_jax.train.config import DataConfig, ScheduleConfig
from famus_jax.train.methods import Method


class Sources(NamedTuple):
    """What the data set holds, before any seed: `famus_jax.data.Examples` of train and test."""

    train: data.Examples
    test: data.Examples


class SeedData(NamedTuple):
    """One seed's view of the data; positions refer to `images`.

    Attributes:
      images: uint8 [N, H, W, C], on the device.
      clean, noisy: labels int32 [N]; trusted examples keep their clean label in `noisy`.
      splits: positions of training, validation and trusted examples.
      noise_rate: the share of wrong labels among the training examples, as realised.
      noise_digest: identifies the noise table.
      normalise: (mean, std) per channel, of the training images.
      num_classes: C.
    """

    images: jax.Array
    clean: np.ndarray
    noisy: np.ndarray
    splits: data.Splits
    noise_rate: float
    noise_digest: str
    normalise: tuple[Any, Any]
    num_classes: int

    @property
    def wrong(self) -> np.ndarray:
        """bool [N]: the label was corrupted."""
        return self.noisy != self.clean


def load_sources(config: DataConfig) -> Sources:
    """Reads the data set once. Raises what `famus_jax.data.load_source` raises."""
    data_dir = config.data_dir or None
    train = data.load_source(config.source, "train", data_dir)
    test = data.load_source(config.source, "test", data_dir)
    return Sources(_first(train, config.max_train), _first(test, config.max_test))


def _first(examples: data.Examples, count: int) -> data.Examples:
    """A fixed random part of `count` examples (0: all), the same for every seed."""
    if not count or count >= len(examples.labels):
        return examples
    keep = np.sort(data.epoch_indices(len(examples.labels), seed=0, epoch=0)[:count])
    return examples._replace(
        images=examples.images[keep],
        labels=examples.labels[keep],
        ids=np.asarray(examples.ids)[keep],
    )


def seed_data(sources: Sources, config: DataConfig, seed: int) -> SeedData:
    """Splits and corrupts; both depend on the seed and the example ids alone."""
    train = sources.train
    splits = data.split_examples(
        train.labels,
        train.ids,
        trusted_per_class=config.trusted_per_class,
        validation_per_class=config.validation_per_class,
        seed=seed,
    )
    matrix = {
        "symmetric": lambda: data.symmetric(train.num_classes, config.noise_rate),
        "symmetric_exclusive": lambda: data.symmetric(train.num_classes, config.noise_rate, False),
        "flip_next": lambda: data.flip_next(train.num_classes, config.noise_rate),
    }[config.noise]()
    table = data.corrupt_labels(train.labels, train.ids, matrix, seed)
    noisy = table.labels.copy()
    noisy[splits.trusted] = train.labels[splits.trusted]
    wrong = noisy[splits.train] != train.labels[splits.train]
    scaled = train.images[splits.train].reshape(-1, train.images.shape[-1]) / 255.0
    return SeedData(
        images=jax.device_put(train.images),
        clean=train.labels,
        noisy=noisy,
        splits=splits,
        noise_rate=float(wrong.mean()),
        noise_digest=table.digest,
        normalise=(scaled.mean(0), np.maximum(scaled.std(0), 1e-3)),
        num_classes=train.num_classes,
    )


class Joined(NamedTuple):
    """A stream whose batches are those of two streams, one after the other."""

    first: data.Stream
    second: data.Stream

    def batch(self, step: int) -> dict[str, jax.Array]:
        """See `famus_jax.data.Stream`."""
        a, b = self.first.batch(step), self.second.batch(step)
        return {name: jnp.concatenate([a[name], b[name]]) for name in a}


def training_stream(
    method: Method, seeded: SeedData, config: DataConfig, schedule: ScheduleConfig, seed: int
) -> data.Stream:
    """The training batches of a method."""
    noisy = _stream(seeded, seeded.splits.train, config, schedule.batch_size, seed, seeded.noisy)
    if method.batches == "noisy":
        return noisy
    if method.batches == "noisy+trusted":
        return Joined(noisy, meta_stream(seeded, config, schedule, seed))
    where = seeded.splits.trusted if method.batches == "trusted" else seeded.splits.train
    return _stream(seeded, where, config, schedule.batch_size, seed, seeded.clean)


def meta_stream(
    seeded: SeedData, config: DataConfig, schedule: ScheduleConfig, seed: int
) -> data.Stream:
    """The meta batches: trusted examples, augmented like the training batches."""
    trusted = seeded.splits.trusted
    return _stream(
        seeded, trusted, config, schedule.meta_batch_size, seed + 1_000_003, seeded.clean
    )


def evaluation_sets(sources: Sources, seeded: SeedData) -> dict[str, data.EvaluationBatches]:
    """Batches of the test set and of the noisy validation set."""
    held_out, test = seeded.splits.validation, sources.test
    images = sources.train.images[held_out]
    return {
        "test": data.evaluation_batches(test.images, test.labels, 256, normalise=seeded.normalise),
        "validation": data.evaluation_batches(
            images, seeded.noisy[held_out], 256, normalise=seeded.normalise
        ),
    }


def _stream(seeded, where, config, batch_size, seed, labels):
    augment = {
        "none": lambda: None,
        "shift": lambda: data.shift(1),
        "pad_crop_flip": lambda: data.pad_crop_flip(4),
    }[config.augment]()
    return data.in_memory_stream(
        seeded.images,
        labels,
        batch_size,
        seed=seed,
        augment=augment,
        normalise=seeded.normalise,
        indices=where,
    )
