"""Batches: pure in (seed, step), full, one compilation, every example counted once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.data.augment.crop_flip import crop_flip
from famus_jax.data.augment.device import chain
from famus_jax.data.batches.evaluation import evaluation_batches
from famus_jax.data.batches.in_memory import gather_batch, in_memory_stream
from famus_jax.data.batches.order import batch_indices, epoch_indices
from famus_jax.data.batches.pixels import channel_statistics

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3)).astype(np.uint8)
LABELS = np.arange(20) % 4


def test_epoch_order_is_pinned():
    # Resuming a run on another machine or numpy depends on it.
    assert epoch_indices(8, 0, 0).tolist() == [0, 4, 6, 5, 3, 2, 7, 1]
    assert sorted(epoch_indices(8, 0, 1)) == list(range(8))
    assert epoch_indices(8, 0, 0).tolist() != epoch_indices(8, 0, 1).tolist()
    assert epoch_indices(8, 0, 0).tolist() != epoch_indices(8, 1, 0).tolist()


@pytest.mark.parametrize(("count", "size"), [(20, 6), (20, 20), (1, 1), (20, 1)])
def test_batches_cut_the_sequence_of_epochs(count, size):
    # Fails if the tail of an epoch is dropped or padded by repeats.
    steps = 3 * count
    drawn = np.concatenate([batch_indices(count, size, 3, t) for t in range(steps)])
    epochs = steps * size // count
    expected = np.concatenate([epoch_indices(count, 3, e) for e in range(epochs)])
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize(("count", "size"), [(7, 16), (1, 3), (5, 10)])
def test_small_sets_give_whole_passes(count, size):
    # Fails if the wrap-around leaves a trusted example out of some batches.
    total = np.zeros(count, int)
    for step in range(count):
        counts = np.bincount(batch_indices(count, size, 0, step), minlength=count)
        assert counts.sum() == size
        assert counts.min() >= size // count
        assert counts.max() <= size // count + 2
        total += counts
    assert set(total.tolist()) == {size}
    first, second = (batch_indices(count, size, 0, t).tolist() for t in (0, 1))
    assert count == 1 or first != second


def test_batch_holds_the_right_rows():
    chosen = np.array([3, 19, 7, 11, 2])
    stream = in_memory_stream(
        IMAGES, LABELS, 4, seed=1, indices=chosen, normalize=([0.1, 0.2, 0.3], [0.5, 1.0, 2.0])
    )
    for step in (0, 1, 9):
        batch = stream.batch(step)
        index = np.asarray(batch["index"])
        np.testing.assert_array_equal(index, chosen[batch_indices(5, 4, 1, step)])
        np.testing.assert_array_equal(batch["label"], LABELS[index])
        expected = (IMAGES[index] / 255.0 - [0.1, 0.2, 0.3]) / [0.5, 1.0, 2.0]
        np.testing.assert_allclose(batch["image"], expected, rtol=1e-5, atol=1e-6)
        assert {k: v.dtype for k, v in batch.items()} == {
            "image": jnp.float32,
            "label": jnp.int32,
            "index": jnp.int32,
        }


def test_any_step_without_the_ones_before():
    # Fails if the stream carries state: resuming would change the run.
    make = lambda: in_memory_stream(IMAGES, LABELS, 6, seed=2, augment=crop_flip(2))  # noqa: E731
    one, other = make(), make()
    walked = [one.batch(t) for t in range(9)]
    jumped = other.batch(8)
    for key in jumped:
        np.testing.assert_array_equal(jumped[key], walked[8][key])
        np.testing.assert_array_equal(other.batch(2)[key], walked[2][key])


def test_augmentation_differs_between_steps_and_seeds():
    # The same image at each step: fails if the key ignores the step.
    same = np.broadcast_to(IMAGES[:1], IMAGES.shape)
    stream = in_memory_stream(same, LABELS, 8, seed=0, augment=crop_flip(2))
    other = in_memory_stream(same, LABELS, 8, seed=1, augment=crop_flip(2))
    first = np.asarray(stream.batch(0)["image"])
    assert not np.array_equal(first, stream.batch(1)["image"])
    assert not np.array_equal(first, other.batch(0)["image"])
    assert len({image.tobytes() for image in first}) > 3


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_together_see_the_stream_of_one(hosts):
    make = lambda h, n: in_memory_stream(  # noqa: E731
        IMAGES, LABELS, 8, seed=3, augment=crop_flip(1), host_index=h, host_count=n
    )
    for step in (0, 5):
        whole = make(0, 1).batch(step)
        parts = [make(h, hosts).batch(step) for h in range(hosts)]
        for key in whole:
            np.testing.assert_array_equal(np.concatenate([p[key] for p in parts]), whole[key])


def test_streams_of_equal_shapes_share_one_compilation():
    # Fails if arrays are closed over, or an augmentation is compared by identity.
    count = gather_batch._cache_size
    images = np.zeros((21, 5, 5, 1), np.uint8)
    labels = np.zeros(21, np.int64)
    in_memory_stream(images, labels, 4, seed=0, augment=chain(crop_flip(1))).batch(0)
    before = count()
    second = in_memory_stream(
        images + 1, labels, 4, seed=9, augment=chain(crop_flip(1)), indices=np.arange(7)
    )
    for step in range(3):
        second.batch(step)
    assert count() <= before


def test_no_hidden_transfer():
    # A training loop under a transfer guard must be able to draw its batches.
    stream = in_memory_stream(IMAGES, LABELS, 4, seed=0, augment=crop_flip(1))
    evaluation = evaluation_batches(IMAGES, LABELS, 8)
    with jax.transfer_guard("disallow"):
        stream.batch(0)
        list(evaluation)


@pytest.mark.parametrize("size", [1, 6, 20, 32])
def test_evaluation_counts_every_example_once(size):
    # Fails if the tail is dropped, or padding counts.
    chosen = np.arange(1, 20)
    found = evaluation_batches(IMAGES, LABELS, size, (0.0, 1.0), indices=chosen)
    assert len(list(found)) == len(found) == -(-19 // size)
    weights = np.zeros(20)
    for batch in found:
        assert batch["image"].shape == (size, 6, 6, 3)
        assert batch["mask"].dtype == jnp.float32
        index = np.asarray(batch["index"])
        np.add.at(weights, index, np.asarray(batch["mask"]))
        np.testing.assert_array_equal(batch["label"], LABELS[index])
        np.testing.assert_allclose(batch["image"], IMAGES[index] / 255, rtol=1e-6)
    np.testing.assert_array_equal(weights, [0] + [1] * 19)


def test_features_pass_unchanged():
    features = np.random.default_rng(1).normal(size=(20, 7)).astype(np.float64)
    batch = in_memory_stream(features, LABELS, 5, seed=0).batch(0)
    np.testing.assert_array_equal(
        batch["image"], features[np.asarray(batch["index"])].astype(np.float32)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": LABELS[:5]}, "but there are 20 images"),
        ({"labels": LABELS * 0.5}, "class labels are integers"),
        ({"images": IMAGES.astype(np.int64)}, "expected uint8 or float"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "no images"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"indices": np.array([0, 20])}, "only 20 images"),
        ({"indices": np.array([], int)}, "indices is empty"),
        ({"normalize": ([0.1, 0.2], 1.0)}, "3 channels"),
        ({"normalize": (0.0, 0.0)}, "must be positive"),
        ({"normalize": 0.5}, r"expected \(mean, std\)"),
        ({"host_count": 4}, "can't be divided among 4 hosts"),
        ({"host_index": 1}, "host_index = 1"),
    ],
)
def test_bad_input_is_named(change, words):
    good = {"images": IMAGES, "labels": LABELS, "batch_size": 6, "seed": 0}
    with pytest.raises(ValueError, match=words):
        in_memory_stream(**{**good, **change})


def test_negative_step_is_refused():
    with pytest.raises(ValueError, match="step = -1"):
        in_memory_stream(IMAGES, LABELS, 4, seed=0).batch(-1)


@pytest.mark.parametrize("images", [IMAGES, (IMAGES / 7).astype(np.float32)])
def test_channel_statistics(images):
    chosen = np.array([0, 3, 4, 19, 7])
    mean, std = channel_statistics(images, chosen, chunk=2)
    scale = 255 if images.dtype == np.uint8 else 1
    flat = images[chosen].reshape(-1, 3) / scale
    np.testing.assert_allclose(mean, flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std, flat.std(0), rtol=1e-5)
    assert channel_statistics(np.full((4, 2, 2, 1), 9, np.uint8))[1].tolist() == [1.0]
    with pytest.raises(ValueError, match="no images"):
        channel_statistics(images, chosen[:0])
