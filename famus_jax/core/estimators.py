"""The estimators that there are, by name: functions that make an `Estimator`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

from famus_jax.core.active_layers import AllLayers, LastLayers, NamedLayers, is_number
from famus_jax.core.estimator import Estimator, Route, VirtualStep
from famus_jax.core.method import Method
from famus_jax.core.random_layers import RandomDepth, RandomLayers


class How(TypedDict, total=False):
    """The keyword arguments that every function below takes: the fields of `Estimator`."""

    virtual_step: VirtualStep
    through_optimizer: bool
    route: Route
    update_every: int
    examples: int | None
    control_variate_every: int
    epsilon: float
    renew_every: int
    decay: float
    carried_dtype: str | None
    steps: int


def all_layers(**how: Unpack[How]) -> Estimator:
    """The exact meta gradient of the virtual step: every layer is heard.

    Args:
      **how: fields of `Estimator`: examples, virtual_step, update_every, ...

    Example:
      >>> all_layers(examples=8).label
      'all_layers_examples8'
      >>> all_layers(examples=4, virtual_step="carried", renew_every=8, decay=0.5).label
      'all_layers_carried_step_examples4_renewed8_decay0.5'
    """
    return Estimator(AllLayers(), **how)


def second_order(**how: Unpack[How]) -> Estimator:
    """The exact meta gradient by differentiating through the virtual step: the usual baseline.

    Raises:
      ValueError: for a `route`; this is one.

    Example:
      >>> second_order().route
      'second_order'
    """
    if "route" in how:
        raise ValueError(
            f"second_order(route={how['route']!r}): second order is a route; use "
            f"all_layers(route={how['route']!r})"
        )
    return Estimator(AllLayers(), **{**how, "route": "second_order"})  # type: ignore[arg-type]


def look_ahead(k: int, **how: Unpack[How]) -> Estimator:
    """The exact meta gradient k steps ahead, through the real optimizer: see `core.unrolled`.

    The training batch is then a window of k batches, arrays [k, n, ...]: this step's first, then those
    of the steps to come. θ is judged after k steps on them; the actual step is the first of them, with
    the new θ. `update_every=k` looks ahead once for every window. In `train_step` the optimizer is the
    one that trains; otherwise give `optimizer=(optimizer.update, opt_state)` with the call, or
    `through_optimizer=False` for steps w − α g.

    Example:
      >>> look_ahead(4, update_every=4).label
      'all_layers_unrolled_step_through_optimizer_every4_4steps'
    """
    defaults: How = {"through_optimizer": True}
    how = {**defaults, **how, "virtual_step": "unrolled", "steps": k}
    return Estimator(AllLayers(), **how)


def last_layers(k: int, **how: Unpack[How]) -> Estimator:
    """FaMUS on the k layers nearest the outputs; `last_layers(1)` is the head alone.

    Example:
      >>> last_layers(1, virtual_step="active").label
      'last_layers_1_active_step'
    """
    return Estimator(LastLayers(k), **how)


def named_layers(*names: str, **how: Unpack[How]) -> Estimator:
    """FaMUS on a fixed set: layers by name, or all layers of a module by its path (paper, Table 4).

    Example:
      >>> named_layers("block_3", "head").label
      'named_layers_block_3+head'
    """
    if odd := [name for name in names if not isinstance(name, str)]:
        raise ValueError(
            f'named_layers takes names, named_layers("block_3", "head"); got {odd[0]!r}'
        )
    return Estimator(NamedLayers(tuple(names)), **how)


def random_layers(
    s: int, *, unbiased: bool = False, max_programs: int = 6, **how: Unpack[How]
) -> Estimator:
    """s layers drawn anew for every meta update; see `RandomLayers`.

    Example:
      >>> random_layers(2, unbiased=True).label
      'random_layers_2_unbiased'
    """
    return Estimator(RandomLayers(s, unbiased, max_programs), **how)


def random_depth(
    probabilities: Sequence[float] | float = 0.2,
    *,
    lowest: Sequence[str] | None = None,
    **how: Unpack[How],
) -> Estimator:
    """An unbiased estimate of the exact meta gradient at a fraction of its price; see `RandomDepth`.

    Args:
      probabilities: one per depth, deepest first, summing to 1; or a number p: all layers with
        probability p, else the head alone.
      lowest: the lowest layer of every depth, by name, bottom to top; by default evenly spaced.
      **how: fields of `Estimator`. With `virtual_step="active"` the deepest draw still moves every
        layer.

    Example:
      >>> random_depth(0.25).active.probabilities
      (0.25, 0.75)
    """
    if is_number(probabilities):
        probabilities = (probabilities, 1 - probabilities)  # type: ignore[operator]
    given = tuple(probabilities) if isinstance(probabilities, Sequence) else (probabilities,)
    names = None if lowest is None else tuple(lowest)
    return Estimator(RandomDepth(given, names), **how)  # type: ignore[arg-type]


def default_estimator(method: Method) -> Estimator:
    """The estimator that did best for its price in the comparison of `docs/meta_gradient.md`.

    For a method that carries θ from batch to batch (MW-Net): the exact gradient on eight examples. It
    wants a small meta batch as well: with batches of 64 and 8 a step costs 1.33 plain steps. For one
    that reweights each batch anew (L2R), which needs every example's share: the head alone, 1.04
    plain steps; its virtual step does not move, so that moving the head alone is no approximation.
    For one that starts θ anew for every batch but has no weight per example (MLC), of which that
    comparison says nothing: the exact gradient on sixteen examples. θ never averages over batches
    there, so that it wants more than eight.

    Example:
      >>> import famus_jax as famus
      >>> default_estimator(famus.mwnet()).label
      'all_layers_examples8'
    """
    if not method.reset_each_batch:
        return all_layers(examples=8)
    if method.per_example:
        return last_layers(1, virtual_step="active")
    return all_layers(examples=16)
