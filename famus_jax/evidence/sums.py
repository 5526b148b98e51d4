"""Evidence gathered while a network trains: running sums, one entry per example.

Two lines in any training loop: `init` before it, `update` with the logits of each step; `read` gives
what `famus_jax.label_issues` takes. The sums are a pytree of arrays on the device: they are jitted,
donated and saved with the rest of the state. Symbols: z logits, p = softmax(z), y the given label.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.evidence.margins import margin
from famus_jax.evidence.types import Evidence


class Sums(NamedTuple):
    """Sums over the visits of N examples.

    Attributes:
      visits: int32 [N], how often each was seen.
      aum: float32 [N], sum of z_y - max_{c≠y} z_c.
      probability: float32 [N], sum of p_y.
      probability_margin: float32 [N], sum of p_y - max_{c≠y} p_c.
      last_margin: float32 [N], the newest p_y - max_{c≠y} p_c.
      classes: float32 [N, C], sum of p.
    """

    visits: jax.Array
    aum: jax.Array
    probability: jax.Array
    probability_margin: jax.Array
    last_margin: jax.Array
    classes: jax.Array


def init(num_examples: int, num_classes: int) -> Sums:
    """Nothing seen yet. Takes 4 (C + 5) bytes an example.

    Raises:
      ValueError: no examples, or fewer than two classes.

    >>> init(3, num_classes=2).visits.tolist()
    [0, 0, 0]
    """
    if num_examples < 1 or num_classes < 2:
        raise ValueError(
            f"num_examples = {num_examples} and num_classes = {num_classes} must be at least 1 and 2"
        )

    def each() -> jax.Array:  # of its own: a state whose arrays are shared can't be donated
        return jnp.zeros((num_examples,), jnp.float32)

    return Sums(
        jnp.zeros((num_examples,), jnp.int32),
        each(),
        each(),
        each(),
        each(),
        jnp.zeros((num_examples, num_classes), jnp.float32),
    )


def update(sums: Sums, positions: jax.Array, logits: jax.Array, labels: jax.Array) -> Sums:
    """Adds one step's batch.

    The logits must be those of the examples themselves: of a mixture (mixup) they tell nothing of
    either label. Passed over are logits that are not finite and labels or positions that don't exist.

    Args:
      sums: of `init`.
      positions: int [n], each example's place in the data, in [0, N).
      logits: float [n, C].
      labels: int [n], the given labels.

    Raises:
      ValueError: arrays whose shapes don't fit.

    >>> sums = update(init(3, 2), jnp.array([2]), jnp.array([[1.0, 3.0]]), jnp.array([0]))
    >>> sums.visits.tolist(), sums.aum.tolist()  # the given class is 2 below the other
    ([0, 0, 1], [0.0, 0.0, -2.0])
    """
    num_classes = sums.classes.shape[-1]
    expected = (positions.size, num_classes)
    if logits.shape != expected or labels.shape != positions.shape or positions.ndim != 1:
        raise ValueError(
            f"positions {positions.shape}, logits {logits.shape} and labels {labels.shape} must be "
            f"[n], [n, {num_classes}] and [n]"
        )
    z = jax.lax.stop_gradient(logits).astype(jnp.float32)
    fine = jnp.isfinite(z).all(-1) & (positions >= 0) & (labels >= 0) & (labels < num_classes)
    z, y = jnp.where(fine[:, None], z, 0.0), jnp.where(fine, labels, 0)
    p = jax.nn.softmax(z)
    at = jnp.where(fine, positions, sums.visits.shape[0])  # out of range: dropped by the scatter

    def add(total: jax.Array, value: jax.Array | int) -> jax.Array:
        return total.at[at].add(value, mode="drop")

    newest = margin(p, y)
    return Sums(
        visits=add(sums.visits, 1),
        aum=add(sums.aum, margin(z, y)),
        probability=add(sums.probability, jnp.take_along_axis(p, y[:, None], -1)[:, 0]),
        probability_margin=add(sums.probability_margin, newest),
        last_margin=sums.last_margin.at[at].set(newest, mode="drop"),
        classes=add(sums.classes, p),
    )


def read(sums: Sums) -> Evidence:
    """Means over the visits, NaN for examples that were never seen.

    >>> sums = update(init(2, 2), jnp.array([1]), jnp.array([[1.0, 3.0]]), jnp.array([0]))
    >>> read(sums).kinds["aum"].tolist()
    [nan, -2.0]
    """
    visits = np.asarray(sums.visits)
    count = np.where(visits > 0, visits, np.nan)
    kinds = {
        name: np.asarray(getattr(sums, name), np.float64) / count
        for name in ("aum", "probability", "probability_margin")
    }
    kinds["last_margin"] = np.where(visits > 0, np.asarray(sums.last_margin, np.float64), np.nan)
    return Evidence(kinds, np.asarray(sums.classes, np.float64) / count[:, None], seen=True)
