"""mixup for one network: batches in which every example is a mixture of two, and its label too."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from famus_jax.data import Stream
from famus_jax.train.two_networks.mixing import mixup


class MixedStream:
    """A stream whose batches are mixed with themselves, a function of the step alone.

    Images become λ x_i + (1 − λ) x_j and `"target"` λ e(y_i) + (1 − λ) e(y_j): one λ ~ Beta(a, a) per
    batch and a random permutation i → j of it. λ is the larger of λ and 1 − λ: the same pairs with the
    same shares, and `"label"` and `"index"` are those of the half that counts more.

    Args:
      stream: batches with `"image"` and `"label"`.
      num_classes: C.
      concentration: a.
      seed: of λ and of the partners.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018,
    https://arxiv.org/abs/1710.09412.
    """

    def __init__(self, stream: Stream, num_classes: int, concentration: float, seed: int):
        self._stream, self._key = stream, jax.random.key(seed)
        self._mix = functools.partial(_mixed, num_classes=num_classes, concentration=concentration)

    def batch(self, step: int) -> dict[str, jax.Array]:
        """See `famus_jax.data.Stream`."""
        batch = self._stream.batch(step)
        image, target = self._mix(self._key, step, batch["image"], batch["label"])
        return {**batch, "image": image, "target": target}


@functools.partial(jax.jit, static_argnames=("num_classes", "concentration"))
def _mixed(key, step, image, label, num_classes, concentration):
    target = jax.nn.one_hot(label, num_classes, dtype=jnp.float32)
    return mixup(jax.random.fold_in(key, step), image, target, concentration)
