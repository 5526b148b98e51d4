"""What is learned and judged, and where: the two arguments of everything below."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from famus_jax.core.groups import LayerGroups
from famus_jax.core.linearize import Forward
from famus_jax.core.losses import MetaLoss
from famus_jax.core.objectives import Objective

PyTree = Any


class Problem(NamedTuple):
    """What is learned and judged: pure functions and the layer groups, no data.

    Attributes:
      forward: `(params, model_state, rng, batch) -> (outputs, model_state)`, training mode.
      objective: the method; see `Objective`.
      meta_loss: `(outputs, meta_batch) -> ()`, L_val.
      groups: the layer groups of the parameters.
      meta_forward: the forward of the meta batch, if it is another one than `forward`. Either way
        the model state that it returns is thrown away.
    """

    forward: Forward
    objective: Objective
    meta_loss: MetaLoss
    groups: LayerGroups
    meta_forward: Forward | None = None


class Point(NamedTuple):
    """Where a meta gradient is taken.

    Attributes:
      params: w.
      model_state: BatchNorm statistics and the like; `()` for none.
      rng: a key for both forward passes.
      batch: the training batch, leading size n.
      meta_batch: the trusted batch, leading size m.
      alpha: α, the learning rate of the virtual step, a scalar.
      coast: what the optimiser does to the parameters at zero gradient (a tree like `params`), for
        an active-only look-ahead with coasting groups; None for none.
    """

    params: PyTree
    model_state: PyTree
    rng: jax.Array
    batch: PyTree
    meta_batch: PyTree
    alpha: jax.Array | float
    coast: PyTree | None = None
