"""What is learned and judged, and where: the two arguments of everything below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from famus_jax.core.groups import LayerGroups
from famus_jax.core.linearize import Forward
from famus_jax.core.losses import MetaLoss
from famus_jax.core.objective import Objective

PyTree = Any
_META = int.from_bytes(b"META")
PART = int.from_bytes(b"PART")


class Problem(NamedTuple):
    """What is learned and judged: pure functions and the layer groups, no data.

    Attributes:
      forward: `(params, model_state, rng, batch) -> (outputs, model_state)`, training mode; with an
        objective that acts `in_forward`, `(params, model_state, rng, batch, θ)`.
      objective: the method; see `Objective`.
      meta_loss: `(outputs, meta_batch) -> ()`, L_val.
      groups: the layer groups of the parameters.
      meta_forward: the forward of the meta batch, if it is another one than `forward`. Either way
        the model state that it returns is thrown away.
      micro_batches: run the training batch's passes on so many parts, one after the other.
      axis: for programs that run once per device (`jax.shard_map`, `jax.pmap`): the name of the mesh
        axis along which both batches are divided; see `data_parallel`. None for one device, and for
        `jax.jit` on sharded arrays.
    """

    forward: Forward
    objective: Objective
    meta_loss: MetaLoss
    groups: LayerGroups
    meta_forward: Forward | None = None
    micro_batches: int = 1
    axis: str | None = None

    def forward_under(self, theta: PyTree) -> Forward:
        """The forward with θ put in where the objective says that it takes one."""
        if not self.objective.in_forward:
            return self.forward
        forward: Callable[..., Any] = self.forward
        return lambda params, model_state, rng, batch: forward(
            params, model_state, rng, batch, theta
        )


class Point(NamedTuple):
    """Where a meta gradient is taken.

    Attributes:
      params: w.
      model_state: BatchNorm statistics and the like; `()` for none.
      rng: a key for the training batch's forward pass; the meta batch's is derived from it.
      batch: the training batch, leading size n.
      meta_batch: the trusted batch, leading size m.
      alpha: α, the learning rate of the virtual step, a scalar.
      descend: `gradient -> updates`, what the optimiser would do now, for a look-ahead through it or
        with coasting groups: `lambda g: optimizer.update(g, opt_state, params)[0]`; None for none.
    """

    params: PyTree
    model_state: PyTree
    rng: jax.Array
    batch: PyTree
    meta_batch: PyTree
    alpha: jax.Array | float
    descend: Callable[[PyTree], PyTree] | None = None

    @property
    def meta_rng(self) -> jax.Array:
        """The key of the meta batch's forward pass, another than the training batch's."""
        return self.derived_rng(_META)

    def derived_rng(self, purpose: int) -> jax.Array:
        """A key of its own for another forward pass; None if there is none."""
        return self.rng if self.rng is None else jax.random.fold_in(self.rng, purpose)
