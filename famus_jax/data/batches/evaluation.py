"""Every example exactly once, in order, in batches of one size."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np

from famus_jax.data.batches.in_memory import check_arrays, gather_batch
from famus_jax.data.batches.order import check_sizes
from famus_jax.data.batches.pixels import Normalize, make_normalizer


class EvaluationBatches:
    """Every example once, in order, in batches of one size; make it with `evaluation_batches`.

    Iterate as often as you like; `len` is the number of batches.
    """

    def __init__(self, *, images, labels, chosen, batch_size, normalizer):
        self._images, self._labels, self._chosen = images, labels, chosen
        self._batch_size, self._normalizer = batch_size, normalizer

    def __len__(self) -> int:
        return -(-len(self._chosen) // self._batch_size)

    def __iter__(self) -> Iterator[dict[str, jax.Array]]:
        n = self._batch_size
        for start in range(0, len(self._chosen), n):
            index = self._chosen[start : start + n]
            mask = np.zeros(n, np.float32)
            mask[: len(index)] = 1.0
            index = np.concatenate([index, np.full(n - len(index), self._chosen[0], np.int32)])
            batch = gather_batch(
                self._images,
                self._labels,
                jax.device_put(index),
                None,
                None,
                self._normalizer,
                augment=None,
            )
            yield {**batch, "mask": jax.device_put(mask)}


def evaluation_batches(
    images: np.ndarray | jax.Array,
    labels: np.ndarray | jax.Array,
    batch_size: int,
    normalize: Normalize | None = None,
    *,
    indices: np.ndarray | None = None,
) -> EvaluationBatches:
    """All examples once, in order, the last batch padded to the full size.

    Args:
      images, labels, normalize, indices: as in `in_memory_stream`.
      batch_size: n.

    Returns:
      An iterable of {"image", "label", "index", "mask": float32[n]}; the mask is 1 for real rows
      and 0 for padding (copies of the first example), so that sums over `mask` count every
      example exactly once.

    Raises:
      ValueError: as `in_memory_stream`.
    """
    images = images if isinstance(images, jax.Array) else np.asarray(images)
    labels = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    chosen = check_arrays(images, labels, indices)
    check_sizes(len(chosen), batch_size)
    return EvaluationBatches(
        images=jax.device_put(images),
        labels=jax.device_put(labels.astype(np.int32)),
        chosen=chosen,
        batch_size=int(batch_size),
        normalizer=make_normalizer(normalize, images.shape),
    )
