"""A pure function as a forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from famus_jax.forward.inputs import Input, select_inputs

PyTree = Any


@dataclasses.dataclass(frozen=True)
class StatelessForward:
    """The forward pass made by `stateless_forward`; its fields are that function's arguments."""

    apply: Callable[..., Any]
    input: Input = None

    def __call__(
        self, params: PyTree, model_state: PyTree, rng: Any, batch: PyTree
    ) -> tuple[PyTree, PyTree]:
        """See `famus_jax.forward`; `model_state` passes through, `rng` is ignored."""
        del rng
        return self.apply(params, *select_inputs(batch, self.input)), model_state


def stateless_forward(apply: Callable[..., Any], input: Input = None) -> StatelessForward:
    """Makes a forward pass of a pure function.

    >>> forward = stateless_forward(lambda w, x: w * x, input="image")
    >>> forward(2.0, {}, None, {"image": 3.0})
    (6.0, {})

    A network with dropout or running statistics writes its own forward pass of the four arguments
    (docs/networks.md has one for Haiku and for Equinox).

    Args:
      apply: `apply(params, batch) -> outputs`, or `apply(params, *inputs)` when `input` is given.
      input: what `apply` reads of the batch, see `select_inputs`; None for the whole batch.
    """
    return StatelessForward(apply, input)
