"""What is learned, said once: `problem`. Every use of the library takes it from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from famus_jax.core.batches import leading_size
from famus_jax.core.method import MetaLoss, Method
from famus_jax.core.trainable import Filter, as_filter, split_of, taking_frozen
from famus_jax.differentiate.collectives import unbound
from famus_jax.differentiate.linearize import Forward
from famus_jax.layers.find import find_layers
from famus_jax.layers.jaxprs import Traced
from famus_jax.layers.partition import Layers

PyTree = Any
_META = int.from_bytes(b"META")
PART = int.from_bytes(b"PART")


class Problem(NamedTuple):
    """What is learned and judged: pure functions, no data. Made by `problem`.

    Attributes:
      forward: `(params, model_state, rng, batch) -> (outputs, model_state)`, training mode; with a
        method that acts `in_forward`, `(params, model_state, rng, batch, θ)`.
      method: see `Method`.
      meta_loss: `(outputs, meta_batch) -> ()`, L_val.
      layers: the layers of the parameters; None until they are looked for, see `on`.
      meta_forward: the forward of the meta batch, if it is another one than `forward`. Either way
        the model state that it returns is thrown away.
      micro_batches: run the training batch's passes on so many parts, one after the other.
      axis: for programs that run once per device (`jax.shard_map`, `jax.pmap`): the name of the mesh
        axis along which both batches are divided; see `collectives`. None for one device, and for
        `jax.jit` on sharded arrays.
      trainable: which of the parameters are trained, see `problem`; None for all.
    """

    forward: Forward
    method: Method
    meta_loss: MetaLoss
    layers: Layers | None = None
    meta_forward: Forward | None = None
    micro_batches: int = 1
    axis: str | None = None
    trainable: Filter = None

    def mask(self, params: PyTree) -> PyTree:
        """A tree of bools like `params`: which are trained. `optax.masked(optimizer, problem.mask)` is
        an optimizer that has a state for those alone."""
        split = split_of(self.trainable, params)
        return jax.tree.unflatten(split.treedef, split.flags)

    def forward_under(self, theta: PyTree) -> Forward:
        """The forward with θ put in where the method says that it takes one."""
        if not self.method.in_forward:
            return self.forward
        forward: Callable[..., Any] = self.forward
        return lambda params, model_state, rng, batch: forward(
            params, model_state, rng, batch, theta
        )

    def on(
        self,
        params: PyTree,
        model_state: PyTree,
        rng: jax.Array,
        batch: PyTree,
        *,
        by: str = "module",
        traced: Traced | None = None,
    ) -> Problem:
        """The same problem with its layers known: those given, or found by tracing the network.

        Of the parameters that are trained, where some are frozen.

        Args:
          params, model_state, rng, batch: arrays or shape structs.
          by: see `find_layers`.
          traced: the forward's program on these arguments, if it is known.
        """
        if self.layers is not None:
            return self
        forward: Any = traced
        axis = None
        if traced is None:
            axis = unbound(self.axis)
            theta = None
            if self.method.in_forward:
                theta = self.method.init(jax.random.key(0), leading_size(batch, "training batch"))
            forward = self.forward_under(theta)
        if self.trainable is not None:  # the frozen ones may be shapes, so they come as an argument
            split = split_of(self.trainable, params)
            forward = taking_frozen(forward, split)
            params, model_state = split.trained(params), (split.frozen(params), model_state)
        loss = self.method.example_loss
        layers = find_layers(forward, params, model_state, rng, batch, by=by, axis=axis, loss=loss)
        return self._replace(layers=layers)


class Inputs(NamedTuple):
    """Where a meta gradient is taken.

    Attributes:
      params: w.
      model_state: BatchNorm statistics and the like; `()` for none.
      rng: a key for the training batch's forward pass; the meta batch's is derived from it.
      batch: the training batch, leading size n.
      meta_batch: the trusted batch, leading size m.
      step_size: α, of the virtual step, a scalar.
      optimizer_update: `gradient -> updates`, what the optimizer would do now, for a virtual step
        through it: `lambda g: optimizer.update(g, opt_state, params)[0]`; None for none.
      optimizer: `(update, opt_state)`, `update(gradient, opt_state, params) -> (updates, opt_state)`,
        for many virtual steps through it: `(optimizer.update, opt_state)`; None for none.
      window: with `virtual_step="unrolled"` the batches of this step and the next ones, arrays [k, n,
        ...]. A caller gives them as `batch`.
    """

    params: PyTree
    model_state: PyTree
    rng: jax.Array
    batch: PyTree
    meta_batch: PyTree
    step_size: jax.Array | float
    optimizer_update: Callable[[PyTree], PyTree] | None = None
    optimizer: tuple[Callable[..., Any], PyTree] | None = None
    window: PyTree = None

    @property
    def meta_rng(self) -> jax.Array:
        """The key of the meta batch's forward pass, another than the training batch's."""
        return self.derived_rng(_META)

    def derived_rng(self, purpose: int) -> jax.Array:
        """A key of its own for another forward pass; None if there is none."""
        return self.rng if self.rng is None else jax.random.fold_in(self.rng, purpose)


def problem(
    forward: Forward,
    method: Method,
    *,
    meta_loss: MetaLoss | None = None,
    layers: Layers | None = None,
    meta_forward: Forward | None = None,
    micro_batches: int = 1,
    axis: str | None = None,
    trainable: Filter = None,
) -> Problem:
    """Says what is learned, once, for `reweighter`, `reweight` and `train_step`.

    Args:
      forward: `(params, model_state, rng, batch) -> (outputs, model_state)`, in training mode;
        `linen_forward`, `nnx_forward` and `stateless_forward` make one.
      method: what is learned about the labels: `l2r()`, `mwnet()`, ...
      meta_loss: `(outputs, meta_batch) -> ()`, what the trusted batch is judged by; by default the
        method's own.
      layers: the layers of the network; by default found by tracing it.
      meta_forward: another forward for the meta batch, if wanted.
      micro_batches: run the training batch's passes on so many parts, one after the other.
      axis: if the step runs inside `jax.shard_map` or `jax.pmap`: the name of the axis along which
        the batches are divided. Under `jax.jit` on sharded arrays leave it out.
      trainable: which of the parameters are trained, where it is not all of them (LoRA, a new head on
        a trunk that stays): a function of a parameter's path, `lambda path: "lora" in path`; a pytree
        of bools like the parameters; or a filter of NNX: a class of variables (`nnx.LoRAParam`), or a
        combination of them (`nnx.Not(...)`). The others are neither differentiated nor moved in the
        virtual step, and no estimator keeps anything of them; layers are those of the trained ones.
        In `train_step` the optimizer has no state for them; behind `reweight`, use
        `optax.masked(optimizer, problem.mask)`.

    Raises:
      ValueError: if `method` is no method, `micro_batches` is below 1, or `trainable` no filter.

    Example:
      >>> import jax.numpy as jnp
      >>> import famus_jax as famus
      >>> forward = famus.stateless_forward(lambda w, batch: batch["x"] @ w)
      >>> famus.problem(forward, famus.l2r()).method.name
      'l2r'
    """
    if not isinstance(method, Method):
        raise ValueError(
            f"method must be a Method, such as famus_jax.l2r() or famus_jax.mwnet(); got {method!r}"
        )
    if not callable(forward):
        raise ValueError(
            "forward must be a function (params, model_state, rng, batch) -> (outputs, "
            f"model_state); got {forward!r}: famus_jax.linen_forward(module) makes one"
        )
    if micro_batches < 1 or micro_batches != int(micro_batches):
        raise ValueError(f"micro_batches must be a whole number of at least 1; got {micro_batches}")
    trainable = as_filter(trainable)
    return Problem(
        forward=forward,
        method=method,
        meta_loss=meta_loss or method.l_val,
        layers=layers,
        meta_forward=meta_forward,
        micro_batches=int(micro_batches),
        axis=axis,
        trainable=trainable,
    )
