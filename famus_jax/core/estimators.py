"""Estimators of the meta gradient, as values: which groups, which look-ahead, which route.

An `Estimator` is frozen and hashable and holds nothing but static choices, so it can be a static
argument of a compiled function; keys, schedules and the samplers' parameters live in the state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from famus_jax.core.gates import LearnedGates, gate_preset
from famus_jax.core.groups import LayerGroups

LookAhead = Literal["full", "active_only", "one_pass"]
Closed = Literal["frozen", "coast"]
Route = Literal["jvp", "vjp", "second_order"]


@dataclasses.dataclass(frozen=True)
class AllGroups:
    """Every layer group: the exact one-step meta gradient."""

    label = "exact"

    def groups(self, groups: LayerGroups) -> tuple[int, ...]:
        """The active groups."""
        return groups.all


@dataclasses.dataclass(frozen=True)
class TopK:
    """The k groups nearest the outputs."""

    k: int

    @property
    def label(self) -> str:
        """A short name for tables."""
        return f"famus_top{self.k}"

    def groups(self, groups: LayerGroups) -> tuple[int, ...]:
        """The active groups. Raises `ValueError` unless 1 <= k <= L."""
        if not 1 <= self.k <= len(groups):
            raise ValueError(
                f"top_k({self.k}) needs k between 1 and {len(groups)}, the number of layer groups "
                f"of this network: {list(groups.names)}"
            )
        return groups.all[len(groups) - self.k :]


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A fixed set of groups, by name."""

    names: tuple[str, ...]

    @property
    def label(self) -> str:
        """A short name for tables."""
        return "famus_" + "+".join(self.names)

    def groups(self, groups: LayerGroups) -> tuple[int, ...]:
        """The active groups. Raises `ValueError` for an unknown name or none at all."""
        if not self.names:
            raise ValueError(f"chosen() names no layer group; choose from {list(groups.names)}")
        return groups.find(self.names)


Active = AllGroups | TopK | Chosen | LearnedGates


@dataclasses.dataclass(frozen=True)
class Estimator:
    """How the meta gradient is estimated. Use the functions below to make one.

    Attributes:
      active: the layer groups whose share of the meta gradient is kept.
      lookahead: `"full"`: the virtual step moves every group (the paper). `"active_only"`: it moves
        the active groups alone, which spares the virtual backward pass below them. `"one_pass"`:
        the step with today's θ serves as virtual and actual step, and θ' counts from the next batch.
      closed: where the closed groups stand in an `"active_only"` look-ahead: `"frozen"` at w, or
        `"coast"`: moved by what the optimiser does at zero gradient (momentum, decay).
      route: `"jvp"` (one fused J v), `"vjp"` (one `jax.vjp` per layer group, the paper's form) or
        `"second_order"` (`jax.grad` through the virtual step): the same number, other costs.
    """

    active: Active
    lookahead: LookAhead = "full"
    closed: Closed = "frozen"
    route: Route = "jvp"

    def __post_init__(self):
        for field, kind in (("lookahead", LookAhead), ("closed", Closed), ("route", Route)):
            known = kind.__args__  # type: ignore[attr-defined]
            if getattr(self, field) not in known:
                raise ValueError(f"{field} must be one of {known}; got {getattr(self, field)!r}")
        if self.closed != "frozen" and self.lookahead != "active_only":
            raise ValueError(
                f'closed="{self.closed}" belongs to lookahead="active_only"; with '
                f'lookahead="{self.lookahead}" every group takes part in the look-ahead'
            )
        if isinstance(self.active, LearnedGates):
            if self.route != "jvp":
                raise ValueError(f'learned gates go the route "jvp"; got route={self.route!r}')
            if self.lookahead == "active_only" and self.active.lag == 0:
                raise ValueError(
                    'lookahead="active_only" must know the gates before the virtual step: use '
                    "learned_gates(..., lag=1) or more"
                )

    @property
    def label(self) -> str:
        """A short name for tables and file names."""
        parts = [self.active.label]
        parts += [self.lookahead] if self.lookahead != "full" else []
        parts += [self.closed] if self.closed != "frozen" else []
        parts += [self.route] if self.route != "jvp" else []
        return "_".join(parts)


def exact(*, lookahead: LookAhead = "full", route: Route = "jvp") -> Estimator:
    """The exact meta gradient of the look-ahead: every group."""
    return Estimator(AllGroups(), lookahead, route=route)


def second_order(*, lookahead: LookAhead = "full") -> Estimator:
    """The exact meta gradient by differentiating through the virtual step: the usual baseline."""
    return Estimator(AllGroups(), lookahead, route="second_order")


def top_k(
    k: int, *, lookahead: LookAhead = "full", closed: Closed = "frozen", route: Route = "jvp"
) -> Estimator:
    """FaMUS on the k groups nearest the outputs; `top_k(1)` is the head alone."""
    return Estimator(TopK(k), lookahead, closed, route)


def chosen(
    names: Sequence[str] | str,
    *,
    lookahead: LookAhead = "full",
    closed: Closed = "frozen",
    route: Route = "jvp",
) -> Estimator:
    """FaMUS on a fixed set of layer groups, given by name."""
    names = (names,) if isinstance(names, str) else tuple(names)
    return Estimator(Chosen(names), lookahead, closed, route)


def learned_gates(
    preset: str = "paper",
    *,
    lookahead: LookAhead = "full",
    closed: Closed = "frozen",
    **changes,
) -> Estimator:
    """FaMUS with learned gates.

    Args:
      preset: `"paper"`, `"released"` or `"budget"`; see `famus_jax.LearnedGates`.
      lookahead, closed: see `Estimator`.
      **changes: fields of `LearnedGates` to change from the preset.

    Raises:
      ValueError: for an unknown preset or field.
    """
    return Estimator(gate_preset(preset, **changes), lookahead, closed)
