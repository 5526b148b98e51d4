"""Prepared tfds sets as plain arrays with stable example ids, read without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from famus_jax.data.sources.images import checked_size, resize
from famus_jax.data.sources.labels_in_arrays import labels_of_array
from famus_jax.data.sources.tfds_features import refuse_foreign_features
from famus_jax.data.types import Examples
from famus_jax.files import expanded

OURS = {
    "famus_digits": ("famus_jax.data.sources.builders.famus_digits", "FamusDigits"),
    "famus_mini_webvision": (
        "famus_jax.data.sources.builders.famus_mini_webvision",
        "FamusMiniWebvision",
    ),
    "famus_clothing1m": ("famus_jax.data.sources.builders.famus_clothing1m", "FamusClothing1m"),
}
# Features that name an example, best first; without any, the record number must do.
ID_FEATURES = ("id", "file_name")


def default_data_dir() -> Path:
    """Where tfds keeps its sets: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    given = os.environ.get("TFDS_DATA_DIR")
    return expanded(given) if given else Path.home() / "tensorflow_datasets"


def _prepared_dir(name: str, root: Path) -> Path | None:
    """The newest prepared version of `name` ("cifar10", "set/config", "set/config:1.0.0")."""
    plain, _, wanted = name.partition(":")
    base = root / plain
    found = []
    for info in base.glob("*/dataset_info.json"):
        numbers = info.parent.name.split(".")
        matches = not wanted or info.parent.name == wanted
        if len(numbers) == 3 and all(n.isdigit() for n in numbers) and matches:
            found.append((tuple(int(n) for n in numbers), info.parent))
    return max(found)[1] if found else None


def _prepare_ours(name: str, root: Path) -> Path:
    import importlib

    module, cls = OURS[name.partition(":")[0]]
    builder = getattr(importlib.import_module(module), cls)(
        data_dir=str(root), file_format="array_record"
    )
    target = Path(str(builder.data_path))
    wanted = name.partition(":")[2]
    if wanted and wanted != str(builder.version):
        raise FileNotFoundError(f"{name!r}: there is only version {builder.version}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        builder.download_and_prepare()  # into a temporary folder, renamed when complete
    except AssertionError as error:  # tfds's way to say that the manual folder is missing
        raise FileNotFoundError(f"{name!r} is not prepared in {root}: {error}") from error
    except FileNotFoundError:
        raise
    except OSError as error:
        # Two processes may prepare at once; whoever renames second finds the work done.
        if _prepared_dir(name, root) is None:
            raise OSError(
                f"could not write {name!r} to {target}: {error}. Choose a folder that can be "
                "written: data_dir=..., or the environment variable TFDS_DATA_DIR."
            ) from error
    return target


def _how_to_prepare(name: str, root: Path) -> str:
    return (
        f"data set {name!r} is not prepared: looked for {root / name.partition(':')[0]}"
        "/<version>/dataset_info.json. Prepare it once with tfds, which needs TensorFlow (reading "
        "never does):\n"
        "    pip install 'famus_jax[prepare]'\n"
        f'    python -c "import tensorflow_datasets as tfds; tfds.builder({name!r}, '
        f"data_dir={str(root)!r}, file_format='array_record').download_and_prepare()\"\n"
        "or say where it is: data_dir=... (data.data_dir in a config) or the environment variable "
        "TFDS_DATA_DIR. A set that needs no preparation: famus_digits."
    )


def open_builder(name: str, data_dir: str | os.PathLike | None = None) -> Any:
    """The tfds builder of a prepared set, opened from its files (its code is not imported).

    Args:
      name: a tfds name, "cifar10", with config and version where needed
        ("controlled_noisy_web_labels/mini_imagenet_red:1.0.0"), or one of ours, prepared here on
        first use.
      data_dir: the tfds root folder; None means `default_data_dir`.

    Raises:
      FileNotFoundError: not prepared; the message says where it looked and how to get it.
      ValueError: prepared in a format without random access (TFRecord); says how to convert; features
        that are not tfds's own (see `refuse_foreign_features`).
    """
    root = expanded(data_dir) if data_dir is not None else default_data_dir()
    folder = _prepared_dir(name, root)
    if folder is None and name.partition(":")[0] in OURS:
        folder = _prepare_ours(name, root)
    if folder is None:
        raise FileNotFoundError(_how_to_prepare(name, root))
    import tensorflow_datasets as tfds

    refuse_foreign_features(folder)
    builder = tfds.builder_from_directory(str(folder))
    if not any(folder.glob("*.array_record*")):
        raise ValueError(
            f"{folder} is prepared without ArrayRecord files, which random access needs. Convert "
            f"it once (needs TensorFlow): tfds convert_format --dataset_dir={folder} "
            "--out_file_format=array_record --out_path=<another data_dir>/…"
        )
    return builder


def load_tfds(
    name: str,
    split: str,
    data_dir: str | os.PathLike | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    label_key: str = "label",
) -> Examples:
    """One split of a prepared set in memory; arguments and errors as in `load_source`."""
    builder = _builder_with(name, split, data_dir, ("image", label_key))
    pair = checked_size(size)
    images: np.ndarray | None = None
    labels, ids = [], []
    count = builder.info.splits[split].num_examples
    for row, record in enumerate(_records(builder.as_data_source(split=split), count)):
        image = eight_bits(record["image"], f"{name!r}: image {row} of {split!r}")
        image = image if pair is None else resize(image, pair)
        if images is None:
            images = np.empty((count, *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            raise ValueError(
                f"{name!r}: image {row} of {split!r} is {image.shape}, the first is "
                f"{images.shape[1:]}; an array needs one size: give size=... (data.image_size in a "
                "config)"
            )
        images[row] = image
        labels.append(record[label_key])
        ids.append(_record_id(record, split, row))
    if images is None:
        raise ValueError(f"{name!r}: split {split!r} is empty")
    feature = builder.info.features[label_key]
    count = int(getattr(feature, "num_classes", None) or 0)
    if not count:
        raise ValueError(f"{name!r}: the feature {label_key!r} has no classes: {feature}")
    title = f"{name.partition(':')[0]}:{builder.info.version}/{split}"
    return Examples(
        images=images,
        labels=_checked(labels, f"{title}/{label_key}", count),
        ids=np.asarray(ids, dtype=np.str_),
        num_classes=count,
        name=title,
        class_names=tuple(feature.names or ()),
    )


class Column(NamedTuple):
    """One feature of every example of a split.

    Attributes:
      values: [N], whole numbers or booleans or numbers, as stored; of a label int32, in [0, C).
      ids: array of str [N].
      num_classes: number of classes of a label, else 0.
      name: what was read.
      class_names: of a label, its names if it has some, else ().
    """

    values: np.ndarray
    ids: np.ndarray
    num_classes: int
    name: str
    class_names: tuple[str, ...] = ()


def load_column(
    name: str, split: str, key: str = "label", data_dir: str | os.PathLike | None = None
) -> Column:
    """Read one feature of every example without decoding images.

    For the labels of a set that is streamed, the human labels of cifar10_n ("worse_label"), or the
    "is_clean" of controlled_noisy_web_labels.

    Args:
      name, split, data_dir: as in `load_tfds`.
      key: the feature, one number per example.

    Raises:
      FileNotFoundError, ValueError: see `open_builder`; an unknown split or feature.
    """
    import tensorflow_datasets as tfds

    builder = _builder_with(name, split, data_dir, (key,))
    features = builder.info.features
    skip = {"image": tfds.decode.SkipDecoding()} if "image" in features else None
    source = builder.as_data_source(split=split, decoders=skip)
    values, ids = [], []
    for row, record in enumerate(_records(source, builder.info.splits[split].num_examples)):
        values.append(record[key])
        ids.append(_record_id(record, split, row))
    count = int(getattr(features[key], "num_classes", None) or 0)
    title = f"{name.partition(':')[0]}:{builder.info.version}/{split}/{key}"
    return Column(
        _checked(values, title, count) if count else np.asarray(values),
        np.asarray(ids, dtype=np.str_),
        count,
        title,
        tuple(getattr(features[key], "names", None) or ()),
    )


def _checked(values: list, where: str, num_classes: int) -> np.ndarray:
    """Labels in [0, C); tfds itself writes -1 where a split comes without labels."""
    return labels_of_array(values, where, [str(c) for c in range(num_classes)])[0]


def _builder_with(name: str, split: str, data_dir, keys: tuple[str, ...]) -> Any:
    builder = open_builder(name, data_dir)
    splits = sorted(builder.info.splits)
    if split not in splits:
        raise ValueError(f"{name!r} has no split {split!r}; choose one of {splits}")
    features = builder.info.features
    missing = [key for key in keys if key not in features]
    if missing:
        raise ValueError(f"{name!r} has no feature {missing[0]!r}; it has {sorted(features)}")
    return builder


def eight_bits(image: np.ndarray, where: str) -> np.ndarray:
    """Return it; raise `ValueError` unless it is uint8 (a set may hold 16 bits, or floats)."""
    if image.dtype != np.uint8 or image.ndim != 3:
        raise ValueError(
            f"{where} is {image.dtype}{list(image.shape)}; expected uint8 [H, W, C]: prepare the set "
            "with images of 8 bits"
        )
    return image


def _record_id(record: dict, split: str, row: int) -> str:
    for key in ID_FEATURES:
        if key in record:
            value = record[key]
            return (
                value.decode("utf-8", "backslashreplace")
                if isinstance(value, bytes)
                else str(value)
            )
    return f"{split}_{row:07d}"


def _records(source, count: int, chunk: int = 512) -> Iterator[dict]:
    # Reading records together costs half of reading them one by one.
    for start in range(0, count, chunk):
        yield from source.__getitems__(range(start, min(start + chunk, count)))
