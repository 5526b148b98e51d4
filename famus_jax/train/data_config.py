"""What an experiment is trained on, as plain values, and what can be wrong with them."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from famus_jax.bounds import Bounds, Count, CountOrNone, Share
from famus_jax.data.augment.named import named_augment
from famus_jax.data.noise.presets import all_names
from famus_jax.one_of import one_of


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is trained on. Counts are per class; rates and shares lie in [0, 1].

    Attributes:
      source: a name that `famus_jax.data.load_source` knows, or the path of your own data: a folder
        with a folder of images per class, a table of paths or texts and labels, a folder with tables
        called like splits (train.tsv, test.tsv), or an `.npz`.
      label_column: the column of a table, or the feature of a prepared set, that is the label. Where it
        holds what is right, and another file what was said, give that one as `noise_table`.
      text_buckets: B of texts: the network takes 2 B counts of hashed words and parts of words.
      data_dir: where prepared data lies; empty for tfds's default.
      train_split, test_split: the names of the source's splits (ImageNet calls its test "validation").
      second_test, second_split: another source and its split to evaluate on as well ("" for none), as
        networks trained on mini-WebVision are on ImageNet's validation images. Its classes are the
        first ones in the same order; examples of further classes are left out.
      class_names: the classes of your own data, in their order: then any other label is an error, a
        word like "NA" may be a class, and a class may lack examples. Empty takes them from the data.
      tolerance: the share of your own image files that may be unreadable; they are then named and left
        out. With `"stream"` every file is read once at the start to find them.
      image_size: fit images to this height and width in pixels; 0 keeps theirs.
      noise: a kind that `famus noise kinds` lists, or `"none"` for data that are noisy already.
      noise_rate: r of that noise.
      noise_table: a file of labels to use instead, by example id; names of classes or their numbers
        (`famus noise write` makes one).
      trusted_source: the path of trusted data, with classes of the same names, not all of which need
        examples; empty to set aside examples of `source` with the labels they came with.
      trusted_per_class: how many to set aside for the meta batches; 0 if no method needs any.
      validation_per_class: examples with *noisy* labels, held out for model selection.
      imbalance_factor: the largest class over the smallest, to thin the training set out to a long
        tail before its labels are corrupted; 0 for none. Classes are first cut to the size of the
        smallest. Trusted and validation examples stay balanced.
      imbalance_profile: `"mwnet"` or `"cui"`, which size the largest class has; see
        `famus_jax.data.long_tail`.
      balanced: every class is drawn equally often in training (by the labels it is trained on):
        smaller classes are repeated, so that an epoch is as long as that of the largest.
      max_train: use at most so many training examples (0: all).
      max_test: evaluate on at most so many test examples (0: all).
      augment: a name that `famus_jax.data.augment.named` knows, `"none"`, `"crop_flip"`, ...; or one
        with arguments, `{"kind": "cutout", "size": 16}`; or a list of such, applied in turn.
      path: `"memory"`: all images are on the device. `"stream"`: they are read from disk when a
        batch needs them, ahead of it, for sets that do not fit. The batches are the same.
      workers: with `"stream"`, processes that read the training batches; 0 reads in threads.
      threads: with `"stream"`, threads that read, for each stream of batches (and each process).
    """

    source: str = "famus_digits"
    label_column: str = "label"
    text_buckets: Annotated[int, Bounds(2, 2**15)] = 2**11
    data_dir: str = ""
    train_split: str = "train"
    test_split: str = "test"
    second_test: str = ""
    second_split: str = "validation"
    class_names: tuple[str, ...] = ()
    tolerance: Annotated[float, Bounds(0, 1, below=True)] = 0.0
    image_size: Annotated[int, Bounds(0, 2**13)] = 0
    noise: str = "symmetric"
    noise_rate: Share = 0.4
    noise_table: str = ""
    trusted_source: str = ""
    trusted_per_class: CountOrNone = 2
    validation_per_class: Count = 20
    imbalance_factor: Annotated[float, Bounds(0, 1e9)] = 0.0
    imbalance_profile: Literal["mwnet", "cui"] = "mwnet"
    balanced: bool = False
    max_train: CountOrNone = 0
    max_test: CountOrNone = 0
    augment: Any = "none"
    path: Literal["memory", "stream"] = "memory"
    workers: Annotated[int, Bounds(0, 1024)] = 0
    threads: Annotated[int, Bounds(1, 1024)] = 4

    @property
    def corrupts(self) -> bool:
        """Whether labels are changed here, so that it is known which are wrong."""
        return bool(self.noise_table) or (self.noise != "none" and self.noise_rate > 0)

    @property
    def made_noise(self) -> float:
        """r of the noise that is made here; 0 if labels are left as they are, or come from a table."""
        return 0.0 if self.noise_table or self.noise == "none" else self.noise_rate


def check_data(data: DataConfig) -> None:
    """Raises `ValueError` for names that nothing has, and for values that don't go together; what a
    field alone can't be, its type says."""
    one_of(data.noise, ("none", *all_names()), "data.noise")
    named_augment(data.augment, "data.augment")
    _check_class_names(data.class_names)
    factor = data.imbalance_factor
    if 0 < factor < 1:
        hint = f"; for {factor} write {1 / factor:g}" if factor > 1e-9 else ""
        raise ValueError(
            f"data.imbalance_factor must be at least 1, or 0 for none; got {factor}{hint}"
        )
    _check_path(data)


def _check_class_names(names: tuple[str, ...]) -> None:
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice or len(names) == 1:
        raise ValueError(
            f"data.class_names must be two names or more, each once, as in ('cat', 'dog'); got {names}"
        )


def _check_path(data: DataConfig) -> None:
    if data.path == "memory":
        if data.workers:
            raise ValueError(
                f"data.workers = {data.workers} read nothing with data.path = 'memory': set "
                "data.path = 'stream', or leave the workers out"
            )
        return
    for name in ("source", "trusted_source"):
        value = getattr(data, name)
        if value.lower().endswith(".npz"):
            raise ValueError(
                f"data.{name} = {value!r} is read as a whole, so data.path = 'stream' would gain "
                "nothing: set data.path = 'memory', or give a folder or table of image files"
            )
