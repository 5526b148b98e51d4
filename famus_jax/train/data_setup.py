"""From a config and a seed to splits, noisy labels and streams of batches."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax import data
from famus_jax.data.noise import summarise
from famus_jax.data.noise_files import align, read_table
from famus_jax.data.noise_kinds import apply_noise
from famus_jax.data.noise_presets import named_noise
from famus_jax.data.types import take
from famus_jax.train.config import DataConfig, ScheduleConfig
from famus_jax.train.methods import Method


class Sources(NamedTuple):
    """What the data set holds, before any seed.

    Attributes:
      train: `famus_jax.data.Examples`; with a trusted source, its examples come last.
      test: the clean test set.
      num_trusted: how many of `train` come from a trusted source (0: none does).
    """

    train: data.Examples
    test: data.Examples
    num_trusted: int


class SeedData(NamedTuple):
    """One seed's view of the data; positions refer to `images`.

    Attributes:
      images: uint8 [N, H, W, C] (or float features [N, D]), on the device.
      clean: labels int32 [N] as the source gives them.
      noisy: labels int32 [N] after corruption; trusted examples keep theirs.
      splits: positions of training, validation and trusted examples.
      noise_rate: the share of wrong labels among the training examples, as realised here (0 where
        nothing was corrupted: what was wrong before is not known).
      noise_digest: identifies the noise table.
      normalise: (mean, std) per channel, of the training images; None for features.
      num_classes: C.
    """

    images: jax.Array
    clean: np.ndarray
    noisy: np.ndarray
    splits: data.Splits
    noise_rate: float
    noise_digest: str
    normalise: tuple[Any, Any] | None
    num_classes: int

    @property
    def wrong(self) -> np.ndarray:
        """bool [N]: the label was corrupted."""
        return self.noisy != self.clean


def load_sources(config: DataConfig) -> Sources:
    """Reads the data set once. Raises what `famus_jax.data.load_source` raises."""

    def load(source: str, split: str) -> data.Examples:
        size = config.image_size or None
        return data.load_source(source, split, config.data_dir or None, size=size)

    train = _first(load(config.source, "train"), config.max_train)
    test = _first(load(config.source, "test"), config.max_test)
    if not config.trusted_source:
        return Sources(train, test, 0)
    trusted = load(config.trusted_source, "all")
    same = (trusted.class_names, trusted.num_classes, trusted.images.shape[1:])
    if same != (train.class_names, train.num_classes, train.images.shape[1:]):
        raise ValueError(
            f"the trusted data {config.trusted_source!r} must have the classes and the image size of "
            f"{config.source!r}; it has {trusted.num_classes} classes {trusted.class_names} and "
            f"images {trusted.images.shape[1:]}, not {train.num_classes} {train.class_names} and "
            f"{train.images.shape[1:]} (data.image_size fits images to one size)"
        )
    joined = train._replace(
        images=np.concatenate([train.images, trusted.images]),
        labels=np.concatenate([train.labels, trusted.labels]),
        ids=np.concatenate([train.ids, np.char.add("trusted/", trusted.ids)]),
    )
    return Sources(joined, test, len(trusted.labels))


def _first(examples: data.Examples, count: int) -> data.Examples:
    """A fixed random part of `count` examples (0: all), the same for every seed."""
    if not count or count >= len(examples.labels):
        return examples
    keep = np.sort(data.epoch_indices(len(examples.labels), seed=0, epoch=0)[:count])
    return take(examples, keep)


def seed_data(sources: Sources, config: DataConfig, seed: int) -> SeedData:
    """Splits and corrupts; both depend on the seed and the example ids alone."""
    train = sources.train
    splits = _split(sources, config, seed)
    count = len(train.labels) - sources.num_trusted
    table = _noise(take(train, np.arange(count)), config, seed)
    noisy = np.concatenate([table.labels, train.labels[count:]])
    noisy[splits.trusted] = train.labels[splits.trusted]
    wrong = noisy[splits.train] != train.labels[splits.train]
    normalise = None
    if train.images.dtype == np.uint8:
        normalise = pixel_statistics(train.images[splits.train])
    return SeedData(
        images=jax.device_put(train.images),
        clean=train.labels,
        noisy=noisy,
        splits=splits,
        noise_rate=float(wrong.mean()),
        noise_digest=table.digest,
        normalise=normalise,
        num_classes=train.num_classes,
    )


def pixel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean, std) per channel of uint8 [N, H, W, C], on the scale 0 to 1; std at least 0.001."""
    values = np.arange(256) / 255.0
    counts = [np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[-1])]
    shares = np.stack(counts) / images[..., 0].size
    mean = shares @ values
    variance = shares @ values**2 - mean**2
    return mean, np.sqrt(np.maximum(variance, 1e-6))


def _split(sources: Sources, config: DataConfig, seed: int) -> data.Splits:
    train, count = sources.train, len(sources.train.labels) - sources.num_trusted
    splits = data.split_examples(
        train.labels[:count],
        train.ids[:count],
        trusted_per_class=0 if sources.num_trusted else config.trusted_per_class,
        validation_per_class=config.validation_per_class,
        seed=seed,
    )
    if sources.num_trusted:
        splits = splits._replace(trusted=np.arange(count, len(train.labels)))
    return splits


def _noise(train: data.Examples, config: DataConfig, seed: int) -> data.NoisyLabels:
    if config.noise_table:
        labels = align(read_table(config.noise_table), train.ids)
        return summarise(labels, train.labels, train.ids.tolist(), train.num_classes)
    if config.noise == "none":
        return summarise(train.labels, train.labels, train.ids.tolist(), train.num_classes)
    spec = named_noise(config.noise, train.num_classes, config.noise_rate)
    return apply_noise(spec, train.labels, train.ids, seed)


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
