"""MixMatch-style training on a labeled and an unlabeled part, with learned weights on both.

Symbols: f_i = logits of a mixed example, p_i = softmax(f_i), q_i = its soft target, C = classes; a
batch of n holds n_x examples of the labeled part and n_u of the unlabeled one; ℓ_i = the loss of
an example, V_i(θ) = its weight, λ_u = the weight of the unlabeled part, π = the uniform prior,
λ_π = the weight of the penalty:

    ℓ_i = −Σ_c q_ic log p_ic  (labeled),   ‖p_i − q_i‖² / C  (unlabeled),   Σ_i V_i = 1,
    T = (n / n_x) Σ_{i labeled} V_i ℓ_i + λ_u (n / n_u) Σ_{i unlabeled} V_i ℓ_i
        + λ_π KL(π ‖ mean_i p_i).

With all V_i = 1/n this is the loss of DivideMix (https://arxiv.org/abs/2002.07394); with those of a
weighting net it is that of FaMUS's released pipeline (https://arxiv.org/abs/2104.15092).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import MetaLoss, Method
from famus_jax.losses import logits_of, normalize_by_sum
from famus_jax.methods.mwnet import mwnet, mwnet_weight

PyTree = Any


def mixmatch(
    *,
    reweight: bool = True,
    hidden: int = 100,
    prior_weight: float = 1.0,
    meta_optimizer: optax.GradientTransformation | None = None,
) -> Method:
    """Weights learned on a labeled and an unlabeled part at once: T as above.

    Batches are mappings with `"target"`, float [n, C], rows summing to 1, `"labeled"`, float [n], 1
    for the labeled part and 0 for the other (all labeled where it is missing, as in meta batches)
    and, if there are unlabeled ones, `"lambda_u"`, a scalar. The weights that it reports are V
    (Σ V = 1), without the factors that the parts have in T; hence `reweights=False`. The meta loss is
    `mixmatch_meta_loss`.

    Args:
      reweight: learn V; else V_i = 1/n and there is no θ.
      hidden, meta_optimizer: of the weighting net, which is `mwnet`'s as published (losses of the
        unlabeled part are of another scale, so that V need not fall); by default SGD, 1e-3, 0.9.
      prior_weight: λ_π.

    Returns:
      A `Method`.

    Source: released pipeline of FaMUS (CVPR 2021), which extends Algorithm 2; Li et al., DivideMix,
    ICLR 2020.

    Example:
      >>> method = mixmatch(reweight=False, prior_weight=0.0)
      >>> batch = {"target": jnp.array([[1.0, 0.0], [0.5, 0.5]]), "labeled": jnp.array([1, 0])}
      >>> outputs = jnp.array([[0.0, 0.0], [9.0, 9.0]])  # the unlabeled one as its target says
      >>> loss, weights = method.loss((), outputs, {**batch, "lambda_u": jnp.array(5.0)})
      >>> round(float(loss), 4), weights.tolist()  # log 2
      (0.6931, [0.5, 0.5])
    """
    meta_optimizer = meta_optimizer or optax.sgd(1e-3, momentum=0.9)
    net = mwnet(hidden=hidden, start="random", monotone=False, meta_optimizer=meta_optimizer)

    def loss(theta, outputs, batch):
        losses = mixed_loss(outputs, batch)
        n = losses.shape[0]
        weights = jnp.full_like(losses, 1 / n)
        if reweight:
            weights = normalize_by_sum(mwnet_weight(theta, jax.lax.stop_gradient(losses)))
        labeled = _labeled(batch, losses)
        unlabeled = 1 - labeled
        value = _share(labeled) * jnp.vdot(weights * labeled, losses)
        if "lambda_u" in batch:
            value += batch["lambda_u"] * _share(unlabeled) * jnp.vdot(weights * unlabeled, losses)
        return value + prior_weight * prior_penalty(outputs), weights

    if not reweight:
        return Method("dividemix", lambda key, n: (), loss, optax.identity(), mixed_loss)
    meta_loss = mixmatch_meta_loss(prior_weight)
    return Method(
        name="mixmatch",
        init=net.init,
        loss=loss,
        meta_optimizer=net.meta_optimizer,
        example_loss=mixed_loss,
        meta_loss=meta_loss,
        reweights=False,
    )


def mixmatch_meta_loss(prior_weight: float = 1.0) -> MetaLoss:
    """The meta loss of the released pipeline: mean soft cross-entropy + λ_π KL(π ‖ mean p).

    Args:
      prior_weight: λ_π.

    Returns:
      `(outputs, meta_batch) -> L_val`, a scalar.

    Example:
      >>> trusted = {"target": jnp.array([[1.0, 0.0], [0.0, 1.0]])}
      >>> round(float(mixmatch_meta_loss()(jnp.zeros((2, 2)), trusted)), 4)  # log 2; the mean is π
      0.6931
    """

    def meta_loss(outputs: PyTree, batch: PyTree) -> jax.Array:
        return mixed_loss(outputs, batch).mean() + prior_weight * prior_penalty(outputs)

    return meta_loss


def mixed_loss(outputs: PyTree, batch: PyTree) -> jax.Array:
    """ℓ: cross-entropy of the labeled examples, mean squared error of the others.

    Args:
      outputs: logits [n, C], or a dict that holds them under `"logits"`.
      batch: see `mixmatch`.

    Returns:
      float [n].

    Raises:
      ValueError: if the batch has no soft targets of the logits' shape.

    Example:
      >>> target = jnp.array([[1.0, 0.0], [1.0, 0.0]])
      >>> batch = {"target": target, "labeled": jnp.array([1, 0])}
      >>> [round(float(x), 4) for x in mixed_loss(jnp.zeros((2, 2)), batch)]  # log 2, (½² + ½²) / 2
      [0.6931, 0.25]
    """
    logits = logits_of(outputs)
    target = batch.get("target") if hasattr(batch, "get") else None
    if target is None or target.shape != logits.shape:
        held = None if target is None else target.shape
        raise ValueError(
            f'mixed_loss reads batch["target"], soft labels of the logits\' shape {logits.shape}; '
            f"got {held}: famus_jax.pseudo_clean.mix_training_batch makes such batches"
        )
    cross_entropy = optax.softmax_cross_entropy(logits, target)
    squared = ((jax.nn.softmax(logits) - target) ** 2).mean(-1)
    labeled = _labeled(batch, cross_entropy)
    return jnp.where(labeled > 0, cross_entropy, squared)


def prior_penalty(outputs: PyTree) -> jax.Array:
    """KL(π ‖ mean_i p_i), π uniform over the classes: 0 if the mean prediction is uniform.

    Args:
      outputs: see `mixed_loss`.

    Returns:
      A scalar.

    Example:
      >>> sure_of_one_class = jnp.array([[9.0, 0.0], [9.0, 0.0]])
      >>> float(prior_penalty(jnp.zeros((2, 2)))), float(prior_penalty(sure_of_one_class)) > 3
      (0.0, True)
    """
    mean = jax.nn.softmax(logits_of(outputs)).mean(0)
    count = mean.shape[0]
    return (jnp.log(1 / count) - jnp.log(jnp.maximum(mean, 1e-12))).sum() / count


def _labeled(batch: PyTree, losses: jax.Array) -> jax.Array:
    labeled = batch.get("labeled")
    return jnp.ones_like(losses) if labeled is None else labeled.astype(losses.dtype)


def _share(part: jax.Array) -> jax.Array:
    """n over the size of a part; 0 for an empty one."""
    return jnp.where(part.sum() > 0, part.shape[0] / jnp.maximum(part.sum(), 1), 0)
