"""Early-learning regularization: what the network said early speaks against a label it learns later.

Symbols: f = logits, p = softmax(f) within [1e-4, 1 − 1e-4], y = the given labels, t_i = the target of
example i, kept from visit to visit, starting at 0; β = how much of it is kept, λ = the weight.

    t_i ← β t_i + (1 − β) p_i / Σ_c p_ic         (as a number: no derivative flows through it)
    T = mean_i [−log softmax(f_i)_{y_i} + λ log(1 − Σ_c p_ic t_ic)]

The second term falls as the prediction agrees with its own past, so its gradient holds the network
where it was before it learned wrong labels by heart.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import ExampleLoss, Method
from famus_jax.losses import logits_of_classes, softmax_cross_entropy
from famus_jax.memory import Memory, rows_of
from famus_jax.methods.per_example import (
    bounded_probabilities,
    check_sizes,
    mean_weights,
    memory_dtype,
)


def elr(
    num_examples: int,
    num_classes: int,
    *,
    weight: float = 3.0,
    decay: float = 0.7,
    example_loss: ExampleLoss = softmax_cross_entropy,
    dtype: Any = jnp.float32,
) -> Method:
    """Early-Learning Regularization (ELR): one network, no trusted labels.

    Published settings: `weight` λ = 3, `decay` β = 0.7 (CIFAR-10, symmetric noise); 1 and 0.9
    (asymmetric); 7 and 0.9 (CIFAR-100). The probabilities are kept within [1e-4, 1 − 1e-4], as in the
    released code. Batches name their examples by `batch["index"]`; see `Memory`.

    Args:
      num_examples: N, the size of the training set, as `batch["index"]` counts it.
      num_classes: C.
      weight: λ, 0 or more; 0 is plain training on `example_loss`.
      decay: β, in [0, 1).
      example_loss: `(outputs, batch) -> ℓ [n]`, in the place of cross-entropy.
      dtype: of the targets, float32 or bfloat16.

    Raises:
      ValueError: for a size, weight, decay or dtype that can't be; from the loss, for a network with
        another number of classes.

    Source: Liu et al., Early-Learning Regularization Prevents Memorization of Noisy Labels, NeurIPS
    2020, https://arxiv.org/abs/2007.00151.

    Example:
      >>> method = elr(num_examples=2, num_classes=2, decay=0.5)
      >>> targets = method.memory.init(jax.random.key(0))
      >>> logits = jnp.log(jnp.array([[3.0, 1.0]]))  # p = 3/4, 1/4
      >>> method.memory.update(targets[:1], logits, None).round(4).tolist()
      [[0.375, 0.125]]
      >>> batch = {"label": jnp.array([1]), "memory": targets[:1]}
      >>> round(float(method.loss((), logits, batch)[0]), 4)  # log 4 + 3 log(1 - 5/16)
      0.2622
    """
    check_sizes("elr", num_examples, num_classes)
    if weight < 0:
        raise ValueError(f"elr: weight, of the regularization, must be 0 or more; got {weight}")
    if not 0 <= decay < 1:
        raise ValueError(f"elr: decay, of the targets, must lie in [0, 1); got {decay}")
    dtype = memory_dtype("elr", dtype)

    def init(key):
        del key
        return jnp.zeros((num_examples, num_classes), dtype)

    def probabilities(outputs):
        logits = logits_of_classes(outputs, num_classes, f"elr({num_examples}, {num_classes})")
        return bounded_probabilities(logits)

    def update(targets, outputs, batch):
        del batch
        p = jax.lax.stop_gradient(probabilities(outputs))
        return decay * targets + (1 - decay) * (p / p.sum(1, keepdims=True))

    def loss(theta, outputs, batch):
        del theta
        losses = example_loss(outputs, batch)
        if weight:
            targets = update(rows_of(batch), outputs, batch)
            agreement = (probabilities(outputs) * targets).sum(1)
            losses += (weight * jnp.log1p(-agreement)).astype(losses.dtype)
        return losses.mean(), mean_weights(losses)

    return Method(
        name="elr",
        init=lambda key, n: (),
        loss=loss,
        meta_optimizer=optax.identity(),
        example_loss=example_loss,
        reweights=False,
        memory=Memory(init, update),
    )
