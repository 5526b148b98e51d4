"""Weights from any columns: the loss, the network's features, and what the user knows of each example.

Symbols: x_i = the columns of example i but its loss, side by side, ℓ_i = its loss:

    V_i = sigmoid(d + Σ_k a_k relu(c_k ℓ_i + b_k + W_k · x_i)),    T = Σ_i V_i ℓ_i

with V over its sum or over n. The columns are numbers: no derivative flows into the network through
them. With a_k c_k ≤ 0 (`monotone`, as in `mwnet`) V does not rise with the loss, whatever the other
columns are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import ExampleLoss, MetaLoss, Method
from famus_jax.losses import Normalization, features_of, normalizer, softmax_cross_entropy
from famus_jax.methods.mwnet import Start, head_weights, moving, weighting_net

PyTree = Any


def scored(
    columns: Mapping[str, int],
    example_loss: ExampleLoss = softmax_cross_entropy,
    *,
    hidden: int = 100,
    normalize: Normalization = "sum",
    start: Start = "flat",
    monotone: bool = True,
    meta_optimizer: optax.GradientTransformation | None = None,
    meta_loss: MetaLoss | None = None,
) -> Method:
    """A Meta-Weight-Net that sees more than the loss.

    `"loss"` is the example's loss; `"features"` the network's features, from the forward pass's
    outputs (`linen_forward(model, features=True)`), scaled to a mean square of 1; every other name
    a column of the training batch, `batch[name]`, float or int [n] or [n, size], which should be of
    the order of 1. The meta batch needs none of them.

    Args:
      columns: name -> size of each, such as `{"loss": 1, "features": 64, "quality": 1}`.
      example_loss: `(outputs, batch) -> ℓ [n]`.
      monotone: V never rises with the loss; without `"loss"` among the columns it changes nothing.
      hidden, normalize, start, meta_optimizer, meta_loss: as `mwnet` takes them.

    Returns:
      A `Method`.

    Raises:
      ValueError: as `mwnet`; for no columns, or a size that can't be; from the loss, for a column that
        is not there or of another size.

    Source: Shu et al., Meta-Weight-Net, NeurIPS 2019, https://arxiv.org/abs/1902.07379, with inputs
    beyond the loss, as Zheng et al., Meta Label Correction, AAAI 2021,
    https://arxiv.org/abs/1911.03809, have them.

    Example:
      >>> method = scored({"loss": 1, "quality": 1}, hidden=10, meta_optimizer=optax.sgd(1.0))
      >>> theta = method.init(jax.random.key(0), 2)
      >>> batch = {"label": jnp.array([0, 1]), "quality": jnp.array([0.1, 0.9])}
      >>> method.loss(theta, jnp.zeros((2, 3)), batch)[1].tolist()  # flat at first
      [0.5, 0.5]
    """
    sizes = {name: size for name, size in dict(columns).items() if name != "loss"}
    if not columns or any(size < 1 for size in columns.values()) or columns.get("loss", 1) != 1:
        raise ValueError(
            'scored: columns are names and sizes, such as {"loss": 1, "features": 64}; got '
            f"{dict(columns)}"
        )
    monotone = monotone and "loss" in columns
    scale, net = normalizer(normalize), weighting_net("scored", hidden, 1, start, monotone)

    def init(key, n):
        theta = net(key, n)
        if "loss" not in columns:
            theta["kernel_1"] = jnp.zeros_like(theta["kernel_1"])
        for name, size in sizes.items():
            own = jax.random.fold_in(key, sum(name.encode()))
            bound = size**-0.5
            theta[f"column_{name}"] = jax.random.uniform(
                own, (size, hidden), jnp.float32, -bound, bound
            )
        return theta

    def loss(theta, outputs, batch):
        losses = example_loss(outputs, batch)
        seen = jax.lax.stop_gradient(losses)
        if "loss" not in columns:
            seen = jnp.zeros_like(seen)
        more = 0.0
        for name, size in sizes.items():
            kernel = theta[f"column_{name}"]
            column = column_of(name, size, outputs, batch, losses.shape[0])
            more = more + column.astype(kernel.dtype) @ kernel
        weights = scale(head_weights(theta, seen, more)[:, 0])
        return jnp.vdot(weights, losses), weights

    return Method(
        name="scored",
        init=init,
        loss=loss,
        meta_optimizer=moving(meta_optimizer, monotone),
        example_loss=example_loss,
        meta_loss=meta_loss,
    )


def column_of(name: str, size: int, outputs: PyTree, batch: PyTree, n: int) -> jax.Array:
    """A column as a matrix of numbers, [n, size].

    Args:
      name: `"features"`, or a key of the batch.
      size: of the column.
      outputs, batch: of the training step.
      n: the batch size.

    Raises:
      ValueError: for a column that is not there or has another shape.

    Example:
      >>> column_of("quality", 1, None, {"quality": jnp.array([1, 2])}, 2).tolist()
      [[1.0], [2.0]]
    """
    if name == "features":
        found = features_of(outputs, "scored")
        wide = found.astype(jnp.promote_types(found.dtype, jnp.float32))
        square = (wide**2).mean(1, keepdims=True)
        found = wide * jax.lax.rsqrt(jnp.where(square > 0, square, 1))
    elif not isinstance(batch, Mapping) or name not in batch:
        held = sorted(batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(
            f'scored reads batch["{name}"], [n] or [n, {size}], and this batch holds {held}: add it, '
            'or leave it out of columns ("loss" and "features" are not of the batch)'
        )
    else:
        found = jnp.asarray(batch[name])
        found = found.reshape(found.shape[0], -1) if found.ndim else found
        if not jnp.issubdtype(found.dtype, jnp.floating):
            found = found.astype(jnp.float32)
    if found.shape != (n, size):
        raise ValueError(
            f'scored: column "{name}" is {list(found.shape)}, and should be {[n, size]}: '
            f'columns={{"{name}": {found.shape[-1] if found.ndim else 1}, ...}}'
        )
    return jax.lax.stop_gradient(found)
