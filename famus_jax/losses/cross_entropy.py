"""Cross-entropy, and what penalizes being sure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from famus_jax.core.checks import is_known
from famus_jax.core.method import ExampleLoss

PyTree = Any


def softmax_cross_entropy(outputs: PyTree, batch: PyTree) -> jax.Array:
    """Cross-entropy of integer labels.

    Args:
      outputs: logits [n, C], or what holds them, see `logits_of`.
      batch: a mapping with `"label"`, int [n] in 0..C-1.

    Returns:
      float [n]. NaN for a label that is none of the classes, where its value is not known until the
      compiled program runs; `ignoring` leaves such examples out.

    Raises:
      ValueError: for a batch without labels, or labels that are not one class number per example.

    Example:
      >>> logits, batch = jnp.log(jnp.array([[4.0, 1.0]])), {"label": jnp.array([0])}
      >>> round(float(softmax_cross_entropy(logits, batch)[0]), 4)  # −log 0.8
      0.2231
    """
    logits = logits_of(outputs)
    labels = labels_of(batch, logits)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
    return jnp.where((labels >= 0) & (labels < logits.shape[-1]), losses, jnp.nan)


def labels_of(batch: PyTree, logits: jax.Array) -> jax.Array:
    """`batch["label"]`, looked at: one class number for every row of the logits.

    Args:
      batch: a mapping.
      logits: [n, C], or [n, ..., C].

    Raises:
      ValueError: if there are none, if they have another shape or are no whole numbers, or (where
        their values are known, outside of compiled code) for a number below 0 or above C - 1.

    Example:
      >>> labels_of({"label": jnp.array([2, 0])}, jnp.zeros((2, 3))).tolist()
      [2, 0]
    """
    if not isinstance(batch, Mapping) or "label" not in batch:
        held = list(batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(
            f'softmax_cross_entropy reads batch["label"]; this batch holds {held}: name it so, or '
            "pass an example_loss of your own to the method, e.g. mwnet(my_loss)"
        )
    if not hasattr(batch["label"], "dtype"):
        raise ValueError(
            f'batch["label"] is a {type(batch["label"]).__name__}, not an array: use '
            "numpy.asarray(label, dtype='int32')"
        )
    labels, wanted = jnp.asarray(batch["label"]), jnp.shape(logits)[:-1]
    own_loss = "or pass an example_loss of your own to the method"
    if labels.shape == jnp.shape(logits) and labels.ndim > 1:
        raise ValueError(
            f'batch["label"] has the shape of the logits, {labels.shape}: these are one-hot or soft '
            f"labels. Use label.argmax(-1), {own_loss}"
        )
    if labels.shape == (*wanted, 1):
        raise ValueError(
            f'batch["label"] has shape {labels.shape}: use label[..., 0], shape {wanted}'
        )
    if labels.shape != wanted:
        raise ValueError(
            f'batch["label"] has shape {labels.shape}, and logits of shape {jnp.shape(logits)} need '
            f"one class number per row, shape {wanted}: change either, {own_loss}"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f'batch["label"] holds {labels.dtype}, not class numbers: use label.astype(int) if they '
            f"are whole, {own_loss}"
        )
    if is_known(batch["label"]):
        classes, numbers = jnp.shape(logits)[-1], np.ravel(np.asarray(batch["label"]))
        outside = (numbers < 0) | (numbers >= classes)
        if outside.any():
            row = int(outside.argmax())
            raise ValueError(
                f'batch["label"] is {numbers[row]} at example {row}, and there are '
                f"{classes} classes, 0 to {classes - 1}. If it marks examples without a label, use "
                f"losses.ignoring(losses.softmax_cross_entropy, label=...) as the example_loss"
            )
    return labels


def logits_of(outputs: PyTree) -> jax.Array:
    """The logits [n, C] of a network's outputs.

    Args:
      outputs: what the network returned: logits, or a mapping or object that holds them under
        `"logits"`.

    Raises:
      ValueError: for outputs without logits, such as a tuple; for complex ones.

    Example:
      >>> logits_of({"logits": jnp.zeros((2, 3)), "features": jnp.zeros((2, 8))}).shape
      (2, 3)
    """
    found: Any = outputs
    if isinstance(outputs, Mapping):
        found = outputs.get("logits")
    elif hasattr(outputs, "logits"):
        found = outputs.logits
    if not hasattr(found, "ndim") or found.ndim < 1:
        held = (
            f"a dict of {sorted(outputs)}" if isinstance(outputs, Mapping) else f"{outputs!r:.200}"
        )
        raise ValueError(
            f"this loss reads the network's logits, [n, C], and its outputs are {held}: return the "
            'logits, or a dict or object with "logits", or pass an example_loss of your own to the '
            "method"
        )
    if jnp.issubdtype(found.dtype, jnp.complexfloating):
        raise ValueError(
            f"the network's logits are {found.dtype}: return real ones, such as abs(f)"
        )
    return found


def logits_of_classes(outputs: PyTree, num_classes: int, whose: str) -> jax.Array:
    """The logits [n, C] of a network that must have C classes.

    Args:
      outputs: see `logits_of`.
      num_classes: C.
      whose: what was made for C classes, for the message.

    Raises:
      ValueError: as `logits_of`; for another number of logits.

    Example:
      >>> logits_of_classes(jnp.zeros((2, 3)), 3, "elr").shape
      (2, 3)
    """
    logits = logits_of(outputs)
    if logits.shape[-1] != num_classes:
        raise ValueError(
            f"the network has {logits.shape[-1]} logits, and {whose} is of {num_classes} classes: give "
            "the same number"
        )
    return logits


def ignoring(example_loss: ExampleLoss, label: int = -1) -> ExampleLoss:
    """`example_loss` for batches in which some examples have no label: these have loss 0.

    They move nothing, neither the network nor the weights of others; the mean over a batch still
    counts them, and so does a method that shares out one sum of weights.

    Args:
      example_loss: reads `batch["label"]`.
      label: marks an example without a label.

    Example:
      >>> loss = ignoring(softmax_cross_entropy, label=-1)
      >>> losses = loss(jnp.zeros((2, 2)), {"label": jnp.array([-1, 1])})
      >>> [round(float(x), 4) for x in losses]  # 0, log 2
      [0.0, 0.6931]
    """

    def loss(outputs: PyTree, batch: PyTree) -> jax.Array:
        if not isinstance(batch, Mapping) or "label" not in batch:
            return example_loss(outputs, batch)  # which says what is missing
        ignored = jnp.asarray(batch["label"]) == label
        losses = example_loss(outputs, {**batch, "label": jnp.where(ignored, 0, batch["label"])})
        return jnp.where(ignored, 0, losses)

    return loss


def confidence_penalized(weight: float) -> ExampleLoss:
    """Cross-entropy minus `weight` times the prediction's entropy (DivideMix's warm-up).

    With structured noise a network soon is sure of its mistakes, and all losses look alike.

    Args:
      weight: 0 for cross-entropy itself.

    Source: Li et al., DivideMix, ICLR 2020, https://arxiv.org/abs/2002.07394.

    Example:
      >>> batch = {"label": jnp.array([0])}
      >>> float(confidence_penalized(1.0)(jnp.zeros((1, 2)), batch)[0])  # log 2 − log 2
      0.0
    """

    def example_loss(outputs: PyTree, batch: PyTree) -> jax.Array:
        losses = softmax_cross_entropy(outputs, batch)
        if not weight:
            return losses
        log_p = jax.nn.log_softmax(logits_of(outputs))
        return losses + weight * (jnp.exp(log_p) * log_p).sum(-1)

    return example_loss
