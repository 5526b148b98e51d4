"""ELR+: early-learning regularization of two networks, each held to what the other's average says.

Symbols: k = 1, 2 the networks, f_ik = the logits of network k on x̃_ik, p_ik = softmax(f_ik) within
[1e-4, 1 − 1e-4]; q_ik = the probabilities that the moving average of k's *peer* gives example i as it
is, unmixed; t_ik = the target of example i for network k, kept from visit to visit, starting at 0;
β = how much of it is kept, λ = the weight; s_k = the share of the larger half of k's mixtures, j = the
partner of i in them:

    x̃_ik = s_k x_i + (1 − s_k) x_j,  ỹ_ik = s_k e(y_i) + (1 − s_k) e(y_j)
    t_ik ← β t_ik + (1 − β) q_ik
    t̃_ik = s_k t_ik + (1 − s_k) t_jk
    T = Σ_k mean_i [−Σ_c ỹ_ikc log softmax(f_ik)_c + λ log(1 − ⟨p_ik, t̃_ik⟩)]

Without the average, the peer and the mixing it is ELR (`elr`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import Method
from famus_jax.losses import soft_cross_entropy
from famus_jax.memory import Memory, rows_of
from famus_jax.methods.co_teaching import pair_of
from famus_jax.methods.per_example import (
    bounded_probabilities,
    check_sizes,
    mean_weights,
    memory_dtype,
)

PyTree = Any
_NEEDED = ("target", "peer", "partner", "share")


def elr_plus(
    num_examples: int,
    num_classes: int,
    *,
    weight: float = 3.0,
    decay: float = 0.7,
    dtype: Any = jnp.float32,
) -> Method:
    """ELR+: two networks as one, no trusted labels, T as above.

    It is for `problem(famus_jax.forward.pair(forward), elr_plus(N, C))`. Batches hold, beside
    `"index"`, `"each"`: for network k its mixed input and `"target"` ỹ [n, C], `"peer"` q [n, C],
    `"partner"` j int [n] and `"share"` s, a scalar. `famus_jax.train.peer_targets` makes them of the
    state of `train_step(ema=0.997)`. The loss that a step reports is the sum of both networks'.

    Published: λ = 3, β = 0.7 (CIFAR-10, symmetric noise); 1, 0.9 (asymmetric); 7, 0.9 (CIFAR-100);
    mixup with Beta(1, 1), a moving average with decay 0.997, PreAct-ResNet-18, batches of 128, learning
    rate 0.02, weight decay 5e-4. Not in here: what the released code does for CIFAR-100 only, labels
    multiplied with the targets and a λ that rises over 40,000 steps.

    Args:
      num_examples: N, the size of the training set, as `batch["index"]` counts it.
      num_classes: C.
      weight: λ, 0 or more; 0 is mixup of both networks.
      decay: β, in [0, 1).
      dtype: of the targets, float32 or bfloat16.

    Raises:
      ValueError: for a size, weight, decay or dtype that can't be; from the loss, for outputs of one
        network or a batch without `"each"`.

    Source: Liu et al., Early-Learning Regularization Prevents Memorization of Noisy Labels, NeurIPS
    2020, https://arxiv.org/abs/2007.00151.

    Example:
      >>> method = elr_plus(num_examples=1, num_classes=2, decay=0.5, weight=1.0)
      >>> own = {"target": jnp.array([[1.0, 0.0]]), "peer": jnp.array([[0.25, 0.75]]),
      ...        "partner": jnp.array([0]), "share": jnp.array(1.0)}
      >>> batch = {"each": (own, own), "memory": method.memory.init(None)}
      >>> loss, _ = method.loss((), {"pair": jnp.zeros((1, 2, 2))}, batch)
      >>> round(float(loss), 4)  # twice log 2 + log(1 - 1/4), of the targets 1/8 and 3/8
      0.8109
    """
    check_sizes("elr_plus", num_examples, num_classes)
    if weight < 0:
        raise ValueError(
            f"elr_plus: weight, of the regularization, must be 0 or more; got {weight}"
        )
    if not 0 <= decay < 1:
        raise ValueError(f"elr_plus: decay, of the targets, must lie in [0, 1); got {decay}")
    dtype = memory_dtype("elr_plus", dtype)

    def init(key):
        del key
        return jnp.zeros((num_examples, 2, num_classes), dtype)

    def update(targets, outputs, batch):
        del outputs
        peer = jnp.stack([own["peer"] for own in _each(batch)], 1)
        return decay * targets + (1 - decay) * jax.lax.stop_gradient(peer)

    def loss(theta, outputs, batch):
        del theta
        targets = update(rows_of(batch), outputs, batch)
        losses = _cross_entropies(outputs, batch)
        for k, own in enumerate(_each(batch)):
            t, share = targets[:, k], own["share"]
            mixed = share * t + (1 - share) * t[own["partner"]]
            p = bounded_probabilities(pair_of(outputs, "elr_plus")[:, k])
            losses += (weight * jnp.log1p(-(p * mixed).sum(1))).astype(losses.dtype)
        return losses.mean(), mean_weights(losses)

    return Method(
        name="elr_plus",
        init=lambda key, n: (),
        loss=loss,
        meta_optimizer=optax.identity(),
        example_loss=_cross_entropies,
        reweights=False,
        memory=Memory(init, update),
    )


def _cross_entropies(outputs: PyTree, batch: PyTree) -> jax.Array:
    """Both networks', summed: [n]."""
    logits = pair_of(outputs, "elr_plus")
    return sum(
        (soft_cross_entropy(logits[:, k], own) for k, own in enumerate(_each(batch))),
        start=jnp.zeros(logits.shape[0], logits.dtype),
    )


def _each(batch: PyTree) -> tuple[Mapping[str, jax.Array], ...]:
    each = batch.get("each") if isinstance(batch, Mapping) else None
    if each is None or any(name not in own for own in each for name in _NEEDED):
        held = list(batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(
            f'elr_plus reads batch["each"], for each of the two networks {", ".join(_NEEDED)}; this '
            f"batch holds {held}: famus_jax.train.peer_targets.PeerTargets makes them"
        )
    return each
