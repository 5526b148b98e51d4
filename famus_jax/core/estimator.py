"""Estimators of the meta gradient, as values: which layers, which virtual step, which route.

An `Estimator` is frozen and hashable and holds nothing but static choices, so it can be a static
argument of a compiled function; keys, schedules and what a kind of active layers learns live in the
state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, TypedDict, Unpack

from famus_jax.core.active_layers import (
    ActiveLayers,
    AllLayers,
    LastLayers,
    NamedLayers,
    is_number,
    is_whole,
)
from famus_jax.core.method import Method
from famus_jax.core.random_layers import RandomDepth, RandomLayers

VirtualStep = Literal["all", "active", "actual"]
Route = Literal["jvp", "vjp", "finite_difference", "darts", "second_order"]


@dataclasses.dataclass(frozen=True)
class Estimator:
    """How the meta gradient is estimated. Use the functions below to make one.

    Attributes:
      active: the layers whose share of the meta gradient is kept.
      virtual_step: `"all"`: the virtual step moves every layer (the paper). `"active"`: it moves the
        active layers alone, which spares the virtual backward pass below them. `"actual"`: the step
        with today's θ serves as virtual and actual step, and θ' counts from the next batch.
      through_optimizer: the virtual step is the real optimizer's update, through which the direction
        is then pulled back, instead of w − α g (Eq. 3).
      route: `"jvp"` (one fused J v), `"vjp"` (one `jax.vjp` per layer, the paper's form),
        `"finite_difference"` (J v as a difference of outputs at w ± ε v, for networks with only a
        reverse rule), `"darts"` (a difference of ∇_θ T at w ± ε v, as DARTS and SAMA do; see
        `meta_gradient` for what it adds), or `"second_order"` (`jax.grad` through the virtual step):
        one number, other costs.
      update_every: a meta update every so many steps; in between a step costs what a plain one does.
      examples: the virtual step and the meta gradient are taken on so many examples of the training
        batch, drawn anew in every step (on the whole batch, if it has no more); None for all. The
        actual step is always on all.
      control_variate_every: every so many meta updates the exact gradient is computed as well, and
        its difference to the cheap one is added until the next time; 0 for never.
      epsilon: the length of the finite differences' step, relative to the norm of the parameters.

    Raises:
      ValueError: for a value that is none, or two choices that exclude each other.
    """

    active: ActiveLayers
    virtual_step: VirtualStep = "all"
    through_optimizer: bool = False
    route: Route = "jvp"
    update_every: int = 1
    examples: int | None = None
    control_variate_every: int = 0
    epsilon: float = 1e-2

    def __post_init__(self):
        for field, kind in (("virtual_step", VirtualStep), ("route", Route)):
            known = kind.__args__  # type: ignore[attr-defined]
            if getattr(self, field) not in known:
                raise ValueError(f"{field} must be one of {known}; got {getattr(self, field)!r}")
        if not is_whole(self.update_every, 1):
            raise ValueError(
                f"update_every must be an int of at least 1; got {self.update_every!r}"
            )
        if not isinstance(self.through_optimizer, bool):
            raise ValueError(
                f"through_optimizer must be True or False; got {self.through_optimizer!r}"
            )
        if self.examples is not None and not is_whole(self.examples, 1):
            raise ValueError(
                "examples must be a whole number of at least 1, or None for the whole batch; got "
                f"{self.examples!r}"
            )
        if self.examples is not None and self.virtual_step == "actual":
            raise ValueError(
                f"examples={self.examples} takes the virtual step on a part of the batch, but with "
                'virtual_step="actual" it is the actual step: use virtual_step="all" or "active"'
            )
        if not is_number(self.epsilon) or self.epsilon <= 0:
            raise ValueError(f"epsilon, a step length, must be positive; got {self.epsilon!r}")
        active = self.active
        if active.drawn and self.route in ("vjp", "second_order"):
            raise ValueError(
                'active layers that are drawn go the routes "jvp", "finite_difference" and "darts"; '
                f'got route="{self.route}" and {active.label}'
            )
        if active.reads_virtual_gradient and self.virtual_step == "active":
            raise ValueError(
                f"{active.label} draws from this step's virtual gradient, which needs the active "
                'layers first with virtual_step="active": draw them ahead, learned_gates(..., lag=2), '
                'or use virtual_step="all"'
            )
        if not is_whole(self.control_variate_every, 0) or self.control_variate_every == 1:
            raise ValueError(
                "control_variate_every must be 0 (never) or an int of at least 2 (1 would be the exact "
                f"gradient itself); got {self.control_variate_every!r}"
            )
        if self.control_variate_every and (active.drawn or self.virtual_step == "actual"):
            raise ValueError(
                f"control_variate_every={self.control_variate_every} corrects a cheap gradient of a "
                "fixed set of layers, last_layers(...) or named_layers(...), with "
                'virtual_step="all" or "active"; got '
                f"{active.label} and virtual_step={self.virtual_step!r}"
            )

    def replace(self, **changes: Any) -> Estimator:
        """The same estimator but for some fields."""
        return dataclasses.replace(self, **changes)

    @property
    def label(self) -> str:
        """A short name for tables and file names; two different estimators never share one."""
        parts = [self.active.label]
        parts += [f"{self.virtual_step}_step"] if self.virtual_step != "all" else []
        parts += ["through_optimizer"] if self.through_optimizer else []
        parts += [self.route] if self.route != "jvp" else []
        parts += [f"examples{self.examples}"] if self.examples is not None else []
        parts += [f"variate{self.control_variate_every}"] if self.control_variate_every else []
        parts += [f"every{self.update_every}"] if self.update_every != 1 else []
        parts += [f"epsilon{self.epsilon!r}"] if self.epsilon != 1e-2 else []
        return "_".join(parts)


class How(TypedDict, total=False):
    """The keyword arguments that every function below takes: the fields of `Estimator`."""

    virtual_step: VirtualStep
    through_optimizer: bool
    route: Route
    update_every: int
    examples: int | None
    control_variate_every: int
    epsilon: float


def all_layers(**how: Unpack[How]) -> Estimator:
    """The exact meta gradient of the virtual step: every layer is heard.

    Args:
      **how: fields of `Estimator`: examples, virtual_step, update_every, ...

    Example:
      >>> all_layers(examples=8).label
      'all_layers_examples8'
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
