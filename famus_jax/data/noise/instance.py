"""Instance-dependent label noise (Xia et al. 2020, "Part-dependent label noise", Algorithm 2).

Symbols: x_i the flattened features of example i; q_i its own chance of a wrong label, drawn from a
normal N(r, 0.1²) cut to [0, 1]; W in R^{C x S x C}, standard normal. With the clean class y,

    p_i = q_i softmax(x_i W_y, without y),   p_i[y] = 1 - q_i .
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from famus_jax.data import hashing
from famus_jax.data.noise.transition import (
    NoisyLabels,
    checked_labels,
    checked_num_classes,
    checked_rate,
    summarize,
)


def _normal(seed: int, purpose: str, count: int) -> np.ndarray:
    # Box-Muller on raw bits: the stream of bits is guaranteed, that of numpy's normal() is not.
    bits = hashing.bit_generator(seed, purpose).random_raw(2 * ((count + 1) // 2))
    u = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log(u[::2]))
    angle = 2.0 * np.pi * u[1::2]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def flip_chances(ids: Sequence[str], rate: float, seed: int, spread: float = 0.1) -> np.ndarray:
    """q_i, float64[N]: a normal around `rate` cut to [0, 1], a function of (seed, id).

    The cut is by rejection: attempt k uses the purpose "instance_rate/k".
    """
    chances = np.full(len(ids), np.nan)
    for attempt in range(64):
        open_rows = np.flatnonzero(np.isnan(chances))
        if open_rows.size == 0:
            return chances
        names = [ids[row] for row in open_rows.tolist()]
        u1 = 1.0 - hashing.uniform(seed, f"instance_rate/{attempt}/a", names)
        u2 = hashing.uniform(seed, f"instance_rate/{attempt}/b", names)
        drawn = rate + spread * np.sqrt(-2.0 * np.log(u1)) * np.cos(2.0 * np.pi * u2)
        inside = (drawn >= 0) & (drawn <= 1)
        chances[open_rows[inside]] = drawn[inside]
    return np.where(np.isnan(chances), rate, chances)


def instance_dependent(
    features: np.ndarray,
    labels: np.ndarray | Sequence[int],
    ids: Sequence[str] | np.ndarray,
    rate: float,
    seed: int,
    *,
    num_classes: int,
) -> NoisyLabels:
    """Wrong labels that depend on what the example looks like.

    Args:
      features: [N, ...]; uint8 images become floats in [0, 1], then every row is flattened. Pass
        the features that the paper uses (normalized images) to follow it.
      labels: clean labels, integers [N] in [0, C).
      ids: N unique strings.
      rate: r in [0, 1], the mean chance of a wrong label (the cut to [0, 1] moves the mean near
        the ends).
      seed: int.
      num_classes: C >= 2.

    Returns:
      `NoisyLabels`, independent of order. The inner products are floating-point sums, so on another
      machine an example on an edge may differ: write the table to a file and share that.

    Raises:
      ValueError: as `corrupt_labels`, and for features of another length or not finite.
    """
    rate = checked_rate(rate)
    num_classes = checked_num_classes(num_classes)
    clean = checked_labels(labels, num_classes)
    names = hashing.checked_ids(ids, len(clean))
    array = np.asarray(features)
    if len(array) != len(clean):
        raise ValueError(f"{len(array)} rows of features for {len(clean)} labels")
    scale = 255.0 if array.dtype == np.uint8 else 1.0
    flat = array.reshape(len(array), -1).astype(np.float64) / scale
    if not np.isfinite(flat).all():
        row = int(np.flatnonzero(~np.isfinite(flat).all(axis=1))[0])
        raise ValueError(f"features of {names[row]!r} (row {row}) are not finite")
    chances = flip_chances(names, rate, seed)
    u = hashing.uniform(seed, "label_noise", names)
    noisy = clean.copy()
    size = flat.shape[1]
    for c in range(num_classes):
        mine = np.flatnonzero(clean == c)
        weights = _normal(seed, f"instance_weights/{c}", size * num_classes)
        scores = flat[mine] @ weights.reshape(size, num_classes)
        scores[:, c] = -np.inf
        scores -= scores.max(axis=1, keepdims=True, initial=-np.inf)
        chance = np.exp(scores)
        chance *= (chances[mine] / chance.sum(axis=1))[:, None]
        chance[:, c] = 1.0 - chances[mine]
        edges = np.cumsum(chance, axis=1)
        edges[:, -1] = np.inf
        drawn = (u[mine][:, None] >= edges).sum(axis=1)
        # rounding may leave a sliver beyond the last *possible* class when that is class c - 1
        noisy[mine] = np.where(chance[np.arange(len(mine)), drawn] > 0, drawn, c)
    return summarize(noisy, clean, names, num_classes)
