"""Meta label correction: a small net rewrites labels. Symbols: see `famus_jax.core.method`.

    q_i = softmax(MetaNet(h_i ⊕ e(y_i)))                 a soft label, [C]
    T(f, θ) = mean_i −Σ_c q_ic log softmax(f_i)_c

with h_i = the network's features of example i (the input of its last layer), detached, e(y) = an
embedding of the given label, MetaNet = two tanh layers and a dense one, θ = its parameters and e.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import Method
from famus_jax.losses import labels_of, logits_of_classes, softmax_cross_entropy

PyTree = Any


def meta_label_correction(
    num_classes: int,
    feature_size: int,
    *,
    hidden: int = 128,
    embedding: int = 128,
    meta_optimizer: optax.GradientTransformation | None = None,
) -> Method:
    """Meta Label Correction: a small net rewrites the labels that the network learns from.

    It makes a soft label of the network's features and the given label; the meta loss is cross-entropy
    of the trusted labels.

    The forward of the training batch must return `{"logits": [n, C], "features": [n, D]}`;
    `famus_jax.linen_forward(model, features=True)` does for any Linen network that ends in a dense
    layer. No derivative flows into the network through the features. The weights that a step reports
    are q_i at the given label, over n: how far the method believes it.

    Args:
      num_classes: C.
      feature_size: D.
      hidden: units of both hidden layers.
      embedding: size of e(y).
      meta_optimizer: by default Adam with AMSGrad, 3e-4 (released code).

    Raises:
      ValueError: for a size below 1; from the loss, for outputs without such features.

    Source: Zheng, Hassan Awadallah, Dumais, Meta Label Correction for Noisy Label Learning, AAAI
    2021, https://arxiv.org/abs/1911.03809. Not in here: its meta gradient through several steps.

    Example:
      >>> method = meta_label_correction(num_classes=3, feature_size=4)
      >>> theta = method.init(jax.random.key(0), 2)
      >>> outputs = {"logits": jnp.zeros((2, 3)), "features": jnp.ones((2, 4))}
      >>> loss, believed = method.loss(theta, outputs, {"label": jnp.array([0, 1])})
      >>> round(float(loss), 4), believed.shape  # log 3: soft labels sum to 1
      (1.0986, (2,))
    """
    sizes = {"num_classes": num_classes, "feature_size": feature_size, "hidden": hidden}
    for name, size in {**sizes, "embedding": embedding}.items():
        if size < 1:
            raise ValueError(f"meta_label_correction: {name} must be at least 1; got {size}")

    def init(key, n):
        del n
        keys = jax.random.split(key, 4)
        return {
            "embedding": jax.random.normal(keys[0], (num_classes, embedding), jnp.float32),
            "dense_1": _dense(keys[1], feature_size + embedding, hidden),
            "dense_2": _dense(keys[2], hidden, hidden),
            "dense_3": _dense(keys[3], hidden, num_classes),
        }

    def loss(theta, outputs, batch):
        features = _features(outputs, feature_size)
        logits = logits_of_classes(outputs, num_classes, f"meta_label_correction({num_classes})")
        labels = labels_of(batch, logits)
        soft = soft_labels(theta, features, labels)
        losses = -(soft * jax.nn.log_softmax(logits)).sum(1)
        losses = jnp.where((labels >= 0) & (labels < num_classes), losses, jnp.nan)
        believed = jnp.take_along_axis(soft, labels[:, None], axis=1)[:, 0]
        return losses.mean(), believed / losses.shape[0]

    meta_optimizer = meta_optimizer or optax.amsgrad(3e-4)
    return Method(
        "meta_label_correction", init, loss, meta_optimizer, softmax_cross_entropy, reweights=False
    )


def soft_labels(theta: PyTree, features: jax.Array, labels: jax.Array) -> jax.Array:
    """q, the corrected labels.

    Args:
      theta: θ, from the method's `init`.
      features: h, [n, D], taken as numbers.
      labels: y, int [n].

    Returns:
      Distributions [n, C].

    Example:
      >>> theta = meta_label_correction(3, 4).init(jax.random.key(0), 2)
      >>> soft = soft_labels(theta, jnp.ones((2, 4)), jnp.array([0, 1]))
      >>> soft.shape, soft.sum(1).round(4).tolist()
      ((2, 3), [1.0, 1.0])
    """
    features = jax.lax.stop_gradient(features)
    embedded = theta["embedding"][labels].astype(features.dtype)
    x = jnp.concatenate([features, embedded], axis=1)
    x = jnp.tanh(_apply(theta["dense_1"], x))
    x = jnp.tanh(_apply(theta["dense_2"], x))
    return jax.nn.softmax(_apply(theta["dense_3"], x))


def _features(outputs: PyTree, size: int) -> jax.Array:
    if not isinstance(outputs, dict) or "features" not in outputs:
        raise ValueError(
            "meta_label_correction reads outputs['features'], [n, D], besides outputs['logits']: use "
            "linen_forward(model, features=True), or a forward that returns a dict of both"
        )
    features = outputs["features"]
    if features.ndim != 2 or features.shape[1] != size:
        raise ValueError(
            f"the network's features have shape {features.shape}, not [n, {size}]: "
            f"meta_label_correction(..., feature_size={features.shape[-1]})"
        )
    return features


def _dense(key: jax.Array, fan_in: int, fan_out: int) -> dict[str, jax.Array]:
    """Weights and biases uniform within 1/√fan_in."""
    kernel, bias = jax.random.split(key)
    bound = fan_in**-0.5
    return {
        "kernel": jax.random.uniform(kernel, (fan_in, fan_out), jnp.float32, -bound, bound),
        "bias": jax.random.uniform(bias, (fan_out,), jnp.float32, -bound, bound),
    }


def _apply(dense: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return x @ dense["kernel"].astype(x.dtype) + dense["bias"].astype(x.dtype)[None, :]
