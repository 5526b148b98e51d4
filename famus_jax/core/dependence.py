"""What depends on what, read off traced programs: the facts that the cheap routes rest on.

θ reaches L_val through the method's loss alone; the losses depend on the active layers; and the
optimizer's update of a layer depends on that layer's gradient alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from famus_jax.core.batches import leading_size
from famus_jax.core.problem import Inputs, Problem
from famus_jax.layers.jaxprs import Traced, ancestors, constants, propagate, trace
from famus_jax.layers.partition import Layers
from famus_jax.layers.reach import reaching

PyTree = Any


def check_closure(
    problem: Problem, theta: PyTree, forward: Callable[..., Any], inputs: Inputs
) -> None:
    """θ may reach L_val only through the method's loss: the identity behind the cheap routes.

    Looks for θ, or a value computed from it, among the constants that the traced forward pass and the
    loss per example close over. Parameters, model state and batches count as given: a meta gradient
    is taken at fixed w.

    Raises:
      ValueError: if it is there; or if the loss is not one number per example.
    """
    if problem.method.in_forward or not jax.tree.leaves(theta):
        return
    traced = trace(forward, *inputs[:4])
    _refuse_theta(traced, theta)
    outputs, _ = jax.eval_shape(traced, *inputs[:4])
    losses = trace(problem.method.example_loss, outputs, inputs.batch)
    _refuse_theta(losses, theta)
    n = leading_size(inputs.batch, "training batch")
    shape = losses.closed.out_avals[0].shape if losses.closed.out_avals else None
    if shape != (n,):
        raise ValueError(
            f"example_loss must return one number per example, shape ({n},); got {shape}: take the "
            "mean over the other axes"
        )


def check_meta_loss(
    problem: Problem,
    theta: PyTree,
    forward: Traced,
    meta_loss: Callable[[list[jax.Array]], jax.Array],
    f: list[jax.Array],
) -> None:
    """As `check_closure`, of the meta batch's forward pass and loss.

    Raises:
      ValueError: also if the meta loss is no scalar.
    """
    if problem.method.in_forward or not jax.tree.leaves(theta):
        return
    loss = trace(meta_loss, f)
    if shape := loss.closed.out_avals[0].shape:
        raise ValueError(f"meta_loss must return a scalar; got shape {shape}: take its mean")
    _refuse_theta(forward, theta)
    _refuse_theta(loss, theta)


def check_reached(
    layers: Layers,
    programs: Sequence[Sequence[int]],
    forward: Traced,
    loss: Callable[[PyTree, PyTree], PyTree],
    batch: PyTree,
    what: str,
) -> None:
    """The active layers must matter: without one that the loss depends on, the meta gradient is 0
    whatever the numbers are, and nothing is ever learned.

    Args:
      layers: of the network.
      programs: the layers that are heard, in each program.
      forward: the traced forward pass.
      loss: of its outputs and `batch`.
      what: the loss's name.

    Raises:
      ValueError: if the gradient of the loss reaches none of them in some program.
    """
    reached = reaching(forward, loss, batch, len(layers.index))
    live = sorted({layers.index[leaf] for leaf in reached})
    deaf = [active for active in programs if set(live).isdisjoint(active)]
    if not deaf:
        return
    heard = [layers.names[i] for i in deaf[0]]
    if not live:
        raise ValueError(
            f"the {what} depends on no parameter: its gradient is 0 everywhere. It may read an output "
            "that the parameters do not reach, or stop_gradient may stand in between"
        )
    raise ValueError(
        f"the gradient of the {what} does not reach the layers that are heard, {heard}, so the meta "
        "gradient would be 0 for ever (another head is what counts, or they are frozen). It reaches "
        f"{[layers.names[i] for i in live]}: use named_layers({layers.names[live[-1]]!r}), or let the "
        "layers be found with find_layers(..., loss=...), which puts these last"
    )


def _refuse_theta(traced: Traced, theta: PyTree) -> None:
    leaves = {id(leaf) for leaf in jax.tree.leaves(theta)}
    if any(id(v) in leaves for const in constants(traced.closed) for v in ancestors(const)):
        raise ValueError(
            "forward closes over the meta-parameters θ (or meta_loss does, or over a value "
            "computed from them): a meta gradient that reaches the network other than through "
            "the method's loss is not what these estimators compute, and it would silently be "
            "dropped. Let θ act in the method's loss, on the outputs; or, if it must act inside the "
            "forward pass, let forward take it as a fifth argument, set in_forward=True on the "
            "method and use second_order()"
        )


def coupled_layers(
    optimizer_update: Callable[[PyTree], PyTree], params: PyTree, layers: Layers
) -> tuple[str, str] | None:
    """Two layers' names such that the first one's update depends on the second one's gradient.

    Clipping by the global norm couples all layers, and so do trust ratios over the whole tree. Found
    by following every gradient leaf through the traced update; in a loop everything is taken to
    depend on everything.

    Args:
      optimizer_update: `gradient -> updates`.
      params: the parameters (their shapes count).
      layers: their layers.

    Returns:
      None if there are none.
    """
    gradient = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    closed = trace(lambda g: layers.leaves(optimizer_update(g)), gradient).closed

    def join(marks: Any) -> frozenset[int]:
        return frozenset().union(*marks)

    def opaque(eqn: Any, inputs: list[frozenset[int]]) -> list[frozenset[int]]:
        return [join(inputs)] * len(eqn.outvars)

    marks = [frozenset({layer}) for layer in layers.index]
    reached = propagate(closed.jaxpr, marks, opaque, join)
    for layer, sources in zip(layers.index, reached, strict=True):
        if others := sources - {layer}:
            return layers.names[layer], layers.names[min(others)]
    return None


def check_uncoupled(
    optimizer_update: Callable[[PyTree], PyTree], params: PyTree, layers: Layers
) -> None:
    """Raises `ValueError` if the optimizer couples layers: then the way back through it needs every
    layer's gradient, and some of them won't do."""
    if pair := coupled_layers(optimizer_update, params, layers):
        raise ValueError(
            f"this optimizer's update of {pair[0]!r} depends on the gradient of {pair[1]!r} (clipping "
            "by the global norm and trust ratios do that), so the way back through it needs every "
            "layer: use all_layers(through_optimizer=True), or through_optimizer=False"
        )
