"""Soft targets and MixUp: a labeled and an unlabeled batch in, one mixed batch out.

Symbols: y = one-hot label, p = the network's mean prediction over an example's views, w = the
probability that the label is right, T = temperature, λ ~ Beta(a, a) = the mixing coefficient.

Source: DivideMix (Li et al., ICLR 2020), co-refinement and co-guessing; MixMatch (NeurIPS 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def sharpen(probability: jax.Array, temperature: float) -> jax.Array:
    """p^(1/T) over its sum, rows of [n, C]; T = 1 leaves p, T → 0 makes it one-hot."""
    # By logarithms: 0.01^(1/0.02) is 0 in float32, and 0 / 0 no distribution.
    logarithms = jnp.log(jnp.maximum(probability, jnp.finfo(probability.dtype).tiny))
    sharp = jax.nn.softmax(logarithms / temperature)
    return jnp.where(probability > 0, sharp, 0)


def co_refine(
    labels: jax.Array, right: jax.Array, predictions: jax.Array, temperature: float
) -> jax.Array:
    """Targets of labeled examples: w y + (1 − w) p, sharpened.

    Args:
      labels: y, [n, C].
      right: w, [n].
      predictions: p, [n, C].
      temperature: T.
    """
    w = right[:, None].astype(predictions.dtype)
    return sharpen(w * labels + (1 - w) * predictions, temperature)


def co_guess(predictions: Sequence[jax.Array], temperature: float) -> jax.Array:
    """Targets of unlabeled examples: the mean of several predictions [n, C], sharpened."""
    return sharpen(sum(predictions[1:], start=predictions[0]) / len(predictions), temperature)


def mixup(
    key: jax.Array, images: jax.Array, targets: jax.Array, concentration: float
) -> tuple[jax.Array, jax.Array]:
    """λ times an example plus (1 − λ) times another of the batch, λ >= 1/2, one λ for all.

    Args:
      key: of λ and of the permutation.
      images: [n, ...].
      targets: [n, C].
      concentration: a of Beta(a, a); 0 for no mixing.
    """
    if not concentration:
        return images, targets
    drawn = draw_mixture(key, images.shape[0], concentration)
    return mixed_as_drawn(images, *drawn), mixed_as_drawn(targets, *drawn)


def draw_mixture(key: jax.Array, count: int, concentration: float) -> tuple[jax.Array, jax.Array]:
    """max(λ, 1 − λ), a scalar, and every example's partner, int [n]: a permutation."""
    key_lambda, key_order = jax.random.split(key)
    mix = jax.random.beta(key_lambda, concentration, concentration)
    return jnp.maximum(mix, 1 - mix), jax.random.permutation(key_order, count)


def mixed_as_drawn(x: jax.Array, mix: jax.Array, order: jax.Array) -> jax.Array:
    """λ x_i + (1 − λ) x_order(i), in its dtype."""
    return (mix * x + (1 - mix) * x[order]).astype(x.dtype)


def mix_training_batch(
    key: jax.Array,
    labeled: Sequence[jax.Array],
    labeled_target: jax.Array,
    unlabeled: Sequence[jax.Array],
    unlabeled_target: jax.Array,
    concentration: float,
) -> dict[str, jax.Array]:
    """All views of both parts, mixed with one another; one view after the other.

    Args:
      key: of `mixup`.
      labeled, unlabeled: views, each [B, ...].
      labeled_target, unlabeled_target: [B, C].
      concentration: of `mixup`.

    Returns:
      `{"image", "target", "labeled"}` of n = B times the number of views of both.
    """
    views = [*labeled, *unlabeled]
    is_labeled = jnp.array([1.0] * len(labeled) + [0.0] * len(unlabeled), jnp.float32)
    targets = [labeled_target] * len(labeled) + [unlabeled_target] * len(unlabeled)
    images, target = mixup(key, jnp.concatenate(views), jnp.concatenate(targets), concentration)
    return {
        "image": images,
        "target": target,
        "labeled": jnp.repeat(is_labeled, views[0].shape[0]),
    }
