"""From a config and a seed to splits and noisy labels; `streams` makes batches of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from famus_jax import data
from famus_jax.data import hashing
from famus_jax.data.noise.files import read_table
from famus_jax.data.noise.kinds import apply_noise
from famus_jax.data.noise.presets import named_noise
from famus_jax.data.noise.table import noisy_from_table
from famus_jax.data.noise.transition import summarize
from famus_jax.data.sources.classes import names_of, shown
from famus_jax.data.types import take
from famus_jax.files import expanded
from famus_jax.train.data_config import DataConfig
from famus_jax.train.lazy_images import LazyImages, concatenate, load_lazily

# Enough for means to a thousandth; larger sets are not read for them as a whole.
_STATISTICS_FROM = 50_000


class Sources(NamedTuple):
    """What the data set holds, before any seed.

    Attributes:
      train: `famus_jax.data.Examples`; with a trusted source, its examples come last. With
        `data.path = "stream"`, the images of both sets are `LazyImages`.
      test: the test set, with the labels that it came with.
      num_trusted: how many of `train` come from a trusted source (0: none does).
      second_test: another test set, or None.
    """

    train: data.Examples
    test: data.Examples
    num_trusted: int
    second_test: data.Examples | None = None


class SeedData(NamedTuple):
    """One seed's view of the data; positions refer to `images`.

    Attributes:
      images: uint8 [N, H, W, C] (or float features [N, D]), on the device; or `LazyImages`.
      clean: labels int32 [N] as the source gives them.
      noisy: labels int32 [N] after corruption; trusted examples keep theirs.
      splits: positions of training, validation and trusted examples, pairwise disjoint; all there
        are, except in a long tail.
      noise_rate: the share of the training examples whose label was changed here; None where none
        was to be: what was wrong before is not known.
      noise_transition: float64 [C, C], row c the distribution of the labels of those training
        examples that the source gives class c.
      noise_digest: identifies the noise table.
      normalize: (mean, std) per channel, of the training images; None for features.
      num_classes: C.
    """

    images: Any
    clean: np.ndarray
    noisy: np.ndarray
    splits: data.Splits
    noise_rate: float | None
    noise_transition: np.ndarray
    noise_digest: str
    normalize: tuple[Any, Any] | None
    num_classes: int

    @property
    def wrong(self) -> np.ndarray:
        """bool [N]: the label was corrupted."""
        return self.noisy != self.clean

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Training examples per noisy label."""
        counts = np.bincount(self.noisy[self.splits.train], minlength=self.num_classes)
        return tuple(counts.tolist())


def load_sources(config: DataConfig) -> Sources:
    """Reads the data set once (to stream it: only labels and ids).

    Raises what `famus_jax.data.load_source` raises; `ValueError` for trusted data of another image
    size, or of classes that the data do not have.
    """
    read = load_lazily if config.path == "stream" else data.load_source

    def load(source: str, split: str, class_names: Sequence[str]) -> data.Examples:
        size, folder = config.image_size or None, config.data_dir or None
        own = {
            "tolerance": config.tolerance,
            "class_names": class_names,
            "label_key": config.label_column,
        }
        if config.path == "memory":
            own["buckets"] = config.text_buckets
        return read(source, split, folder, size=size, **own)

    train = _first(load(config.source, config.train_split, config.class_names), config.max_train)
    if train.num_classes < 2:
        raise ValueError(
            f"{config.source!r} has one class only, {train.class_names}: nothing to learn"
        )
    test = _first(load(config.source, config.test_split, config.class_names), config.max_test)
    _check_test(train, test, config)
    second = None
    if config.second_test:
        second = _second(load(config.second_test, config.second_split, ()), train, config)
    if not config.trusted_source:
        return Sources(train, test, 0, second)
    names = names_of(train.num_classes, train.class_names)
    try:
        trusted = load(config.trusted_source, "all", names)
    except ValueError as error:
        raise ValueError(
            f"the trusted data {config.trusted_source!r} must have the classes of {config.source!r}: "
            f"{error}"
        ) from error
    if trusted.images.shape[1:] != train.images.shape[1:]:
        raise ValueError(
            f"the trusted data {config.trusted_source!r} must have the image size of "
            f"{config.source!r}; it has images {trusted.images.shape[1:]}, not "
            f"{train.images.shape[1:]} (data.image_size fits images to one size)"
        )
    _warn_of_absent(trusted, names, "the trusted data have", "its labels are weighed without one")
    ids = np.concatenate([train.ids, np.char.add("trusted/", trusted.ids)])
    joined = train._replace(
        images=concatenate(train.images, trusted.images, ids),
        labels=np.concatenate([train.labels, trusted.labels]),
        ids=ids,
    )
    return Sources(joined, test, len(trusted.labels), second)


def _second(found: data.Examples, train: data.Examples, config: DataConfig) -> data.Examples:
    """The examples of the training set's classes, of another test set."""
    named = train.class_names not in ((), tuple(map(str, range(train.num_classes))))
    first = found.class_names[: train.num_classes]
    if found.num_classes < train.num_classes or (named and first != train.class_names):
        raise ValueError(
            f"data.second_test = {config.second_test!r} must have the classes of {config.source!r} "
            f"first, in the same order ({train.num_classes}: {shown(train.class_names)}); it has "
            f"{found.num_classes}: {shown(found.class_names)}"
        )
    if found.images.shape[1:] != train.images.shape[1:]:
        raise ValueError(
            f"data.second_test = {config.second_test!r} has images {found.images.shape[1:]}, not "
            f"{train.images.shape[1:]} (data.image_size fits images to one size)"
        )
    return _first(data.first_classes(found, train.num_classes), config.max_test)


def _check_test(train: data.Examples, test: data.Examples, config: DataConfig) -> None:
    """Training and test data must be of the same kind; a class may lack test examples."""
    if not len(test.labels):
        raise ValueError(
            f"{config.source!r} has no test examples: a quarter of each class (rounded down) is held "
            "out, so that a class needs four; or bring a folder 'test' beside 'train'"
        )
    if test.images.shape[1:] != train.images.shape[1:]:
        raise ValueError(
            f"the test images of {config.source!r} have the shape {test.images.shape[1:]}, the "
            f"training images {train.images.shape[1:]} (data.image_size fits images to one size)"
        )
    if test.num_classes != train.num_classes or test.class_names != train.class_names:
        raise ValueError(
            f"{config.source!r}: the splits {config.train_split!r} and {config.test_split!r} have "
            f"different classes: {train.num_classes} and {test.num_classes}"
        )
    names = names_of(test.num_classes, test.class_names)
    _warn_of_absent(test, names, "the test data have", "the accuracy tells nothing of it")


def _warn_of_absent(examples: data.Examples, names: Sequence[str], who: str, so: str) -> None:
    absent = np.setdiff1d(np.arange(len(names)), examples.labels)
    if absent.size:
        some = shown([names[int(c)] for c in absent])
        warnings.warn(f"{who} no example of class {some}: {so}", stacklevel=3)


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
    own = len(train.labels) - sources.num_trusted
    kept = np.sort(np.concatenate(splits))
    kept = kept[kept < own]
    table = _noise(take(train, kept), config, seed)
    noisy = train.labels.copy()
    noisy[kept] = table.labels
    noisy[splits.trusted] = train.labels[splits.trusted]
    realized = summarize(
        noisy[splits.train],
        train.labels[splits.train],
        train.ids[splits.train].tolist(),
        train.num_classes,
    )
    lazy = isinstance(train.images, LazyImages)
    return SeedData(
        images=train.images if lazy else jax.device_put(train.images),
        clean=train.labels,
        noisy=noisy,
        splits=splits,
        noise_rate=realized.realized_rate if config.corrupts else None,
        noise_transition=realized.realized_transition,
        noise_digest=table.digest,
        normalize=_statistics(train.images, splits.train),
        num_classes=train.num_classes,
    )


def _statistics(images: Any, where: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """(mean, std) per channel of the training images; None for features."""
    if images.dtype != np.uint8:
        return None
    some = where[:: -(-len(where) // _STATISTICS_FROM)]
    return data.channel_statistics(images, some, chunk=128)


def _split(sources: Sources, config: DataConfig, seed: int) -> data.Splits:
    train, count = sources.train, len(sources.train.labels) - sources.num_trusted
    labels, ids = train.labels[:count], train.ids[:count]
    trusted_per_class = 0 if sources.num_trusted else config.trusted_per_class
    splits = data.split_examples(
        labels,
        ids,
        trusted_per_class=trusted_per_class,
        validation_per_class=config.validation_per_class,
        seed=seed,
        class_names=train.class_names,
    )
    if config.imbalance_factor:
        splits = _thinned(splits, labels, ids, config, trusted_per_class, seed)
    if sources.num_trusted:
        splits = splits._replace(trusted=np.arange(count, len(train.labels)))
    return splits


def _thinned(
    splits: data.Splits,
    labels: np.ndarray,
    ids: np.ndarray,
    config: DataConfig,
    trusted_per_class: int,
    seed: int,
) -> data.Splits:
    """The same validation set, and a long tail and a balanced trusted set of the rest.

    The published profiles are of balanced sets, so all classes are first cut to one size.
    """
    rest = np.concatenate([splits.train, splits.trusted])
    rest = rest[hashing.hash_order(seed, "balance", ids[rest])]
    by_class = [rest[labels[rest] == c] for c in range(labels.max() + 1)]
    smallest = min(map(len, by_class))
    even = np.concatenate([mine[:smallest] for mine in by_class])
    tail = data.long_tail(
        labels[even],
        ids[even],
        imbalance_factor=config.imbalance_factor,
        meta_per_class=trusted_per_class,
        formula=config.imbalance_profile,  # type: ignore[arg-type]
        seed=seed,
    )
    return splits._replace(train=even[tail.train], trusted=even[tail.trusted])


def _noise(train: data.Examples, config: DataConfig, seed: int) -> data.NoisyLabels:
    if config.noise_table:
        names = names_of(train.num_classes, train.class_names)
        table = read_table(expanded(config.noise_table))
        return noisy_from_table(table, train.labels, train.ids, train.num_classes, names)
    if config.noise == "none":
        return summarize(train.labels, train.labels, train.ids.tolist(), train.num_classes)
    spec = named_noise(config.noise, train.num_classes, config.noise_rate)
    return apply_noise(spec, train.labels, train.ids, seed)
