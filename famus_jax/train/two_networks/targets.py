"""Soft targets and mixed batches of the released pipeline, compiled into one program."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.train.evaluation import Member
from famus_jax.train.two_networks.config import PseudoCleanConfig
from famus_jax.train.two_networks.mixing import co_guess, co_refine, mix_training_batch, mixup


class TargetMaker:
    """Soft targets and mixed batches of the released pipeline, compiled.

    A network predicts the views of its own batches in training mode (batch statistics, whose running
    means are thrown away), its peer in evaluation mode, as in the released code.

    Attributes:
      called: whether it has been compiled.
      passes: forward passes over B examples that a call takes.
    """

    def __init__(self, forward, predict, config: PseudoCleanConfig, num_classes: int, meta: bool):
        temperature, concentration = config.temperature, config.mixup
        self.called = False
        self.passes = 4 + 2  # of the network and of its peer; the meta batch's are left out

        def make(own: Member, peer: Member, x, u, meta_batch, probability, key):
            key_forward, key_mix, key_meta = jax.random.split(key, 3)
            views = [x["image"], x["image_1"], u["image"], u["image_1"]]
            if meta:
                views.append(meta_batch["image"])
            images = jnp.concatenate(views)
            logits, _ = forward(*own, key_forward, {"image": images})
            ends = np.cumsum([view.shape[0] for view in views])[:-1]
            p = [jax.nn.softmax(part) for part in jnp.split(logits, ends)]
            guesses = [
                jax.nn.softmax(predict(*peer, None, {"image": view})[0]) for view in views[2:4]
            ]

            def refined(batch, prediction):
                labels = jax.nn.one_hot(batch["label"], num_classes)
                right = probability[batch["index"]]
                return co_refine(labels, right, prediction, temperature)

            target_x = refined(x, (p[0] + p[1]) / 2)
            target_u = co_guess([p[2], p[3], *guesses], temperature)
            batch = mix_training_batch(
                key_mix, views[:2], target_x, views[2:4], target_u, concentration
            )
            batch["index"] = jnp.concatenate([x["index"], x["index"], u["index"], u["index"]])
            if not meta:
                return batch, None
            image, target = mixup(
                key_meta, meta_batch["image"], refined(meta_batch, p[4]), concentration
            )
            return batch, {"image": image, "target": target}

        self._make = jax.jit(make)

    def __call__(self, *args: Any) -> tuple[dict[str, jax.Array], dict[str, jax.Array] | None]:
        """`(own, peer, labeled, unlabeled, meta, probability [N], key)` -> training, meta batch."""
        self.called = True
        return self._make(*args)
