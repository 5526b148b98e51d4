"""Meta-Weight-Net: a small net from loss to weight. Symbols: see `famus_jax.core.method`; and

    V(ℓ) = sigmoid(d + Σ_k a_k relu(c_k ℓ + b_k))       c, b = kernel_1, bias_1; a, d = kernel_2, bias_2
    dV/dℓ = V (1 − V) Σ_{k: c_k ℓ + b_k > 0} a_k c_k

V can't rise with the loss if a_k c_k ≤ 0 for every unit k. Each unit has a sign s_k for good, +1 in
the first half and −1 in the second, and after every step of the meta-optimizer θ is put back to the
nearest point with s_k c_k ≥ 0 and s_k a_k ≤ 0: each number stays or becomes 0. Units of sign +1 make V
fall from some loss on, those of sign −1 up to some loss. V lies in (0, 1) as before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import ExampleLoss, MetaLoss, Method
from famus_jax.losses import Normalization, normalizer, softmax_cross_entropy

PyTree = Any
Start = Literal["flat", "random"]


def mwnet(
    example_loss: ExampleLoss = softmax_cross_entropy,
    *,
    hidden: int = 100,
    normalize: Normalization = "sum",
    start: Start = "flat",
    monotone: bool = True,
    meta_optimizer: optax.GradientTransformation | None = None,
    meta_loss: MetaLoss | None = None,
) -> Method:
    """Meta-Weight-Net: a small net gives every example its weight, from its loss alone.

    V_i = sigmoid(MLP(ℓ_i)) and T = Σ V_i ℓ_i, with V over its sum or over n. The weighting net
    1–`hidden`–1 (ReLU inside) sees the loss as a number: no derivative flows into the network through
    it. As published: `mwnet(start="random", monotone=False, meta_optimizer=optax.sgd(1e-3,
    momentum=0.9))`; that one may learn to prefer wrong labels, by seed (`docs/methods.md`).

    Args:
      example_loss: `(outputs, batch) -> ℓ [n]`.
      hidden: hidden units.
      normalize: `"sum"` divides V by Σ V over the batch (0 when every V is 0), `"n"` by n.
      start: `"flat"`: the last layer starts at 0, so that V is 1/2 for every loss, and training plain;
        `"random"`, as published: V starts as some function of the loss, rising or falling.
      monotone: V never rises with the loss. It then can't come to prefer wrong labels, whose losses
        are large; where the trusted examples seem to ask for that, V stays as flat as it can.
        Not for classes of unequal size with right labels: the rare ones' losses are large too.
      meta_optimizer: by default Adam, 3e-3.
      meta_loss: `(outputs, meta_batch) -> ()`; by default the mean of `example_loss`. (With a loss
        that is made for the training set, such as `ldam`, give one for the meta set.)

    Raises:
      ValueError: for another `normalize` or `start`, or without hidden units.

    Returns:
      A `Method`.

    Source: Shu et al., Meta-Weight-Net: Learning an Explicit Mapping For Sample Weighting, NeurIPS
    2019, https://arxiv.org/abs/1902.07379.

    Example:
      >>> method = mwnet(hidden=10)
      >>> theta = method.init(jax.random.key(0), 2)
      >>> batch = {"label": jnp.array([0, 1])}
      >>> loss, weights = method.loss(theta, jnp.zeros((2, 4)), batch)
      >>> round(float(loss), 4), weights.tolist()  # equal losses, equal weights
      (1.3863, [0.5, 0.5])
    """
    scale, init = normalizer(normalize), weighting_net("mwnet", hidden, 1, start, monotone)

    def loss(theta, outputs, batch):
        losses = example_loss(outputs, batch)
        weights = scale(mwnet_weight(theta, jax.lax.stop_gradient(losses)))
        return jnp.vdot(weights, losses), weights

    return Method(
        name="mwnet",
        init=init,
        loss=loss,
        meta_optimizer=moving(meta_optimizer, monotone),
        example_loss=example_loss,
        meta_loss=meta_loss,
    )


def weighting_net(
    whose: str, hidden: int, heads: int, start: Start, monotone: bool
) -> Callable[[jax.Array, int], PyTree]:
    """`init(key, n) -> θ` of a net 1–`hidden`–`heads`; see `mwnet` for the arguments.

    Args:
      whose: the method, for messages.

    Raises:
      ValueError: for another start, or without hidden units.

    Example:
      >>> theta = weighting_net("mine", 5, 2, "flat", True)(jax.random.key(0), 1)
      >>> {name: x.shape for name, x in sorted(theta.items())}
      {'bias_1': (5,), 'bias_2': (2,), 'kernel_1': (1, 5), 'kernel_2': (5, 2)}
    """
    if start not in ("flat", "random"):
        raise ValueError(f'{whose}: start must be "flat" or "random"; got {start!r}')
    if hidden < 1:
        raise ValueError(f"{whose}: hidden, a number of units, must be 1 or more; got {hidden}")

    def init(key, n):
        del n
        keys = jax.random.split(key, 4)
        bound = 1 / hidden**0.5

        def uniform(key, shape, bound):
            return jax.random.uniform(key, shape, jnp.float32, -bound, bound)

        theta = {
            "kernel_1": uniform(keys[0], (1, hidden), 1.0),
            "bias_1": uniform(keys[1], (hidden,), 1.0),
            "kernel_2": uniform(keys[2], (hidden, heads), bound),
            "bias_2": uniform(keys[3], (heads,), bound),
        }
        if monotone:
            sign = unit_signs(hidden)
            theta["kernel_1"] = sign[None, :] * jnp.abs(theta["kernel_1"])
            theta["kernel_2"] = -sign[:, None] * jnp.abs(theta["kernel_2"])
        if start == "flat":
            theta["kernel_2"] = jnp.zeros((hidden, heads), jnp.float32)
            theta["bias_2"] = jnp.zeros((heads,), jnp.float32)
        return theta

    return init


def moving(
    meta_optimizer: optax.GradientTransformation | None, monotone: bool
) -> optax.GradientTransformation:
    """What moves θ of such a net: Adam, 3e-3, where none is given, kept monotone where it must be."""
    meta_optimizer = meta_optimizer or optax.adam(3e-3)
    return kept_monotone(meta_optimizer) if monotone else meta_optimizer


def mwnet_weight(theta: PyTree, losses: jax.Array) -> jax.Array:
    """The weighting net of `mwnet` by itself, to plot what it has learned.

    Args:
      theta: θ, from the method's `init` or a state.
      losses: ℓ, float [n].

    Returns:
      V in (0, 1), float [n], not normalized.

    Example:
      >>> theta = mwnet().init(jax.random.key(0), 1)
      >>> mwnet_weight(theta, jnp.linspace(0, 5, 3)).shape
      (3,)
    """
    return head_weights(theta, losses)[:, 0]


def head_weights(theta: PyTree, losses: jax.Array, more: jax.Array | float = 0.0) -> jax.Array:
    """V of every head, float [n, heads].

    Args:
      theta: θ.
      losses: ℓ, float [n].
      more: float [n, hidden], what else goes into the hidden units.

    Example:
      >>> theta = weighting_net("mine", 5, 2, "flat", True)(jax.random.key(0), 1)
      >>> head_weights(theta, jnp.array([1.0])).tolist()
      [[0.5, 0.5]]
    """
    x = losses[:, None].astype(theta["kernel_1"].dtype)
    hidden = jax.nn.relu(x @ theta["kernel_1"] + theta["bias_1"][None, :] + more)
    return jax.nn.sigmoid(hidden @ theta["kernel_2"] + theta["bias_2"][None, :])


def unit_signs(hidden: int) -> jax.Array:
    """s, float32 [hidden]: +1 for the first half of the units (the larger one), −1 for the others.

    Example:
      >>> unit_signs(3).tolist()
      [1.0, 1.0, -1.0]
    """
    return jnp.where(jnp.arange(hidden) < (hidden + 1) // 2, 1.0, -1.0)


def kept_monotone(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """`optimizer`, after whose every step V of `mwnet` is put back to one that never rises.

    Args:
      optimizer: moves θ, a dict as `weighting_net` makes it; other entries move freely.

    Returns:
      A transformation with the same state. Its update needs θ, and raises `ValueError` without.

    Example:
      >>> theta = mwnet(hidden=2, start="flat", monotone=True).init(jax.random.key(0), 1)
      >>> rule = kept_monotone(optax.sgd(1.0))
      >>> rising = {**jax.tree.map(jnp.zeros_like, theta), "kernel_2": jnp.array([[-1.0], [1.0]])}
      >>> update, _ = rule.update(rising, rule.init(theta), theta)
      >>> float(jnp.abs(update["kernel_2"]).sum())  # V would rise with the loss: it stays flat
      0.0
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise ValueError(
                "kept_monotone looks where a step ends: pass θ, update(g, state, theta)"
            )
        moved: Any
        moved, state = optimizer.update(updates, state, params)
        sign = unit_signs(params["bias_1"].shape[0])

        def kept(name: str, sign: jax.Array) -> jax.Array:
            step, value = moved[name], params[name]
            return jnp.where(sign * (value + step) < 0, -value, step)  # to exactly 0

        kernels = {
            "kernel_1": kept("kernel_1", sign[None, :]),
            "kernel_2": kept("kernel_2", -sign[:, None]),
        }
        return {**moved, **kernels}, state

    return optax.GradientTransformation(optimizer.init, update)
