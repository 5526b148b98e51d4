"""mixup for one network: pairs and targets, and that a step alone decides them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.losses import soft_cross_entropy, softmax_cross_entropy
from famus_jax.train.mixed_stream import MixedStream

N, CLASSES = 6, 3


class Stream:
    """Image i is the unit vector i, its label i mod 3."""

    def batch(self, step):
        return {
            "image": jnp.eye(N, dtype=jnp.float32),
            "label": jnp.arange(N) % CLASSES,
            "index": jnp.arange(N) + 10 * step,
        }


def test_images_and_labels_are_mixed_alike():
    """From the unit vectors: who was mixed with whom, and how much; the targets must say the same.

    Fails if image and label get another partner or another λ, or the label is not the larger half's.
    """
    stream, seen = MixedStream(Stream(), CLASSES, 1.0, seed=3), set()
    for step in range(8):
        batch = stream.batch(step)
        shares = np.asarray(batch["image"], np.float64)  # row i: how much of each example
        np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
        np.testing.assert_allclose(shares.sum(0), 1, rtol=1e-6)  # each is a partner once
        expected = shares @ np.eye(CLASSES)[np.arange(N) % CLASSES]
        np.testing.assert_allclose(batch["target"], expected, atol=1e-6)
        assert (np.diagonal(shares) >= 0.5).all()
        np.testing.assert_array_equal(batch["label"], np.arange(N) % CLASSES)
        np.testing.assert_array_equal(batch["index"], np.arange(N) + 10 * step)
        seen.add(shares.tobytes())
    assert len(seen) == 8


def test_the_step_decides():
    """Asked again, out of order, or by a new stream: the same bits; by another seed, others."""
    one, other = (MixedStream(Stream(), CLASSES, 0.4, seed=s) for s in (3, 4))
    first = [np.asarray(one.batch(t)["image"]) for t in (5, 0)]
    again = [
        np.asarray(MixedStream(Stream(), CLASSES, 0.4, seed=3).batch(t)["image"]) for t in (0, 5)
    ]
    np.testing.assert_array_equal(first[0], again[1])
    np.testing.assert_array_equal(first[1], again[0])
    assert not np.array_equal(first[0], other.batch(5)["image"])


def test_next_to_no_mixing_is_cross_entropy():
    """a → 0: λ is 1, and the loss that of the labels."""
    batch = MixedStream(Stream(), CLASSES, 1e-4, seed=0).batch(0)
    np.testing.assert_allclose(batch["image"], np.eye(N), atol=1e-3)
    logits = jax.random.normal(jax.random.key(0), (N, CLASSES))
    np.testing.assert_allclose(
        soft_cross_entropy(logits, batch), softmax_cross_entropy(logits, batch), atol=1e-2
    )


def test_a_batch_without_targets_is_refused():
    with pytest.raises(ValueError, match=r'batch\["target"\].*\(6, 3\); got none'):
        soft_cross_entropy(jnp.zeros((N, CLASSES)), {"label": jnp.arange(N)})
    with pytest.raises(ValueError, match=r"got shape \(6, 2\)"):
        soft_cross_entropy(jnp.zeros((N, CLASSES)), {"target": jnp.zeros((N, 2))})
