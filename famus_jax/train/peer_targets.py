"""ELR+ of a run: what each network's batch is mixed of, and what its peer's average says of it.

A small compiled program before the step's own: the moving averages of both networks predict the batch
as it is, in training mode (batch statistics, of which nothing is kept, as in the released code), and
the batch is mixed with itself twice, once for each network.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.differentiate.linearize import Forward
from famus_jax.losses import logits_of
from famus_jax.train.two_networks.mixing import draw_mixture, mixed_as_drawn
from famus_jax.uses.train_state import TrainState

PyTree = Any


class PeerTargets:
    """`(state, batch) -> batch` for `methods.elr_plus`; a function of the state and of `"step"`.

    In the place of `"image"` there is `"each"`: for each network its mixed `"image"` and `"target"`,
    with the `"share"` of the larger half and the `"partner"`s in it, and `"peer"`, the probabilities
    that the average of the other network gives the unmixed images.

    Args:
      forward: of one network, in training mode.
      num_classes: C.
      concentration: a of Beta(a, a).
      seed: of shares and partners.

    Source: Liu et al., Early-Learning Regularization, NeurIPS 2020, https://arxiv.org/abs/2007.00151.
    """

    def __init__(self, forward: Forward, num_classes: int, concentration: float, seed: int):
        self.compiled: set[bool] = set()
        self._key = jax.random.key(seed)
        self._make = functools.partial(
            _made, forward=forward, num_classes=num_classes, concentration=concentration
        )

    def passes(self, t: int) -> float:
        """Two forward passes, in plain steps of one network."""
        return 2 / 3

    def __call__(self, state: TrainState, batch: dict[str, Any]) -> dict[str, Any]:
        """See `advance.Preparation`. The state's average is that of `train_step(ema=...)`."""
        self.compiled.add(True)
        return self._make(self._key, state.average[0], state.model_state, batch)

    def first(self, params: PyTree, model_state: PyTree, batch: dict[str, Any]) -> dict[str, Any]:
        """See `advance.Preparation`."""
        return jax.eval_shape(self._make, self._key, params, model_state, batch)


@functools.partial(jax.jit, static_argnames=("forward", "num_classes", "concentration"))
def _made(key, averages, model_state, batch, *, forward, num_classes, concentration):
    key = jax.random.fold_in(key, batch["step"])
    keys = [jax.random.split(jax.random.fold_in(key, k)) for k in (0, 1)]
    said = [
        jax.nn.softmax(logits_of(forward(averages[k], model_state[k], keys[k][0], batch)[0]))
        for k in (0, 1)
    ]
    labels = jax.nn.one_hot(batch["label"], num_classes, dtype=jnp.float32)
    each = []
    for k in (0, 1):
        share, partner = draw_mixture(keys[k][1], len(labels), concentration)
        image, target = (mixed_as_drawn(x, share, partner) for x in (batch["image"], labels))
        drawn = {"share": share, "partner": partner, "peer": said[1 - k]}
        each.append({"image": image, "target": target, **drawn})
    shared = {name: value for name, value in batch.items() if name != "image"}
    return {**shared, "each": tuple(each)}
