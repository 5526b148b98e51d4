"""Estimators of the meta gradient, as values: which layers, which virtual step, which route.

An `Estimator` is frozen and hashable and holds nothing but static choices, so it can be a static
argument of a compiled function; keys, schedules and what a kind of active layers learns live in the
state.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from famus_jax.core.active_layers import ActiveLayers, is_number, is_whole

VirtualStep = Literal["all", "active", "actual", "carried", "unrolled"]
Route = Literal["jvp", "vjp", "finite_difference", "darts", "second_order"]


@dataclasses.dataclass(frozen=True)
class Estimator:
    """How the meta gradient is estimated. The functions of `estimators` make one.

    Attributes:
      active: the layers whose share of the meta gradient is kept.
      virtual_step: `"all"`: the virtual step moves every layer (the paper). `"active"`: it moves the
        active layers alone, which spares the virtual backward pass below them. `"actual"`: the step
        with today's θ serves as virtual and actual step, and θ' counts from the next batch.
        `"carried"`: no virtual step; the meta batch's gradient at w is asked every `renew_every`-th
        meta update, and a moving average of its answers is carried along, which takes a copy of the
        parameters (see `core.carried`). With `examples=4, renew_every=8, decay=0.5`, batches of 64
        and 16, a step costs 1.09 plain ones. A method with a weight per example (L2R) needs all
        examples: 1.7. `"unrolled"`: `steps` virtual steps, one after the other, on as many batches: the
        training batch holds arrays [k, n, ...], this step's batch first (see `core.unrolled`).
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
      renew_every: with `"carried"`, ask the meta batch at every such meta update.
      decay: of the moving average that is carried; 0 for the last answer alone.
      steps: with `"unrolled"`, k, how many.
      carried_dtype: what it is kept in, `"float32"` or `"bfloat16"`; None for that of the parameters.

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
    renew_every: int = 1
    decay: float = 0.0
    carried_dtype: str | None = None
    steps: int = 1

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
        self._check_carried()
        self._check_unrolled()
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
        if self.control_variate_every and (
            active.drawn or self.virtual_step in ("actual", "carried")
        ):
            raise ValueError(
                f"control_variate_every={self.control_variate_every} corrects a cheap gradient of a "
                "fixed set of layers, last_layers(...) or named_layers(...), with "
                'virtual_step="all" or "active"; got '
                f"{active.label} and virtual_step={self.virtual_step!r}"
            )

    def _check_carried(self) -> None:
        if not is_whole(self.renew_every, 1):
            raise ValueError(f"renew_every must be an int of at least 1; got {self.renew_every!r}")
        if not is_number(self.decay) or not 0 <= self.decay < 1:
            raise ValueError(f"decay, of what is carried, must lie in [0, 1); got {self.decay!r}")
        if self.carried_dtype not in (None, "float32", "bfloat16"):
            raise ValueError(
                "carried_dtype must be 'float32', 'bfloat16', or None for that of the parameters; got "
                f"{self.carried_dtype!r}"
            )
        if not self.carries:
            if (self.renew_every, self.decay, self.carried_dtype) != (1, 0, None):
                raise ValueError(
                    "renew_every, decay and carried_dtype are of a carried direction: set "
                    f'virtual_step="carried", or leave them out; got virtual_step={self.virtual_step!r}'
                )
            return
        if self.active.drawn or self.through_optimizer or self.route == "second_order":
            raise ValueError(
                'virtual_step="carried" takes no virtual step that could choose layers, go through an '
                "optimizer or be differentiated: use all_layers, last_layers or named_layers without "
                f"through_optimizer and second_order; got {self.active.label}, "
                f"through_optimizer={self.through_optimizer}, route={self.route!r}"
            )

    def _check_unrolled(self) -> None:
        if not is_whole(self.steps, 1):
            raise ValueError(f"steps must be an int of at least 1; got {self.steps!r}")
        if not self.unrolls:
            if self.steps != 1:
                raise ValueError(
                    f"steps={self.steps} are virtual steps one after the other: set "
                    f'virtual_step="unrolled", or use look_ahead({self.steps}); got virtual_step='
                    f"{self.virtual_step!r}"
                )
            return
        whole = not self.active.drawn and self.active.label == "all_layers"
        if (
            not whole
            or self.examples is not None
            or self.control_variate_every
            or self.route not in ("jvp", "second_order")
        ):
            raise ValueError(
                'virtual_step="unrolled" hears all layers and examples, by the route "jvp" (in mixed '
                f'mode) or "second_order": use look_ahead({self.steps}); got {self.active.label}, '
                f"route={self.route!r}, examples={self.examples}, "
                f"control_variate_every={self.control_variate_every}"
            )

    @property
    def unrolls(self) -> bool:
        """Whether many virtual steps are taken, on a window of batches."""
        return self.virtual_step == "unrolled"

    @property
    def carries(self) -> bool:
        """Whether a direction is carried from step to step."""
        return self.virtual_step == "carried"

    @property
    def renews_every(self) -> int:
        """At every such meta update something is renewed that a step between has no program for: the
        exact gradient of a control variate, or the direction that is carried; 0 for nothing."""
        if self.carries:
            return self.renew_every if self.renew_every > 1 else 0
        return self.control_variate_every

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
        parts += [f"renewed{self.renew_every}"] if self.renew_every != 1 else []
        parts += [f"decay{self.decay!r}"] if self.decay else []
        parts += [f"{self.steps}steps"] if self.unrolls else []
        parts += [self.carried_dtype] if self.carried_dtype else []
        return "_".join(parts)
