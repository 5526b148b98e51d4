"""Two networks side by side, as one: for methods in which two teach each other in every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any


@dataclasses.dataclass(frozen=True)
class pair:
    """Two networks of one forward pass as one network, trained by one step.

    `params` and `model_state` are pairs, one of each network. An optimizer that treats every parameter
    by itself (SGD, Adam) moves each network as it would move it alone.

    Args:
      forward: of either network; its outputs are logits [n, C], or a dict that holds them under
        `"logits"`.

    Returns:
      From a call `{"pair": [n, 2, C], "logits": [n, C]}`: both networks' logits and their mean, by
      which the two decide together. The networks read the same batch; where it holds `"each"`, two
      mappings, what is in its own one counts for a network (images mixed for it, say). They draw apart.

    Example:
      >>> forward = pair(lambda w, state, rng, batch: (batch["x"] * w, state))
      >>> outputs, _ = forward((1.0, 3.0), ((), ()), None, {"x": jnp.array([[1.0, 2.0]])})
      >>> outputs["pair"].tolist(), outputs["logits"].tolist()
      ([[[1.0, 2.0], [3.0, 6.0]]], [[2.0, 4.0]])
    """

    forward: Callable[..., tuple[PyTree, PyTree]]

    def __call__(
        self,
        params: tuple[PyTree, PyTree],
        model_state: tuple[PyTree, PyTree],
        rng: jax.Array | None,
        batch: PyTree,
    ) -> tuple[dict[str, jax.Array], tuple[PyTree, PyTree]]:
        """As `forward`, of pairs."""
        keys = (None, None) if rng is None else tuple(jax.random.split(rng))
        logits, states = [], []
        for k in (0, 1):
            outputs, state = self.forward(params[k], model_state[k], keys[k], of_network(batch, k))
            logits.append(outputs["logits"] if isinstance(outputs, Mapping) else outputs)
            states.append(state)
        both = jnp.stack(logits, 1)
        return {"pair": both, "logits": both.mean(1)}, (states[0], states[1])


def of_network(batch: PyTree, k: int) -> PyTree:
    """What network k reads of a batch: its own part of `"each"` in the place of what is for both.

    >>> of_network({"label": 1, "image": 2, "each": ({"image": 3}, {"image": 4})}, 1)
    {'label': 1, 'image': 4}
    """
    if not isinstance(batch, Mapping) or "each" not in batch:
        return batch
    shared = {name: value for name, value in batch.items() if name != "each"}
    return {**shared, **batch["each"][k]}
