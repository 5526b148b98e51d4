"""Estimators of the meta gradient, as values: which groups, which look-ahead, which route.

An `Estimator` is frozen and hashable and holds nothing but static choices, so it can be a static
argument of a compiled function; keys, schedules and the samplers' parameters live in the state.
Which groups are active is one of: a fixed set (this file), a draw that knows no gradient
(`draws`: random groups, random depth) or learned gates (`gates`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict, Unpack

from famus_jax.core.draws import RandomDepth, RandomGroups
from famus_jax.core.gates import LearnedGates, gate_preset
from famus_jax.core.groups import LayerGroups

LookAhead = Literal["full", "active_only", "one_pass"]
Closed = Literal["frozen", "coast"]
Route = Literal["jvp", "vjp", "finite_difference", "darts", "second_order"]
VirtualStep = Literal["sgd", "optimizer"]


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


@dataclasses.dataclass(frozen=True)
class Block:
    """All groups whose names start alike: one pre-specified block (paper, Table 4)."""

    prefix: str

    @property
    def label(self) -> str:
        """A short name for tables."""
        return f"famus_block_{self.prefix}"

    def groups(self, groups: LayerGroups) -> tuple[int, ...]:
        """The active groups. Raises `ValueError` if no name starts so."""
        start = self.prefix.rstrip("/")
        found = tuple(
            i for i, n in enumerate(groups.names) if n == start or n.startswith(start + "/")
        )
        if not found:
            raise ValueError(
                f"block({self.prefix!r}): no layer group's name starts so; they are "
                f"{list(groups.names)}"
            )
        return found


Drawn = RandomGroups | RandomDepth | LearnedGates
"""The kinds whose active set is drawn anew for every meta update."""

Active = AllGroups | TopK | Chosen | Block | Drawn


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
      virtual_step: how the look-ahead moves: `"sgd"` (w − α g, Eq. 3) or `"optimizer"`: by the real
        optimiser's update, through which the direction is then pulled back.
      route: `"jvp"` (one fused J v), `"vjp"` (one `jax.vjp` per layer group, the paper's form),
        `"finite_difference"` (J v as a difference of outputs at w ± ε v, for networks with only a
        reverse rule), `"darts"` (a difference of ∇_θ T at w ± ε v, as DARTS and SAMA do; see
        `meta_gradient` for what it adds), or `"second_order"` (`jax.grad` through the virtual step):
        one number, other costs.
      every: a meta update every so many steps (in between a step costs what a plain one does): an
        int, or a function of the step, traceable, that returns one.
      part: the share of the training batch, evenly spaced examples, that the virtual step and the
        meta gradient are taken on; 1 for all. The actual step is always on all.
      correct_every: every so many meta updates the exact gradient is computed as well, and its
        difference to the cheap one is added until the next time (a control variate); 0 for never.
      epsilon: the length of the finite differences' step, relative to the norm of the parameters.
    """

    active: Active
    lookahead: LookAhead = "full"
    closed: Closed = "frozen"
    virtual_step: VirtualStep = "sgd"
    route: Route = "jvp"
    every: int | Callable[[Any], Any] = 1
    part: float = 1.0
    correct_every: int = 0
    epsilon: float = 1e-2

    def __post_init__(self):
        kinds = (
            ("lookahead", LookAhead),
            ("closed", Closed),
            ("virtual_step", VirtualStep),
            ("route", Route),
        )
        for field, kind in kinds:
            known = kind.__args__  # type: ignore[attr-defined]
            if getattr(self, field) not in known:
                raise ValueError(f"{field} must be one of {known}; got {getattr(self, field)!r}")
        if not callable(self.every) and (self.every < 1 or self.every != int(self.every)):
            raise ValueError(f"every must be an int of at least 1, or a function; got {self.every}")
        if not 0 < self.part <= 1:
            raise ValueError(f"part must lie in (0, 1], a share of the batch; got {self.part}")
        if self.part < 1 and self.lookahead == "one_pass":
            raise ValueError(
                f"part={self.part} takes the virtual step on a part of the batch, but with "
                'lookahead="one_pass" it is the actual step: use lookahead="full" or "active_only"'
            )
        if self.epsilon <= 0:
            raise ValueError(f"epsilon, a step length, must be positive; got {self.epsilon}")
        if self.closed != "frozen" and self.lookahead != "active_only":
            raise ValueError(
                f'closed="{self.closed}" belongs to lookahead="active_only"; with '
                f'lookahead="{self.lookahead}" every group takes part in the look-ahead'
            )
        if isinstance(self.active, Drawn) and self.route in ("vjp", "second_order"):
            raise ValueError(
                f'a drawn set of groups goes the routes "jvp", "finite_difference" and "darts"; got '
                f"route={self.route!r}"
            )
        if (
            isinstance(self.active, LearnedGates)
            and self.lookahead == "active_only"
            and self.active.lag == 0
        ):
            raise ValueError(
                'lookahead="active_only" must know the gates before the virtual step: use '
                "learned_gates(..., lag=1) or more"
            )
        self._check_correction()

    def _check_correction(self) -> None:
        if not self.correct_every:
            return
        if self.correct_every < 2:
            raise ValueError(
                f"correct_every must be at least 2 (1 would be the exact gradient itself: exact()); "
                f"got {self.correct_every}"
            )
        if isinstance(self.active, AllGroups | Drawn) or self.lookahead == "one_pass":
            raise ValueError(
                "correct_every corrects the gradient of a fixed, cheap set of groups: top_k, block or "
                f'chosen, with lookahead="full" or "active_only"; got {self.active} and '
                f"lookahead={self.lookahead!r}"
            )

    @property
    def group_by(self) -> str:
        """What a layer group is, where the user gives none: `"module"` or `"tensor"`."""
        return self.active.group_by if isinstance(self.active, LearnedGates) else "module"

    def replace(self, **changes: Any) -> Estimator:
        """The same estimator but for some fields."""
        return dataclasses.replace(self, **changes)

    @property
    def label(self) -> str:
        """A short name for tables and file names."""
        parts = [self.active.label]
        parts += [self.lookahead] if self.lookahead != "full" else []
        parts += [self.closed] if self.closed != "frozen" else []
        parts += [self.virtual_step] if self.virtual_step != "sgd" else []
        parts += [self.route] if self.route != "jvp" else []
        parts += [f"part{self.part:g}"] if self.part != 1 else []
        parts += [f"corrected{self.correct_every}"] if self.correct_every else []
        if callable(self.every):
            parts.append("every_" + getattr(self.every, "__name__", "schedule").strip("<>"))
        elif self.every != 1:
            parts.append(f"every{self.every}")
        return "_".join(parts)


class How(TypedDict, total=False):
    """The keyword arguments that every function below takes: the fields of `Estimator`."""

    lookahead: LookAhead
    closed: Closed
    virtual_step: VirtualStep
    route: Route
    every: int | Callable[[Any], Any]
    part: float
    correct_every: int
    epsilon: float


def exact(**how: Unpack[How]) -> Estimator:
    """The exact meta gradient of the look-ahead: every group.

    Args:
      **how: fields of `Estimator`: lookahead, route, every, part, ...
    """
    return Estimator(AllGroups(), **how)


def second_order(**how: Unpack[How]) -> Estimator:
    """The exact meta gradient by differentiating through the virtual step: the usual baseline."""
    return Estimator(AllGroups(), **{**how, "route": "second_order"})


def top_k(k: int, **how: Unpack[How]) -> Estimator:
    """FaMUS on the k groups nearest the outputs; `top_k(1)` is the head alone."""
    return Estimator(TopK(k), **how)


def chosen(names: Sequence[str] | str, **how: Unpack[How]) -> Estimator:
    """FaMUS on a fixed set of layer groups, given by name."""
    names = (names,) if isinstance(names, str) else tuple(names)
    return Estimator(Chosen(names), **how)


def block(prefix: str, **how: Unpack[How]) -> Estimator:
    """FaMUS on one pre-specified block: the groups whose names start with `prefix`."""
    return Estimator(Block(prefix), **how)


def random_groups(
    s: int, *, unbiased: bool = False, max_variants: int = 6, **how: Unpack[How]
) -> Estimator:
    """s layer groups drawn anew for every meta update; see `famus_jax.RandomGroups`."""
    return Estimator(RandomGroups(s, unbiased, max_variants), **how)


def random_depth(
    probabilities: Sequence[float] | float = 0.2,
    *,
    lowest: Sequence[str] | None = None,
    **how: Unpack[How],
) -> Estimator:
    """The exact meta gradient on average, at a fraction of its price, by a random depth.

    Args:
      probabilities: one per depth, deepest first, summing to 1; or a number p: all groups with
        probability p, else the head alone.
      lowest: the lowest group of every depth, by name, bottom to top; by default evenly spaced.
      **how: fields of `Estimator`. With `lookahead="active_only"` the deepest draw still moves every
        group.

    See `famus_jax.RandomDepth`.
    """
    if isinstance(probabilities, float | int):
        probabilities = (probabilities, 1 - probabilities)
    names = None if lowest is None else tuple(lowest)
    return Estimator(RandomDepth(tuple(probabilities), names), **how)


def learned_gates(
    preset: str = "paper",
    *,
    lookahead: LookAhead = "full",
    closed: Closed = "frozen",
    virtual_step: VirtualStep = "sgd",
    route: Route = "jvp",
    every: int | Callable[[Any], Any] = 1,
    part: float = 1.0,
    epsilon: float = 1e-2,
    **changes: Any,
) -> Estimator:
    """FaMUS with learned gates.

    Args:
      preset: `"paper"`, `"released"` or `"budget"`; see `famus_jax.LearnedGates`.
      lookahead, closed, virtual_step, route, every, part, epsilon: see `Estimator`.
      **changes: fields of `LearnedGates` to change from the preset.

    Raises:
      ValueError: for an unknown preset or field.
    """
    return Estimator(
        gate_preset(preset, **changes),
        lookahead,
        closed,
        virtual_step,
        route,
        every,
        part,
        epsilon=epsilon,
    )
