"""MentorNet's predefined curriculum, and MentorMix: mixup with partners that the curriculum trusts.

Symbols: ℓ_i = the loss of example i of a batch of n, γ = the moving average of the batches' losses at
percentile p, δ = its decay, v_i = whether the curriculum takes example i, T = temperature, Beta(a, a) =
the distribution of the mixing coefficients, e(y) = a one-hot label. In every batch:

    γ ← δ γ + (1 − δ) (the p-th percentile of ℓ),   v_i = 1 if ℓ_i ≤ γ, else 0      `curriculum`
    j(i) drawn with replacement, j with probability softmax(v / T)_j                `draw_partners`
    s_i = v_i max(λ_i, 1 − λ_i) + (1 − v_i) min(λ_i, 1 − λ_i),  λ_i ~ Beta(a, a)    `draw_shares`
    x̃_i = s_i x_i + (1 − s_i) x_j(i),  and so e(y)                                  `mixed_with`

MentorNet's loss is mean v_i ℓ_i. MentorMix's is the mean loss of the mixed batch, or, with its *second
reweighting*, mean v_i ℓ_i once more, with v and a γ of their own from the losses of the mixed batch.
Both keep γ from step to step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.method import ExampleLoss, Method
from famus_jax.losses import soft_cross_entropy, softmax_cross_entropy
from famus_jax.memory import Memory, rows_of

PyTree = Any


class Curriculum(NamedTuple):
    """What a curriculum carries from batch to batch.

    Attributes:
      average: γ, float32 scalar; starts at 0.
      steps: the batches so far, int32 scalar.
    """

    average: jax.Array
    steps: jax.Array


class Mentors(NamedTuple):
    """What MentorMix carries: a curriculum for the examples as given, and one for the mixed ones."""

    given: Curriculum
    mixed: Curriculum


def first_curriculum() -> Curriculum:
    """Before the first batch."""
    return Curriculum(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32))


def curriculum(
    carried: Curriculum,
    losses: jax.Array,
    *,
    percentile: float = 0.7,
    decay: float = 0.5,
    burn_in: int = 0,
) -> tuple[jax.Array, Curriculum]:
    """v of a batch, and what is carried to the next: small losses count, large ones don't.

    Args:
      carried: from the batch before, or `first_curriculum()`.
      losses: ℓ, [n].
      percentile: p, in [0, 1]; of two losses the nearer one, as in the released code.
      decay: δ, in [0, 1).
      burn_in: so many batches are taken whole. γ is averaged in them too.

    Returns:
      v, float [n] of 0 and 1, and the next `Curriculum`. No derivative flows through either.

    Source: Jiang et al., MentorNet, ICML 2018, https://arxiv.org/abs/1712.05055; Jiang et al., Beyond
    Synthetic Noise, ICML 2020, https://arxiv.org/abs/1911.09781.

    Example:
      >>> losses = jnp.array([4.0, 1.0, 2.0, 3.0, 0.0])
      >>> v, carried = curriculum(first_curriculum(), losses, percentile=0.75)
      >>> float(carried.average), v.tolist()  # half of 3
      (1.5, [0.0, 1.0, 0.0, 0.0, 1.0])
      >>> curriculum(carried, losses, percentile=0.75)[0].tolist()  # half of 1.5 and half of 3
      [0.0, 1.0, 1.0, 0.0, 1.0]
    """
    _check(percentile, decay, burn_in)
    losses = jax.lax.stop_gradient(losses)
    losses = losses.astype(jnp.promote_types(losses.dtype, jnp.float32))
    level = jnp.quantile(losses, percentile, method="nearest")
    average = decay * carried.average + (1 - decay) * level
    taken = (losses <= average) | (carried.steps < burn_in)
    new = Curriculum(average.astype(carried.average.dtype), carried.steps + 1)
    return taken.astype(losses.dtype), new


def draw_partners(key: jax.Array, v: jax.Array, temperature: float = 1.0) -> jax.Array:
    """j(i): a partner for every example, drawn with replacement, itself not excluded.

    Args:
      key: of the draw.
      v: [n].
      temperature: T, above 0; near 0 only examples with the largest v are drawn.

    Returns:
      int [n].

    Example:
      >>> v = jnp.array([0.0, 1.0, 0.0])
      >>> draw_partners(jax.random.key(0), v, temperature=0.01).tolist()
      [1, 1, 1]
    """
    return jax.random.categorical(key, v / temperature, shape=v.shape)


def draw_shares(key: jax.Array, v: jax.Array, concentration: float) -> jax.Array:
    """s_i: how much of example i is in its mixture, at least ½ where v is 1, at most ½ where it is 0.

    Args:
      key: of the draw.
      v: [n].
      concentration: a of Beta(a, a), above 0; near 0 s is v.

    Returns:
      float [n].

    Example:
      >>> draw_shares(jax.random.key(0), jnp.array([1.0, 0.0]), 1e-4).round(3).tolist()
      [1.0, 0.0]
    """
    mix = jax.random.beta(key, concentration, concentration, v.shape, v.dtype)
    larger = jnp.maximum(mix, 1 - mix)
    return v * larger + (1 - v) * (1 - larger)


def mixed_with(partners: jax.Array, shares: jax.Array, arrays: PyTree) -> PyTree:
    """s_i x_i + (1 − s_i) x_j(i) of every array [n, ...], in its dtype.

    Args:
      partners: j, int [n].
      shares: s, [n].
      arrays: a pytree of float arrays: images and soft labels, say.

    Example:
      >>> mixed_with(jnp.array([1, 1]), jnp.array([0.75, 0.5]), jnp.array([0.0, 4.0])).tolist()
      [1.0, 4.0]
    """

    def mixed(x: jax.Array) -> jax.Array:
        s = shares.reshape(-1, *[1] * (x.ndim - 1))
        return (s * x + (1 - s) * x[partners]).astype(x.dtype)

    return jax.tree.map(mixed, arrays)


def mentornet(
    example_loss: ExampleLoss = softmax_cross_entropy,
    *,
    percentile: float = 0.7,
    decay: float = 0.5,
    burn_in: int = 0,
) -> Method:
    """MentorNet with its predefined curriculum: one network, no trusted labels, T = mean v_i ℓ_i.

    γ is the method's `Memory`; it is of the run, so that batches need no index. The weights that a step
    reports are v_i / n.

    Args:
      example_loss: `(outputs, batch) -> ℓ [n]`.
      percentile, decay, burn_in: see `curriculum`; the burn-in is counted in steps.

    Raises:
      ValueError: for numbers that can't be.

    Source: Jiang et al., MentorNet: Learning Data-Driven Curriculum for Very Deep Neural Networks on
    Corrupted Labels, ICML 2018, https://arxiv.org/abs/1712.05055.

    Example:
      >>> method = mentornet(percentile=0.25, decay=0.0)
      >>> batch = {"label": jnp.array([0, 0, 1, 1]), "memory": method.memory.init(None)}
      >>> logits = jnp.log(jnp.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1], [0.8, 0.2]]))
      >>> method.loss((), logits, batch)[1].tolist()  # the last two losses are too large
      [0.25, 0.25, 0.0, 0.0]
    """
    _check(percentile, decay, burn_in)

    def weigh(carried, losses):
        return curriculum(carried, losses, percentile=percentile, decay=decay, burn_in=burn_in)

    def loss(theta, outputs, batch):
        del theta
        return _weighted(example_loss(outputs, batch), weigh, rows_of(batch))

    def update(carried, outputs, batch):
        return weigh(carried, example_loss(outputs, batch))[1]

    memory = Memory(lambda key: first_curriculum(), update, per_example=False)
    return _plain("mentornet", loss, example_loss, memory)


def mentormix(
    *,
    percentile: float = 0.6,
    decay: float = 0.5,
    burn_in: int = 0,
    second_reweight: bool = False,
) -> Method:
    """MentorMix: the loss on a batch that is mixed already, and the memory of both curricula.

    Batches hold `"target"`, the mixed labels, float [n, C], and `"curriculum"`, the `Curriculum` after
    the examples as given, by which they were mixed; before the next batch it is in the method's memory,
    `state.meta.memory.given` in `train_step`. The functions above mix; `famus_jax.train.mentored` is a
    loop's whole preparation of a batch.

    Published p and a, at 20, 40, 60 and 80 % noise, on ResNet-32 with batches of 128:

        CIFAR-10, symmetric      .8, 2    .6, 8    .6, 8    .2, 4   second reweighting from 60 % on
        CIFAR-100, symmetric     .7, 2    .5, 8    .3, 4    .1, 8   second reweighting from 60 % on
        Red Mini-ImageNet        .7, 2    .5, 8    .3, 4    .1, 8   none (the FaMUS paper's baseline)

    Args:
      percentile, decay, burn_in: of the second curriculum; see `curriculum`.
      second_reweight: weight the mixed losses once more, T = mean v_i ℓ_i; else T = mean ℓ_i.

    Raises:
      ValueError: for numbers that can't be; from the loss, for a batch without targets.

    Source: Jiang et al., Beyond Synthetic Noise: Deep Learning on Controlled Noisy Labels, ICML 2020,
    https://arxiv.org/abs/1911.09781.

    Example:
      >>> method = mentormix(percentile=0.5, decay=0.0, second_reweight=True)
      >>> batch = {"target": jnp.eye(2), "memory": method.memory.init(None)}
      >>> logits = jnp.log(jnp.array([[0.5, 0.5], [0.75, 0.25]]))
      >>> method.loss((), logits, batch)[1].tolist()  # the second loss is too large
      [0.5, 0.0]
    """
    _check(percentile, decay, burn_in)

    def weigh(carried, losses):
        if not second_reweight:
            return jnp.ones_like(losses), carried
        return curriculum(carried, losses, percentile=percentile, decay=decay, burn_in=burn_in)

    def loss(theta, outputs, batch):
        del theta
        return _weighted(soft_cross_entropy(outputs, batch), weigh, rows_of(batch).mixed)

    def update(mentors, outputs, batch):
        losses = soft_cross_entropy(outputs, batch)
        return Mentors(batch["curriculum"], weigh(mentors.mixed, losses)[1])

    def init(key):
        del key
        return Mentors(first_curriculum(), first_curriculum())

    return _plain("mentormix", loss, soft_cross_entropy, Memory(init, update, per_example=False))


def _weighted(losses, weigh, carried) -> tuple[jax.Array, jax.Array]:
    """mean v_i ℓ_i and v_i / n. The mean is over all n, not over those that are taken."""
    weights = weigh(carried, losses)[0].astype(losses.dtype) / losses.shape[0]
    return jnp.vdot(weights, losses), weights


def _plain(name: str, loss: Any, example_loss: ExampleLoss, memory: Memory) -> Method:
    """A method without a meta-model."""
    return Method(
        name=name,
        init=lambda key, n: (),
        loss=loss,
        meta_optimizer=optax.identity(),
        example_loss=example_loss,
        memory=memory,
    )


def _check(percentile: float, decay: float, burn_in: int) -> None:
    if not 0 <= percentile <= 1:
        raise ValueError(
            "percentile, the share of a batch's losses that are small, must lie in [0, 1] (0.7 for the "
            f"70th percentile); got {percentile}"
        )
    if not 0 <= decay < 1:
        raise ValueError(f"decay, of the moving average, must lie in [0, 1); got {decay}")
    if burn_in < 0:
        raise ValueError(f"burn_in, a number of steps, must be 0 or more; got {burn_in}")
