"""Data: label noise, splits, sources and batches.

Noise and splits are functions of (seed, example id); batches are functions of (seed, step).
Importing this package imports jax and numpy; tfds, scikit-learn and Pillow are imported by the
functions that need them, TensorFlow by none.
"""

from famus_jax.data.augment import Chain, Flip, PadCrop, chain, pad_crop_flip, shift
from famus_jax.data.batches import (
    EvaluationBatches,
    InMemoryStream,
    Stream,
    batch_indices,
    epoch_indices,
    evaluation_batches,
    in_memory_stream,
)
from famus_jax.data.noise import NoisyLabels, corrupt_labels, expected_rate, flip_next, symmetric
from famus_jax.data.sources import Examples, default_data_dir, load_source
from famus_jax.data.splits import Splits, split_examples

__all__ = [
    "Chain",
    "EvaluationBatches",
    "Examples",
    "Flip",
    "InMemoryStream",
    "NoisyLabels",
    "PadCrop",
    "Splits",
    "Stream",
    "batch_indices",
    "chain",
    "corrupt_labels",
    "default_data_dir",
    "epoch_indices",
    "evaluation_batches",
    "expected_rate",
    "flip_next",
    "in_memory_stream",
    "load_source",
    "pad_crop_flip",
    "shift",
    "split_examples",
    "symmetric",
]
