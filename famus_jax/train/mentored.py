"""MentorMix of a run: each batch is mixed as the present network and the curriculum say.

A small compiled program before the step's own: the losses of the batch under the present network, as it
trains (batch statistics; nothing of it is kept), v, partners and shares, the mixture. The curriculum is
read from the state, and the step writes the new one back, so a checkpoint has it.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.differentiate.linearize import Forward
from famus_jax.losses import softmax_cross_entropy
from famus_jax.methods.mentormix import (
    curriculum,
    draw_partners,
    draw_shares,
    first_curriculum,
    mixed_with,
)
from famus_jax.train.method_values import MentorMixConfig
from famus_jax.uses.train_state import TrainState

PyTree = Any


class MentorMixer:
    """`(state, batch) -> batch`, mixed; a function of the state and of the batch's `"step"`.

    Images become s_i x_i + (1 − s_i) x_j, `"target"` s_i e(y_i) + (1 − s_i) e(y_j). `"label"` and
    `"index"` are those of the half that counts more, `"curriculum"` is for the step to keep.

    Args:
      forward: of the network.
      num_classes: C.
      config: percentile, concentration, temperature.
      burn_in: in steps.
      seed: of partners and shares.

    Source: Jiang et al., Beyond Synthetic Noise, ICML 2020, https://arxiv.org/abs/1911.09781.
    """

    def __init__(
        self, forward: Forward, num_classes: int, config: MentorMixConfig, burn_in: int, seed: int
    ):
        self.compiled: set[bool] = set()
        self._key = jax.random.key(seed)
        self._mix = functools.partial(
            _mixed, forward=forward, num_classes=num_classes, config=config, burn_in=burn_in
        )

    def passes(self, t: int) -> float:
        """A forward pass, in plain steps."""
        return 1 / 3

    def __call__(self, state: TrainState, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch that the step trains on."""
        self.compiled.add(True)
        return self._mix(self._key, state.params, state.model_state, state.meta.memory.given, batch)

    def first(self, params: PyTree, model_state: PyTree, batch: dict[str, Any]) -> dict[str, Any]:
        """The shapes of a mixed batch, for what looks at them before there is a state."""
        given = first_curriculum()
        return jax.eval_shape(self._mix, self._key, params, model_state, given, batch)


@functools.partial(jax.jit, static_argnames=("forward", "num_classes", "config", "burn_in"))
def _mixed(key, params, model_state, carried, batch, *, forward, num_classes, config, burn_in):
    key_forward, key_partners, key_shares = jax.random.split(
        jax.random.fold_in(key, batch["step"]), 3
    )
    outputs, _ = forward(params, model_state, key_forward, batch)
    v, carried = curriculum(
        carried,
        softmax_cross_entropy(outputs, batch),
        percentile=config.percentile,
        decay=config.decay,
        burn_in=burn_in,
    )
    partners = draw_partners(key_partners, v, config.temperature)
    shares = draw_shares(key_shares, v, config.concentration)
    target = jax.nn.one_hot(batch["label"], num_classes, dtype=jnp.float32)
    image, target = mixed_with(partners, shares, (batch["image"], target))
    larger = jnp.where(shares >= 0.5, jnp.arange(len(partners)), partners)
    return {
        **batch,
        "image": image,
        "target": target,
        "label": batch["label"][larger],
        "index": batch["index"][larger],
        "curriculum": carried,
    }
