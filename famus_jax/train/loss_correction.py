"""M-correction of a run: the mixture of losses at the start of every epoch, and each batch's targets.

Before the step's own there is a small compiled program: the network predicts the batch as it is, in
training mode for the classes and in evaluation mode for the losses, as in the released code (nothing of
it is kept); then targets, mixed as the images are. In the warm-up it only mixes. The host knows which
it is, so these are two programs: convolutions inside a `lax.cond` are slow on a CPU.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.differentiate.linearize import Forward
from famus_jax.losses import logits_of, softmax_cross_entropy
from famus_jax.methods.beta_mixture import first_mixture, fit_beta_mixture, wrong_probability
from famus_jax.methods.m_correction import LossModel, bootstrapped_targets
from famus_jax.train.evaluation import Evaluator
from famus_jax.train.two_networks.mixing import draw_mixture, mixed_as_drawn
from famus_jax.uses.record import Record
from famus_jax.uses.train_state import TrainState

PyTree = Any


class LossCorrection:
    """`(state, batch) -> batch` for `methods.m_correction`; a function of the state and of `"step"`.

    Images are mixed with themselves, `"target"` is q̃, `"corrects"` 0 in the warm-up and 1 from there
    on. `"label"` and `"index"` are those of the half that counts more.

    Args:
      forward, predict: of the network, in training and in evaluation mode.
      num_classes: C.
      concentration: a of Beta(a, a).
      warm_up: in steps.
      seed: of shares and partners.

    Source: Arazo et al., ICML 2019, https://arxiv.org/abs/1904.11238.
    """

    def __init__(
        self,
        forward: Forward,
        predict: Forward,
        num_classes: int,
        concentration: float,
        warm_up: int,
        seed: int,
    ):
        self.compiled: set[bool] = set()
        self._key, self._warm_up = jax.random.key(seed), warm_up
        self._make = functools.partial(
            _made,
            forward=forward,
            predict=predict,
            num_classes=num_classes,
            concentration=concentration,
        )

    def passes(self, t: int) -> float:
        """Two forward passes, after the warm-up."""
        return 0.0 if t < self._warm_up else 2 / 3

    def __call__(self, state: TrainState, batch: dict[str, Any]) -> dict[str, Any]:
        """See `advance.Preparation`."""
        corrects = int(batch["step"]) >= self._warm_up  # a number that the host made itself
        self.compiled.add(corrects)
        mixture = state.meta.memory.mixture
        network = state.params, state.model_state
        return self._make(self._key, *network, mixture, batch, corrects=corrects)

    def first(self, params: PyTree, model_state: PyTree, batch: dict[str, Any]) -> dict[str, Any]:
        """See `advance.Preparation`."""
        make = functools.partial(self._make, corrects=False)
        return jax.eval_shape(make, self._key, params, model_state, first_mixture(), batch)


@functools.partial(
    jax.jit, static_argnames=("forward", "predict", "num_classes", "concentration", "corrects")
)
def _made(
    key,
    params,
    model_state,
    mixture,
    batch,
    *,
    forward,
    predict,
    num_classes,
    concentration,
    corrects,
):
    key_forward, key_mix = jax.random.split(jax.random.fold_in(key, batch["step"]))
    targets = labels = jax.nn.one_hot(batch["label"], num_classes, dtype=jnp.float32)
    if corrects:
        logits = logits_of(forward(params, model_state, key_forward, batch)[0])
        losses = softmax_cross_entropy(predict(params, model_state, None, batch)[0], batch)
        targets = bootstrapped_targets(labels, logits, wrong_probability(mixture, losses))
    drawn = draw_mixture(key_mix, len(labels), concentration)
    image, target = (mixed_as_drawn(x, *drawn) for x in (batch["image"], targets))
    return {**batch, "image": image, "target": target, "corrects": jnp.float32(corrects)}


class LossModelFit:
    """`(state, t) -> state`, with a new `LossModel` at the start of every epoch after the warm-up.

    The losses are those of the network as it trains, in evaluation mode, on the training set as it is
    (in the released code augmented). The same forward passes are evidence on the labels, as mixed
    batches are none.

    Args:
      evaluator: gives the losses.
      training_set: with its noisy labels, in evaluation batches.
      warm_up, every: in steps.
      record: of evidence; None for none.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        training_set: Iterable[PyTree],
        warm_up: int,
        every: int,
        record: Record | None,
    ):
        self._evaluator, self._training_set = evaluator, training_set
        self._warm_up, self._every, self._record = warm_up, every, record

    def begun(self, state: TrainState) -> TrainState:
        """The state before the first step, with a place for the record."""
        return state if self._record is None else state._replace(recorded=self._record.init())

    def clean_probability(self, carried: LossModel) -> np.ndarray:
        """1 − w of every training example at the last fit, float32 [N]."""
        return np.asarray(carried.right)

    def __call__(self, state: TrainState, t: int) -> TrainState:
        """The state before step t."""
        since = t - self._warm_up
        if since < 0 or since % self._every:
            return state
        member = state.params, state.model_state
        if self._record is None:
            losses, index = self._evaluator.losses(member, self._training_set)
        else:
            (losses, index), sums = self._evaluator.recorded_losses(
                member, self._training_set, self._record, state.recorded
            )
            state = state._replace(recorded=sums)
        mixture = fit_beta_mixture(losses)
        old = state.meta.memory
        right = np.array(old.right)
        right[index] = 1 - np.asarray(wrong_probability(mixture, jnp.asarray(losses)))
        memory = jax.tree.map(_placed, old, LossModel(mixture, right))
        return state._replace(meta=state.meta._replace(memory=memory))


def _placed(old: jax.Array, new: np.ndarray) -> jax.Array:
    """As JAX places arrays by itself, or over the mesh where the old one is."""
    spread = isinstance(old.sharding, jax.sharding.NamedSharding)
    new = np.asarray(new, old.dtype)
    return jax.device_put(new, old.sharding) if spread else jnp.asarray(new)
