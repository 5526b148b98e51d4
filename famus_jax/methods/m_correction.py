"""M-correction: labels that a mixture of losses finds wrong give way to the network's own predictions.

Symbols: y_i = the given label, z_i = the class that the network predicts for example i as it is, both
one-hot; w_i = the probability that label i is wrong, by a mixture of beta distributions over the losses
of the whole training set (`beta_mixture`), at the example's present loss; λ = the mixing coefficient,
j = the partner of i, f_i = logits on x̃_i, C = classes, η = the weight of the prior:

    q_i = (1 − w_i) y_i + w_i z_i                                       `bootstrapped_targets`
    x̃_i = λ x_i + (1 − λ) x_j,  q̃_i = λ q_i + (1 − λ) q_j
    T = mean_i [−Σ_c q̃_ic log softmax(f_i)_c] + η Σ_c (1/C) log((1/C) / mean_i softmax(f_i)_c)

That is the paper's M-DYR-H: mixup with dynamic hard bootstrapping. Cross-entropy is linear in its
target, so the paper's four losses of a pair are one, of the mixed target. In a warm-up w is 0 and there
is no prior: plain mixup.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import Method
from famus_jax.losses import soft_cross_entropy
from famus_jax.memory import Memory
from famus_jax.methods.beta_mixture import BetaMixture, first_mixture
from famus_jax.methods.mixmatch import prior_penalty
from famus_jax.methods.per_example import mean_weights

PyTree = Any


class LossModel(NamedTuple):
    """What M-correction carries from step to step, until it is fitted anew.

    Attributes:
      mixture: over the losses at the last fit.
      right: 1 − w of every training example at the last fit, float32 [N]; NaN before it.
    """

    mixture: BetaMixture
    right: Any


def bootstrapped_targets(labels: jax.Array, logits: jax.Array, wrong: jax.Array) -> jax.Array:
    """q: the given label as far as it looks right, else the predicted class.

    Args:
      labels: y, float [n, C].
      logits: of the examples as they are, [n, C].
      wrong: w, [n].

    Returns:
      float [n, C]. No derivative flows through it.

    Example:
      >>> labels, logits = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 3.0]])
      >>> bootstrapped_targets(labels, logits, jnp.array([0.25])).tolist()
      [[0.75, 0.25]]
    """
    own = jax.nn.one_hot(logits.argmax(-1), labels.shape[1], dtype=labels.dtype)
    w = jax.lax.stop_gradient(wrong)[:, None].astype(labels.dtype)
    return (1 - w) * labels + w * own


def m_correction(num_examples: int, *, prior_weight: float = 1.0) -> Method:
    """M-correction: the loss on a batch that is mixed already, and the place of the mixture.

    Batches hold `"target"`, q̃ [n, C], and `"corrects"`, a scalar: 1, or 0 in the warm-up. The mixture
    is in the method's memory, `state.meta.memory` in `train_step`, where a loop puts a new one at the
    start of every epoch; `famus_jax.train.loss_correction` does both.

    Published: η = 1, λ ~ Beta(32, 32), a warm-up of 105 of 300 epochs, PreAct-ResNet-18, batches of
    128, learning rate 0.1 divided by 10 after 100 and 250 epochs, weight decay 1e-4.

    Args:
      num_examples: N, the size of the training set, as `batch["index"]` counts it.
      prior_weight: η, 0 or more.

    Raises:
      ValueError: for a size or weight that can't be; from the loss, for a batch without targets.

    Source: Arazo et al., Unsupervised Label Noise Modeling and Loss Correction, ICML 2019,
    https://arxiv.org/abs/1904.11238.

    Example:
      >>> method = m_correction(2)
      >>> batch = {"target": jnp.eye(2), "corrects": jnp.array(1.0), "memory": method.memory.init(None)}
      >>> round(float(method.loss((), jnp.zeros((2, 2)), batch)[0]), 4)  # log 2; the mean is uniform
      0.6931
    """
    if num_examples < 1:
        raise ValueError(f"m_correction: num_examples must be at least 1; got {num_examples}")
    if prior_weight < 0:
        raise ValueError(
            f"m_correction: prior_weight, of the regularization, must be 0 or more; got {prior_weight}"
        )

    def init(key):
        del key
        unknown = jnp.full((num_examples,), jnp.nan, jnp.float32)
        return LossModel(jax.tree.map(jnp.asarray, first_mixture()), unknown)

    def loss(theta, outputs, batch):
        del theta
        losses = soft_cross_entropy(outputs, batch)
        prior = prior_weight * batch["corrects"] * prior_penalty(outputs)
        return losses.mean() + prior.astype(losses.dtype), mean_weights(losses)

    return Method(
        name="m_correction",
        init=lambda key, n: (),
        loss=loss,
        meta_optimizer=optax.identity(),
        example_loss=soft_cross_entropy,
        reweights=False,
        memory=Memory(init, lambda carried, outputs, batch: carried, per_example=False),
    )
