"""Sparse over-parameterization: every example learns how far its label is off.

Symbols: f = logits, p = softmax(f), y = the given labels, one-hot, h = the network's own class,
one-hot, as a number; u_i in R, v_i in R^C = what is learned of example i; [x] = x as a number (no
derivative); ε = 1e-4.

    U_i = u_i² y_i,    V_i = v_i² (1 − y_i)                                          each within [0, 1]
    q_i = max(p_i + U_i − [V_i], ε),    over its sum
    T = mean_i [−log q_i at y_i + ‖h_i + U_i − V_i − y_i‖²]

The network, u and v descend T, each with its own step size: u and v by plain SGD. Near 0 a square
grows by a factor per step, slowly at first: the network learns before them, and what it then denies of
a label goes to U and V instead of to the network.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import Method
from famus_jax.losses import labels_of, logits_of_classes, softmax_cross_entropy
from famus_jax.memory import Memory, rows_of
from famus_jax.methods.per_example import check_sizes, mean_weights, memory_dtype

_FLOOR = 1e-4


def sop(
    num_examples: int,
    num_classes: int,
    *,
    u_step: float = 10.0,
    v_step: float = 10.0,
    deviation: float = 1e-8,
    dtype: Any = jnp.float32,
) -> Method:
    """Sparse Over-Parameterization (SOP): one network, no trusted labels.

    Published step sizes, for batches of 128: u 10 and v 10 (CIFAR-10); 1 and 10 (CIFAR-100), 0.1 and
    100 there for asymmetric noise. They belong to a mean over the batch, and are not decayed. Batches
    name their examples by `batch["index"]`; see `Memory`. The published SOP+ adds a consistency and a
    balance term, which are not in here.

    Args:
      num_examples: N, the size of the training set, as `batch["index"]` counts it.
      num_classes: C.
      u_step, v_step: of plain SGD on u and v, 0 or more.
      deviation: u and v start as normal numbers with this standard deviation; at 0 they stay there.
      dtype: of u and v, float32 or bfloat16.

    Raises:
      ValueError: for a size, step or dtype that can't be; from the loss, for a network with another
        number of classes.

    Source: Liu, Zhu, Qu, You, Robust Training under Label Noise by Over-parameterization, ICML 2022,
    https://arxiv.org/abs/2202.14026; where the paper leaves room, as the released code.

    Example:
      >>> method = sop(num_examples=1, num_classes=2)
      >>> rows = {"u": jnp.array([0.5]), "v": jnp.array([[0.0, 0.5]])}  # U = (¼, 0), V = (0, ¼)
      >>> batch = {"label": jnp.array([0]), "memory": rows}
      >>> logits = jnp.log(jnp.array([[1.0, 3.0]]))  # p = ¼, ¾, and the label is the first
      >>> round(float(method.loss((), logits, batch)[0]), 4)  # log 2 + (¾)² + (¾)²
      1.8181
    """
    check_sizes("sop", num_examples, num_classes)
    for name, value in {"u_step": u_step, "v_step": v_step, "deviation": deviation}.items():
        if not value >= 0:
            raise ValueError(f"sop: {name} must be 0 or more; got {value}")
    dtype = memory_dtype("sop", dtype)

    def init(key):
        keys = jax.random.split(key)
        u = deviation * jax.random.normal(keys[0], (num_examples,), jnp.float32)
        v = deviation * jax.random.normal(keys[1], (num_examples, num_classes), jnp.float32)
        return {"u": u.astype(dtype), "v": v.astype(dtype)}

    def terms(rows, outputs, batch):
        """What T is the mean of, [n]."""
        logits = logits_of_classes(outputs, num_classes, f"sop({num_examples}, {num_classes})")
        labels = labels_of(batch, logits)
        p = jax.nn.softmax(logits.astype(jnp.promote_types(logits.dtype, rows["v"].dtype)))
        y = jax.nn.one_hot(labels, num_classes, dtype=p.dtype)
        h = jax.nn.one_hot(logits.argmax(-1), num_classes, dtype=p.dtype)
        u = jnp.clip(rows["u"][:, None] ** 2 * y, 0, 1)
        v = jnp.clip(rows["v"] ** 2 * (1 - y), 0, 1)
        q = jnp.maximum(p + u - jax.lax.stop_gradient(v), _FLOOR)
        of_label = (q * y).sum(1) / q.sum(1)
        losses = -jnp.log(jnp.maximum(of_label, _FLOOR)) + ((h + u - v - y) ** 2).sum(1)
        return jnp.where((labels >= 0) & (labels < num_classes), losses, jnp.nan)

    def loss(theta, outputs, batch):
        del theta
        losses = terms(rows_of(batch), outputs, batch)
        return losses.mean(), mean_weights(losses)

    def update(rows, outputs, batch):
        slope = jax.grad(lambda rows: terms(rows, outputs, batch).mean())(rows)
        steps = {"u": u_step, "v": v_step}
        return {name: rows[name] - steps[name] * slope[name] for name in rows}

    return Method(
        name="sop",
        init=lambda key, n: (),
        loss=loss,
        meta_optimizer=optax.identity(),
        example_loss=softmax_cross_entropy,
        reweights=False,
        memory=Memory(init, update),
    )
