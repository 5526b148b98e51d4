"""One weight for every source of labels: an annotator, a search engine, a folder.

Symbols: s_i = the source of example i, θ ∈ R^S, S = sources:

    V_i = S softmax(θ)_{s_i}  or  sigmoid(θ_{s_i}),    T = Σ_i V_i ℓ_i, V over its sum or over n
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from famus_jax.core.checks import is_known
from famus_jax.core.method import ExampleLoss, MetaLoss, Method
from famus_jax.losses import Normalization, normalizer, softmax_cross_entropy

PyTree = Any


def source_weights(
    num_sources: int,
    example_loss: ExampleLoss = softmax_cross_entropy,
    *,
    squash: Literal["softmax", "sigmoid"] = "softmax",
    normalize: Normalization = "sum",
    meta_optimizer: optax.GradientTransformation | None = None,
    meta_loss: MetaLoss | None = None,
) -> Method:
    """Learns how far each source of labels is to be trusted.

    Batches name the source of each example, `batch["source"]`, int [n], from 0 to S − 1; meta batches
    need not. All sources start alike.

    Args:
      num_sources: S.
      example_loss: `(outputs, batch) -> ℓ [n]`.
      squash: `"softmax"` compares the sources with each other; `"sigmoid"` judges each alone, within
        (0, 1).
      normalize, meta_optimizer, meta_loss: as `mwnet` takes them.

    Returns:
      A `Method`.

    Raises:
      ValueError: for no sources, another `squash` or `normalize`; from the loss, for a batch without
        sources or one that is none (NaN where that is not known until the compiled program runs).

    Source: a Meta-Weight-Net (Shu et al., NeurIPS 2019, https://arxiv.org/abs/1902.07379) whose input
    is the source, as one-hot, and not the loss.

    Example:
      >>> method = source_weights(2)
      >>> batch = {"label": jnp.array([0, 1, 1]), "source": jnp.array([0, 1, 1])}
      >>> theta = jnp.log(jnp.array([1.0, 3.0]))  # the second counts three times as much
      >>> weights = method.loss(theta, jnp.zeros((3, 2)), batch)[1]
      >>> [round(float(w), 4) for w in weights]
      [0.1429, 0.4286, 0.4286]
    """
    if num_sources < 1:
        raise ValueError(f"source_weights: num_sources must be 1 or more; got {num_sources}")
    if squash not in ("softmax", "sigmoid"):
        raise ValueError(f'source_weights: squash must be "softmax" or "sigmoid"; got {squash!r}')
    scale = normalizer(normalize)

    def init(key, n):
        del key, n
        return jnp.zeros((num_sources,), jnp.float32)

    def loss(theta, outputs, batch):
        losses = example_loss(outputs, batch)
        source = sources_of(batch, num_sources, losses.shape[0])
        all_values = jax.nn.sigmoid(theta)
        if squash == "softmax":
            all_values = num_sources * jax.nn.softmax(theta)
        values = all_values[jnp.clip(source, 0, num_sources - 1)]
        values = jnp.where((source >= 0) & (source < num_sources), values, jnp.nan)
        weights = scale(values.astype(jnp.promote_types(losses.dtype, values.dtype)))
        return jnp.vdot(weights, losses), weights

    return Method(
        name="source_weights",
        init=init,
        loss=loss,
        meta_optimizer=meta_optimizer or optax.adam(3e-3),
        example_loss=example_loss,
        meta_loss=meta_loss,
    )


def sources_of(batch: PyTree, num_sources: int, n: int) -> jax.Array:
    """`batch["source"]`, looked at.

    Args:
      batch: a mapping.
      num_sources: S.
      n: the batch size.

    Returns:
      int [n].

    Raises:
      ValueError: if there are none, of another shape or type, or (where values are known) outside of
        0..S−1.

    Example:
      >>> sources_of({"source": jnp.array([1, 0])}, 2, 2).tolist()
      [1, 0]
    """
    if not isinstance(batch, Mapping) or "source" not in batch:
        held = sorted(batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(
            f'source_weights reads batch["source"], int [n], where each label comes from; this batch '
            f"holds {held}: add it"
        )
    source = jnp.asarray(batch["source"])
    if source.shape != (n,) or not jnp.issubdtype(source.dtype, jnp.integer):
        raise ValueError(
            f'batch["source"] is {source.dtype}{list(source.shape)}, and should be whole numbers, int '
            f"[{n}]: one source for each example"
        )
    if is_known(batch["source"]):
        numbers = np.asarray(batch["source"])
        outside = (numbers < 0) | (numbers >= num_sources)
        if outside.any():
            row = int(outside.argmax())
            raise ValueError(
                f'batch["source"] is {numbers[row]} at example {row}, and there are {num_sources} '
                f"sources, 0 to {num_sources - 1}: source_weights({int(numbers.max()) + 1}), or number "
                "them anew"
            )
    return source
