"""Learned gates: which layer groups keep their share of the meta gradient (paper §4).

Symbols: r_l ∈ {0, 1} = the gate of group l, η = the samplers' parameters, δ = their learning rate,
K = the number of groups the paper wants open, B = our budget in plain steps, L_r = the penalty,
λ1, λ2 = the weights of L_r and L_g, cut = the lowest group whose gradients are computed.

This file is the static side: a hashable description and what follows from it. `gate_state` holds the
samplers' parameters and the draws under way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.draws import branch_for, even_cuts
from famus_jax.core.groups import LayerGroups
from famus_jax.core.pooling import Matching, Pooling
from famus_jax.core.samplers import GateDraw, draw_gates

Penalty = Literal["count", "last", "budget"]


@dataclasses.dataclass(frozen=True)
class LearnedGates:
    """The static choices of learned gates. `gate_preset` gives the named sets.

    Attributes:
      preset: the name for tables.
      penalty: L_r: `"count"` is (Σ_l r_l − K)² (Eq. 10); `"last"` is (r − K)² of the topmost gate
        alone (released code); `"budget"` is (E[cost] − B)², E[cost] the expected cost of a meta step
        over the gates' probabilities: exact, since the cost of a step is that of its lowest open
        gate. It is met at every draw, by one number added to the log-odds of all gates (so that the
        penalty is 0): the samplers learn which gates to open with it.
      target: K, or B.
      group_by: what has a gate: `"module"` or `"tensor"` (released code); how layer groups are found
        where the user gives none.
      pooling, matching: see `famus_jax.core.pooling`.
      hidden, layers, temperature: of the samplers.
      head_groups: how many groups at the top make up the last layer.
      head_open: the head has no gate; it is always open.
      candidates: how many groups below the head may open; None for all.
      closed_sign: a closed gate's slope is this times −α⟨v_l, g_l⟩ (released code: −1).
      lambda_r, lambda_g: λ1, λ2.
      scale_with_alpha: multiply λ1 and λ2 by α, so that a learning-rate decay does not leave L_g and
        L_r to rule over L_c, whose gradients are proportional to α.
      learning_rate, momentum, nesterov: of the samplers' SGD; δ = learning_rate.
      lag: how many meta updates ahead gates are drawn.
      max_variants: at most so many cuts, hence compiled variants; lower gates than the nearest cut
        round down to it.
      explore_every: every so many meta updates the cut is the lowest, so that every gate has a slope;
        0 for never.
      out_axis: the output-channel axis of kernels (-1 for flax, 0 for PyTorch's layout).
    """

    preset: str = "paper"
    penalty: Penalty = "count"
    target: float = 4.0
    group_by: str = "module"
    pooling: Pooling = "mean"
    matching: Matching = "mean"
    hidden: int = 128
    layers: int = 2
    temperature: float = 1.0
    head_groups: int = 1
    head_open: bool = False
    candidates: int | None = None
    closed_sign: int = 1
    lambda_r: float = 0.1
    lambda_g: float = 0.1
    scale_with_alpha: bool = False
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    lag: int = 0
    max_variants: int = 6
    explore_every: int = 0
    out_axis: int = -1

    @property
    def label(self) -> str:
        """A short name for tables."""
        return f"famus_{self.preset}"

    def optimizer(self) -> optax.GradientTransformation:
        """The samplers' optimiser."""
        return optax.sgd(self.learning_rate, self.momentum, nesterov=self.nesterov)

    def lambdas(self, alpha: jax.Array | float) -> tuple[jax.Array | float, jax.Array | float]:
        """λ1 and λ2 at the learning rate α."""
        scale = alpha if self.scale_with_alpha else 1.0
        return self.lambda_r * scale, self.lambda_g * scale

    def cuts(self, groups: LayerGroups) -> tuple[int, ...]:
        """The allowed cuts, ascending: both ends of the gated part and evenly spaced ones between.

        Raises:
          ValueError: if the gates do not fit the network.
        """
        if len(groups) <= self.head_groups:
            raise ValueError(
                f"learned gates with head_groups={self.head_groups} need more than that many layer "
                f"groups; this network has {len(groups)}: {list(groups.names)}"
            )
        if self.max_variants < 2 or self.lag < 0:
            raise ValueError(
                f"max_variants must be at least 2 and lag at least 0; got {self.max_variants} and "
                f"{self.lag}"
            )
        if self.penalty == "count" and not 0 <= self.target <= len(groups):
            raise ValueError(
                f"K = target = {self.target} must lie between 0 and the {len(groups)} layer groups of "
                f"this network: learned_gates(..., target={len(groups) / 2:g}), for instance"
            )
        top = len(groups) - self.head_groups
        below_head = top if self.candidates is None else min(self.candidates, top)
        return even_cuts(top - below_head, top, self.max_variants)

    def may_open(self, groups: LayerGroups) -> jax.Array:
        """1 where a group has a gate, else 0; float32 [L]."""
        lowest, head = self.cuts(groups)[0], len(groups) - self.head_groups
        top = head if self.head_open else len(groups)
        return jnp.asarray([float(lowest <= i < top) for i in groups.all], jnp.float32)

    def mask(self, hard: jax.Array, groups: LayerGroups) -> jax.Array:
        """The open groups, from the gates: closed below the candidates, open at an open head."""
        head = len(groups) - self.head_groups
        always = jnp.asarray([float(self.head_open and i >= head) for i in groups.all], jnp.float32)
        return jnp.where(always > 0, 1.0, hard * self.may_open(groups))

    def branch(self, mask: jax.Array, update: jax.Array, groups: LayerGroups) -> jax.Array:
        """Which of `cuts` serves these open groups: the highest that lies below none of them."""
        branch = branch_for(self.cuts(groups), mask, len(groups))
        if self.explore_every:
            branch = jnp.where(update % self.explore_every == 0, 0, branch)
        return branch

    def expected_cost(
        self, probability: jax.Array, groups: LayerGroups, costs: Sequence[float]
    ) -> jax.Array:
        """E[cost] of a step when group l opens with `probability[l]`, independently; a scalar."""
        cuts = self.cuts(groups)
        closed = 1 - probability * self.may_open(groups)
        expected = jnp.asarray(costs[-1], jnp.float32)
        for i in range(len(cuts) - 1):
            any_open = 1 - jnp.prod(closed[: cuts[i + 1]])
            expected += (costs[i] - costs[i + 1]) * any_open
        if self.explore_every:  # those updates pay for the lowest cut
            expected += (costs[0] - expected) / self.explore_every
        return expected

    def budget_shift(
        self, odds: jax.Array, groups: LayerGroups, costs: Sequence[float]
    ) -> jax.Array:
        """What to add to all log-odds [L] so that the expected cost is the budget; a scalar.

        The expected cost rises with the shift, so it is looked up in a table of both.
        """
        shifts = (jnp.abs(odds).max() + 12.0) * jnp.linspace(-1.0, 1.0, 1025)
        opens = jax.nn.sigmoid(odds[None, :] + shifts[:, None])
        expected = jax.vmap(lambda p: self.expected_cost(p, groups, costs))(opens)
        below = jnp.clip((expected <= self.target).sum() - 1, 0, len(shifts) - 2)
        low, high = expected[below], expected[below + 1]
        share = jnp.clip((self.target - low) / jnp.where(high > low, high - low, 1), 0, 1)
        return shifts[below] + share * (shifts[below + 1] - shifts[below])  # no loop, unlike interp

    def draw(
        self,
        eta: Any,
        inputs: jax.Array,
        uniforms: jax.Array,
        groups: LayerGroups,
        costs: Sequence[float],
    ) -> GateDraw:
        """A draw of all gates; with a budget, at the log-odds that meet it."""
        if self.penalty != "budget":
            return draw_gates(eta, inputs, uniforms, self.temperature)
        self.check_budget(costs)

        def shift(odds: jax.Array) -> jax.Array:
            return self.budget_shift(odds, groups, costs)

        return draw_gates(eta, inputs, uniforms, self.temperature, shift)

    def regularizer(self, draw: GateDraw, groups: LayerGroups, costs: Sequence[float]) -> jax.Array:
        """L_r; see `penalty`. Raises `ValueError` if no cut meets the budget."""
        if self.penalty == "count":
            return (self.mask(draw.hard, groups).sum() - self.target) ** 2
        if self.penalty == "last":
            top = len(groups) - (self.head_groups if self.head_open else 0)
            return (draw.hard[top - 1] - self.target) ** 2
        self.check_budget(costs)
        return (self.expected_cost(draw.probability, groups, costs) - self.target) ** 2

    def check_budget(self, costs: Sequence[float]) -> None:
        """Raises `ValueError` unless the budget lies between the cheapest and the dearest cut."""
        if self.penalty == "budget" and not costs[-1] <= self.target <= costs[0]:
            raise ValueError(
                f"a budget of {self.target} plain steps can't be met: with this network, look-ahead "
                f"and meta batch a step costs between {costs[-1]:.2f} and {costs[0]:.2f}"
            )

    def open_probability(self, groups: LayerGroups, costs: Sequence[float]) -> float:
        """Where the gates start: at the budget, or undecided."""
        if self.penalty != "budget":
            return 0.5
        self.check_budget(costs)
        low, high = 1e-4, 1 - 1e-4
        for _ in range(40):
            middle = (low + high) / 2
            with jax.ensure_compile_time_eval():
                cost = float(
                    self.expected_cost(jnp.full(len(groups), middle, jnp.float32), groups, costs)
                )
            low, high = (middle, high) if cost < self.target else (low, middle)
        return (low + high) / 2


_PRESETS = {
    "paper": LearnedGates(),
    "released": LearnedGates(
        preset="released",
        penalty="last",
        group_by="tensor",
        pooling="standardised_sum",
        matching="mean_std",
        layers=3,
        temperature=5.0,
        head_groups=2,
        head_open=True,
        candidates=13,
        closed_sign=-1,
        nesterov=True,
    ),
    "budget": LearnedGates(
        preset="budget", penalty="budget", target=2.4, pooling="rms", lambda_r=1.0, head_open=True
    ),
}


def gate_preset(name: str, **changes: Any) -> LearnedGates:
    """A named set of choices, with some fields changed: `"paper"`, `"released"` (a gate per tensor) or
    `"budget"` (ours).

    Raises:
      ValueError: for an unknown preset or field.
    """
    if name not in _PRESETS:
        raise ValueError(f"no gate preset {name!r}; there are {sorted(_PRESETS)}")
    fields = [field.name for field in dataclasses.fields(LearnedGates)]
    unknown = [field for field in changes if field not in fields]
    if unknown:
        raise ValueError(f"learned gates have no {unknown[0]!r}; their fields are {fields}")
    return dataclasses.replace(_PRESETS[name], **changes)
