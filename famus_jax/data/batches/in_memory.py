"""Batches of a set that lies on the device as one array.

A batch is a gather, an augmentation and a normalization there, in one compiled program that all
streams of the same shapes share. To resume, only the step is needed. The order of the examples is
in `order`, pixels to floats in `pixels`.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.data import hashing
from famus_jax.data.augment.device import Augmentation
from famus_jax.data.batches.order import (
    augment_key_data,
    batch_indices,
    check_sizes,
    epoch_indices,
    local_rows,
)
from famus_jax.data.batches.pixels import Normalize, finish_images, make_normalizer


@functools.partial(jax.jit, static_argnames=("augment",))
def gather_batch(images, labels, index, key_data, first_row, normalizer, *, augment):
    """The examples `index` as a batch, compiled; arguments as in `pixels.finish_images`."""
    chosen = jnp.take(images, index, axis=0, mode="clip")
    images = finish_images(chosen, key_data, first_row, normalizer, augment=augment)
    return {**images, "label": jnp.take(labels, index, axis=0, mode="clip"), "index": index}


def check_arrays(images, labels, indices) -> np.ndarray:
    """The positions to draw from, int32[M]; raises `ValueError` where arrays don't fit together."""
    if images.ndim < 2 or not (images.dtype == np.uint8 or images.dtype.kind == "f"):
        raise ValueError(
            f"images are {images.dtype}{list(images.shape)}; expected uint8 or float, [N, H, W, C] "
            "(or float features [N, D])"
        )
    if labels.shape[:1] != images.shape[:1] or labels.ndim != 1:
        raise ValueError(
            f"labels have shape {labels.shape} but there are {images.shape[0]} images; "
            "give one label per image"
        )
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels have dtype {labels.dtype}; class labels are integers")
    if indices is None:
        chosen = np.arange(images.shape[0], dtype=np.int32)
    else:
        chosen = np.asarray(indices)
        if chosen.size == 0:
            raise ValueError("indices is empty: there is nothing to draw batches from")
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise ValueError(f"indices must be integers [M], got {chosen.dtype} {chosen.shape}")
        if chosen.min() < 0 or chosen.max() >= images.shape[0]:
            raise ValueError(
                f"indices reach from {chosen.min()} to {chosen.max()}, but there are only "
                f"{images.shape[0]} images"
            )
    if chosen.size == 0:
        raise ValueError("there are no images: an empty set gives no batches")
    return chosen.astype(np.int32)


class InMemoryStream:
    """A `Stream` over arrays on the device; make it with `in_memory_stream`."""

    def __init__(self, *, images, labels, chosen, batch_size, seed, augment, normalizer, rows):
        self._images, self._labels, self._chosen = images, labels, chosen
        self._batch_size, self._seed = batch_size, seed
        self._augment, self._normalizer, self._rows = augment, normalizer, rows
        self._first_row = jax.device_put(np.int32(rows[0]))
        # At most two epochs meet in a batch of n <= N; a memory of pure values, not of state.
        self._epoch = functools.lru_cache(maxsize=2)(epoch_indices)

    @property
    def num_examples(self) -> int:
        """How many examples the stream draws from."""
        return len(self._chosen)

    def indices(self, step: int) -> np.ndarray:
        """The positions int32[n] that `batch(step)` holds, without touching the device."""
        first, last = self._rows
        rows = batch_indices(
            len(self._chosen), self._batch_size, self._seed, step, epoch_fn=self._epoch
        )
        return self._chosen[rows[first:last]]

    def batch(self, step: int) -> dict[str, jax.Array]:
        """See `Stream.batch`; dispatched without waiting for the device."""
        index = jax.device_put(self.indices(step))
        key_data = jax.device_put(augment_key_data(self._seed, step))
        return gather_batch(
            self._images,
            self._labels,
            index,
            key_data,
            self._first_row,
            self._normalizer,
            augment=self._augment,
        )


def in_memory_stream(
    images: np.ndarray | jax.Array,
    labels: np.ndarray | jax.Array,
    batch_size: int,
    *,
    seed: int,
    augment: Augmentation | None = None,
    normalize: Normalize | None = None,
    indices: np.ndarray | None = None,
    host_index: int = 0,
    host_count: int = 1,
) -> InMemoryStream:
    """Batches from arrays that fit on the device.

    Args:
      images: uint8[N, H, W, C] (becomes float32 in [0, 1]) or floats [N, ...] (kept). Several
        streams share one copy if it is a `jax.Array` already: `images = jax.device_put(images)`.
      labels: integers [N].
      batch_size: n of the global batch; may exceed the number of examples (see `batch_indices`).
      seed: int; shuffling and augmentation follow from (seed, step).
      augment: `augment(rng, images) -> images`, hashable by value (see `augment.device`), applied
        before normalization; None for none.
      normalize: (mean, std), numbers or one per channel, of images in [0, 1]; None for none.
      indices: int[M], draw from these positions only, e.g. `splits.trusted`; None for all.
      host_index, host_count: this host's rows of every global batch.

    Returns:
      A `Stream`; `index` refers to `images` and `labels` as given, also with `indices`.

    Raises:
      ValueError: sizes disagree, nothing to draw from, indices out of range, bad normalization.

    >>> import numpy as np
    >>> stream = in_memory_stream(np.zeros((5, 8, 8, 1), np.uint8), np.arange(5), 4, seed=0)
    >>> stream.batch(0)["image"].shape
    (4, 8, 8, 1)
    """
    images = images if isinstance(images, jax.Array) else np.asarray(images)
    labels = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    chosen = check_arrays(images, labels, indices)
    check_sizes(len(chosen), batch_size)
    hash(augment)  # a clear TypeError here beats one from inside jit
    rows = local_rows(batch_size, host_index, host_count)
    return InMemoryStream(
        images=jax.device_put(images),
        labels=jax.device_put(labels.astype(np.int32)),
        chosen=chosen,
        batch_size=int(batch_size),
        seed=hashing.checked_seed(seed),
        augment=augment,
        normalizer=make_normalizer(normalize, images.shape),
        rows=rows,
    )
