"""Meta loss correction: a transition matrix between classes, learned for every batch.

Symbols: f = logits [n, C], M = θ = the transition matrix [C, C], y = the given labels, β = the step of
M, G = ∂L_val/∂M.

    T(f, M) = mean CE(f M, y),  (f M)_j = Σ_k f_k M_kj
    M' = columns of max(M − β G, 0), each over its sum

Row k, column j: how much of class k's logit goes to label j. Columns sum to one, so that a corrected
logit is a mean of logits. At M = I this is plain cross-entropy.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import ExampleLoss, Method
from famus_jax.losses import logits_of, softmax_cross_entropy

PyTree = Any


def mlc(
    num_classes: int,
    *,
    step: float = 70.0,
    carry: bool = False,
    example_loss: ExampleLoss = softmax_cross_entropy,
) -> Method:
    """Meta Loss Correction: the network learns from logits that a transition matrix has corrected.

    Evaluate and predict with the logits as they are: the matrix stands for the noise, not for the
    classes. The weights that a step reports are 1/n: it does not reweight examples.

    Args:
      num_classes: C.
      step: β, of the matrix. It is 0.11 in the released code, whose losses are sums over batches of 64
        and whose virtual step is ten times as long as the actual one: with means and one learning
        rate, 0.11 · 64 · 10.
      carry: keep the matrix from batch to batch (with a smaller β, see `docs/methods.md`); by
        default, as published, it starts at I for each.
      example_loss: of the corrected logits; also, of the logits as they are, the meta loss.

    Raises:
      ValueError: for fewer than two classes or a step that is not positive.

    Returns:
      A `Method`.

    Source: Wang, Hu, Hu, Training Noise-Robust Deep Neural Networks via Meta-Learning, CVPR 2020.

    Example:
      >>> method = mlc(num_classes=2)
      >>> matrix = method.init(jax.random.key(0), 3)
      >>> matrix.tolist()
      [[1.0, 0.0], [0.0, 1.0]]
      >>> loss, _ = method.loss(matrix, jnp.zeros((1, 2)), {"label": jnp.array([0])})
      >>> round(float(loss), 4)  # at the identity: cross-entropy, log 2
      0.6931
    """
    if num_classes < 2:
        raise ValueError(
            f"mlc corrects between classes: num_classes must be 2 or more; got {num_classes}"
        )
    if step <= 0:
        raise ValueError(f"step, of the transition matrix, must be positive; got {step}")

    def init(key, n):
        del key, n
        return jnp.eye(num_classes, dtype=jnp.float32)

    def loss(matrix, outputs, batch):
        losses = example_loss(corrected(outputs, matrix), batch)
        return losses.mean(), jnp.full_like(losses, 1 / losses.shape[0])

    return Method(
        name="mlc",
        init=init,
        loss=loss,
        meta_optimizer=transition_step(step),
        example_loss=example_loss,
        reset_each_batch=not carry,
        reweights=False,
    )


def corrected(outputs: PyTree, matrix: jax.Array) -> PyTree:
    """Outputs with their logits f replaced by f M.

    Args:
      outputs: logits [n, C], or a dict that holds them under `"logits"`.
      matrix: M, [C, C].

    Raises:
      ValueError: if the network has another number of classes than the matrix.

    Example:
      >>> moved = jnp.array([[1.0, 0.0], [0.5, 0.5]])  # half of class 1's logit goes to label 0
      >>> corrected(jnp.array([[0.0, 2.0]]), moved).tolist()
      [[1.0, 1.0]]
    """
    logits = logits_of(outputs)
    if logits.shape[-1] != matrix.shape[0]:
        raise ValueError(
            f"the network returns {logits.shape[-1]} logits, but the transition matrix is "
            f"{matrix.shape[0]} x {matrix.shape[1]}: use mlc(num_classes={logits.shape[-1]})"
        )
    logits = logits @ matrix.astype(logits.dtype)
    return {**outputs, "logits": logits} if isinstance(outputs, dict) else logits


def transition_step(step: float) -> optax.GradientTransformation:
    """The rule of `mlc`: M' = the columns of max(M − β G, 0), each over its sum.

    A column of which nothing is left stays as it was. The update needs M itself:
    `update(G, state, M)`.

    Args:
      step: β.

    Returns:
      An `optax.GradientTransformation` without a state, whose update raises `ValueError` without M.

    Example:
      >>> rule, matrix = transition_step(0.5), jnp.eye(2)
      >>> gradient = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
      >>> update, _ = rule.update(gradient, rule.init(matrix), matrix)
      >>> optax.apply_updates(matrix, update).tolist()
      [[0.5, 0.0], [0.5, 1.0]]
    """

    def moved(gradient: jax.Array, matrix: jax.Array) -> jax.Array:
        new = jnp.maximum(matrix - step * gradient, 0)
        total = new.sum(0, keepdims=True)
        some = total != 0
        return jnp.where(some, new / jnp.where(some, total, 1), matrix) - matrix

    def update(updates, state, params=None):
        if params is None:
            raise ValueError(
                "transition_step projects the matrix: pass it, update(G, state, matrix)"
            )
        return jax.tree.map(moved, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
