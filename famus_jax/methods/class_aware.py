"""Class-aware Meta-Weight-Net: a function from loss to weight for every group of classes.

Symbols: y_i = the given label of example i, n_c = training examples of class c, g(c) = the group of
class c, from the smallest classes to the largest; V_g(ℓ) = the g-th output of a net as `mwnet`'s:

    V_i = V_{g(y_i)}(ℓ_i),    T = Σ_i V_i ℓ_i, V over its sum or over n

Groups are those of K-means on n_c. In one dimension they are intervals, and the best ones are found
exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from famus_jax.core.method import ExampleLoss, MetaLoss, Method
from famus_jax.losses import (
    Normalization,
    labels_of,
    logits_of_classes,
    normalizer,
    softmax_cross_entropy,
)
from famus_jax.methods.mwnet import Start, head_weights, moving, weighting_net


def class_aware_mwnet(
    class_counts: Sequence[int],
    example_loss: ExampleLoss = softmax_cross_entropy,
    *,
    groups: int = 3,
    hidden: int = 100,
    normalize: Normalization = "sum",
    start: Start = "flat",
    monotone: bool = True,
    meta_optimizer: optax.GradientTransformation | None = None,
    meta_loss: MetaLoss | None = None,
) -> Method:
    """CMW-Net: Meta-Weight-Net with a head for every group of classes of similar size.

    So a large loss can mean a wrong label in a large class and a rare example in a small one. The
    heads share their hidden units. *Differs from the paper*: V starts flat, never rises with the loss
    within a group and is moved by Adam, as `mwnet`'s; groups may differ in level all the same.
    `start="random", monotone=False, meta_optimizer=optax.sgd(1e-3, momentum=0.9)` is nearer to it.

    Args:
      class_counts: n_c, training examples per given label.
      example_loss: `(outputs, batch) -> ℓ [n]`.
      groups: how many, 1 (which is `mwnet`) or more; fewer where there are fewer sizes.
      hidden, normalize, start, monotone, meta_optimizer, meta_loss: as `mwnet` takes them.

    Returns:
      A `Method`.

    Raises:
      ValueError: as `mwnet`; for no groups or fewer than two classes; from the loss, for a network of
        another number of classes.

    Source: Shu, Yuan, Meng, Xu, CMW-Net: Learning a Class-Aware Sample Weighting Mapping for Robust
    Deep Learning, TPAMI 2023, https://arxiv.org/abs/2202.05613.

    Example:
      >>> method = class_aware_mwnet([500, 480, 20], groups=2, hidden=10)
      >>> theta = method.init(jax.random.key(0), 2)
      >>> theta["kernel_2"].shape
      (10, 2)
      >>> theta["bias_2"] = jnp.array([2.0, -2.0])  # the rare class counts more
      >>> batch = {"label": jnp.array([0, 2])}
      >>> [round(float(w), 4) for w in method.loss(theta, jnp.zeros((2, 3)), batch)[1]]
      [0.1192, 0.8808]
    """
    of_class = np.asarray(class_groups(class_counts, groups), np.int32)
    heads = int(of_class.max()) + 1
    scale = normalizer(normalize)
    init = weighting_net("class_aware_mwnet", hidden, heads, start, monotone)

    def loss(theta, outputs, batch):
        losses = example_loss(outputs, batch)
        whose = f"class_aware_mwnet, with counts of {len(of_class)}"
        logits = logits_of_classes(outputs, len(of_class), whose)
        group = jnp.asarray(of_class)[labels_of(batch, logits)]
        values = head_weights(theta, jax.lax.stop_gradient(losses))
        weights = scale(jnp.take_along_axis(values, group[:, None], axis=1)[:, 0])
        return jnp.vdot(weights, losses), weights

    return Method(
        name="class_aware_mwnet",
        init=init,
        loss=loss,
        meta_optimizer=moving(meta_optimizer, monotone),
        example_loss=example_loss,
        meta_loss=meta_loss,
    )


def class_groups(class_counts: Sequence[int], groups: int) -> tuple[int, ...]:
    """g(c) of every class: K-means of their sizes, exactly; group 0 holds the smallest classes.

    Args:
      class_counts: n_c, 0 or more.
      groups: K; as many as there are different sizes, if that is less.

    Returns:
      C numbers from 0 to K − 1.

    Raises:
      ValueError: for no groups, fewer than two classes, or a negative count.

    Example:
      >>> class_groups([500, 20, 480, 25, 100], 3)
      (2, 0, 2, 0, 1)
    """
    counts = np.asarray(class_counts, np.float64)
    if counts.ndim != 1 or len(counts) < 2 or not (counts >= 0).all():
        raise ValueError(
            "class_counts must be two or more numbers of examples, one for each class; got "
            f"{class_counts}"
        )
    if groups < 1:
        raise ValueError(f"groups, of classes, must be 1 or more; got {groups}")
    sizes, place, repeats = np.unique(counts, return_inverse=True, return_counts=True)
    k, m = min(groups, len(sizes)), len(sizes)
    zero = np.zeros(1)
    number = np.concatenate([zero, repeats.cumsum()])
    total = np.concatenate([zero, (repeats * sizes).cumsum()])
    square = np.concatenate([zero, (repeats * sizes**2).cumsum()])

    def spread(first: np.ndarray, last: int) -> np.ndarray:
        """Squared distances to the mean of the sizes first, ..., last − 1."""
        n = number[last] - number[first]
        return square[last] - square[first] - (total[last] - total[first]) ** 2 / n

    best = np.full((k + 1, m + 1), np.inf)
    best[0, 0] = 0
    cut = np.zeros((k + 1, m + 1), int)
    for group in range(1, k + 1):
        for last in range(group, m + 1):
            first = np.arange(group - 1, last)
            costs = best[group - 1, first] + spread(first, last)
            cut[group, last] = first[costs.argmin()]
            best[group, last] = costs.min()
    of_size, last = np.zeros(m, int), m
    for group in range(k, 0, -1):
        of_size[cut[group, last] : last] = group - 1
        last = cut[group, last]
    return tuple(of_size[place.reshape(-1)].tolist())
