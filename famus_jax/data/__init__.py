"""Data: label noise, splits, sources, batches and augmentations.

Noise and splits are functions of (seed, example id); batches are functions of (seed, step).
Importing this package imports jax and numpy; tfds, scikit-learn, Pillow and grain are imported by
the functions that need them, TensorFlow by none.

    types, hashing      examples as arrays; randomness that belongs to an example
    hashed_texts        texts as numbers, without anything to keep
    noise               which labels are wrong
    raters              several labels per example
    splits, long_tail   parts of a set
    balance             equally many of every class
    sources             where examples come from: prepared tfds sets, the user's own data
    batches             what a training loop draws, from the device or from disk
    augment             augmentations, by name and from Python
"""

from famus_jax.data.augment.color_jitter import ColorJitter
from famus_jax.data.augment.crop_flip import Flip, PadCrop, crop_flip, shift
from famus_jax.data.augment.cutout import Cutout
from famus_jax.data.augment.device import Chain, Views, chain, two_views
from famus_jax.data.augment.named import named_augment
from famus_jax.data.augment.randaugment import RandAugment
from famus_jax.data.augment.random_resized_crop import RandomResizedCrop
from famus_jax.data.balance import repeated_to_balance
from famus_jax.data.batches.evaluation import EvaluationBatches, evaluation_batches
from famus_jax.data.batches.in_memory import InMemoryStream, in_memory_stream
from famus_jax.data.batches.order import batch_indices, epoch_indices
from famus_jax.data.batches.pixels import channel_statistics
from famus_jax.data.batches.stream import Stream
from famus_jax.data.batches.streaming import streaming
from famus_jax.data.long_tail import LongTail, exponential_profile, long_tail
from famus_jax.data.noise.files import read_table, write_table
from famus_jax.data.noise.instance import instance_dependent
from famus_jax.data.noise.kinds import NoiseSpec, apply_noise, spec_from_transition
from famus_jax.data.noise.presets import named_noise, published_noise, published_rate
from famus_jax.data.noise.table import LabelTable, align, make_table, noisy_from_table
from famus_jax.data.noise.transition import (
    NoisyLabels,
    corrupt_labels,
    expected_rate,
    flip_next,
    symmetric,
)
from famus_jax.data.raters import Rated, dawid_skene, majority, vote_shares
from famus_jax.data.sources.arrays import from_arrays, load_features, load_npz
from famus_jax.data.sources.file_lists import FileList, list_folder, list_table
from famus_jax.data.sources.load import load_labels, load_source
from famus_jax.data.sources.own_data import list_path, load_files, load_path
from famus_jax.data.sources.random_access import (
    ArraySource,
    FileSource,
    TfdsSource,
    present,
    readable,
)
from famus_jax.data.sources.tfds import default_data_dir, load_column
from famus_jax.data.sources.tfrecords import read_tfrecords
from famus_jax.data.splits import Splits, split_examples
from famus_jax.data.types import Examples, content_digest, first_classes, take

__all__ = [
    "ArraySource",
    "Chain",
    "ColorJitter",
    "Cutout",
    "EvaluationBatches",
    "Examples",
    "FileList",
    "FileSource",
    "Flip",
    "InMemoryStream",
    "LabelTable",
    "LongTail",
    "NoiseSpec",
    "NoisyLabels",
    "PadCrop",
    "RandAugment",
    "RandomResizedCrop",
    "Rated",
    "Splits",
    "Stream",
    "TfdsSource",
    "Views",
    "align",
    "apply_noise",
    "batch_indices",
    "chain",
    "channel_statistics",
    "content_digest",
    "corrupt_labels",
    "crop_flip",
    "dawid_skene",
    "default_data_dir",
    "epoch_indices",
    "evaluation_batches",
    "expected_rate",
    "exponential_profile",
    "first_classes",
    "flip_next",
    "from_arrays",
    "in_memory_stream",
    "instance_dependent",
    "list_folder",
    "list_path",
    "list_table",
    "load_column",
    "load_features",
    "load_files",
    "load_labels",
    "load_npz",
    "load_path",
    "load_source",
    "long_tail",
    "majority",
    "make_table",
    "named_augment",
    "named_noise",
    "noisy_from_table",
    "present",
    "published_noise",
    "published_rate",
    "read_table",
    "read_tfrecords",
    "readable",
    "repeated_to_balance",
    "shift",
    "spec_from_transition",
    "split_examples",
    "streaming",
    "symmetric",
    "take",
    "two_views",
    "vote_shares",
    "write_table",
]
