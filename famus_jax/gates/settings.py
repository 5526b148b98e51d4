"""Learned gates at rest: their settings, which layers have a gate, which program an outcome needs.

Symbols: r_l ∈ {0, 1} = the gate of layer l, α = the step size of the virtual step, δ = the samplers'
learning rate, K = the number of layers the paper wants open, B = our budget in plain steps, L_r = the
penalty, L_g = gradient matching, λ1, λ2 = the weights of both, "start" = the lowest layer that a
compiled program can hear. Paper: FaMUS, https://arxiv.org/abs/2104.15092, §4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import optax

from famus_jax.bounds import (
    Bounds,
    Count,
    CountOrNone,
    LearningRate,
    Momentum,
    NotNegative,
    Positive,
    Units,
)
from famus_jax.core.active_layers import (
    ActiveLayers,
    Programs,
    covering_program,
    even_starts,
    programs_from,
)
from famus_jax.gates.budget import expected_cost
from famus_jax.gates.pooling import Matching, Pooling
from famus_jax.layers.partition import Layers

Penalty = Literal["count", "last", "budget"]

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "released": {
        "penalty": "last",
        "layers_by": "tensor",
        "pooling": "standardized_sum",
        "matching": "mean_std",
        "sampler_layers": 3,
        "temperature": 5.0,
        "head_layers": 2,
        "head_open": True,
        "candidates": 13,
        "closed_sign": -1,
        "nesterov": True,
    },
    "budget": {
        "penalty": "budget",
        "target": 2.4,
        "pooling": "rms",
        "lambda_r": 1.0,
        "head_open": True,
    },
}


@dataclasses.dataclass(frozen=True)
class GateSettings(ActiveLayers):
    """The settings of `LearnedGates`; the defaults are those of the paper.

    Attributes:
      preset: the name for tables.
      penalty: L_r: `"count"` is (Σ_l r_l − K)² (Eq. 10); `"last"` is (r − K)² of the topmost gate
        alone (released code); `"budget"` is (E[cost] − B)², E[cost] the expected cost of a meta step
        over the gates' probabilities: exact, since the cost of a step is that of its lowest open
        gate. It is met at every draw, by one number added to the log-odds of all gates (so that the
        penalty is 0): the samplers learn which gates to open with it.
      target: K, or B.
      layers_by: what has a gate: `"module"` or `"tensor"` (released code); how layers are found where
        the user gives none.
      pooling, matching: see `famus_jax.gates.pooling`.
      hidden, sampler_layers, temperature: of the samplers.
      head_layers: how many layers at the top make up the last one.
      head_open: the head has no gate; it is always open.
      candidates: how many layers below the head may open; None for all.
      closed_sign: a closed gate's slope is this times −α⟨v_l, g_l⟩ (released code: −1).
      lambda_r, lambda_g: λ1, λ2.
      scale_with_alpha: multiply λ1 and λ2 by α, so that a learning-rate decay does not leave L_g and
        L_r to rule over L_c, whose gradients are proportional to α.
      learning_rate, momentum, nesterov: of the samplers' SGD; δ = learning_rate.
      lag: how many meta updates ahead gates are drawn.
      max_programs: at most so many starts, hence compiled programs; lower gates than the nearest
        start round down to it.
      explore_every: every so many meta updates the start is the lowest, so that every gate has a
        slope; 0 for never.
      out_axis: the output-channel axis of kernels (-1 for flax, 0 for PyTorch's layout).

    Example:
      >>> import famus_jax as famus
      >>> params = {"body": jnp.zeros(2), "neck": jnp.zeros(2), "head": jnp.zeros(2)}
      >>> layers = famus.layers_by(params, {"body": 0, "neck": 1, "head": 2})
      >>> gates = GateSettings(target=2, head_open=True)
      >>> gates.starts(layers), gates.may_open(layers).tolist()
      ((0, 1, 2), [1.0, 1.0, 0.0])
      >>> open_layers = gates.mask(jnp.array([0.0, 1.0, 0.0]), layers)
      >>> open_layers.tolist(), int(gates.program(open_layers, jnp.array(0), layers))
      ([0.0, 1.0, 1.0], 1)
    """

    preset: str = "paper"
    penalty: Penalty = "count"
    target: NotNegative = 4.0
    layers_by: Literal["module", "tensor"] = "module"  # type: ignore[assignment]
    pooling: Pooling = "mean"
    matching: Matching = "mean"
    hidden: Units = 128
    sampler_layers: Annotated[int, Bounds(1, 64)] = 2
    temperature: Positive = 1.0
    head_layers: Count = 1
    head_open: bool = False
    candidates: CountOrNone | None = None
    closed_sign: Literal[1, -1] = 1
    lambda_r: NotNegative = 0.1
    lambda_g: NotNegative = 0.1
    scale_with_alpha: bool = False
    learning_rate: LearningRate = 0.1
    momentum: Momentum = 0.9
    nesterov: bool = False
    lag: Annotated[int, Bounds(0, 1000)] = 0
    max_programs: Annotated[int, Bounds(2, 1000)] = 6
    explore_every: CountOrNone = 0
    out_axis: Annotated[int, Bounds(-8, 8)] = -1

    @property
    def ahead(self) -> int:  # type: ignore[override]
        """See `ActiveLayers`."""
        return self.lag

    @property
    def reads_virtual_gradient(self) -> bool:  # type: ignore[override]
        """See `ActiveLayers`."""
        return self.lag == 0

    @property
    def label(self) -> str:  # type: ignore[override]
        """See `ActiveLayers`: the preset, and what differs from it."""
        base = PRESETS.get(self.preset, {})
        changed = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in dataclasses.fields(self)
            if f.name != "preset" and getattr(self, f.name) != base.get(f.name, f.default)
        ]
        return "_".join([f"gates_{self.preset}", *changed])

    def optimizer(self) -> optax.GradientTransformation:
        """The samplers' optimizer."""
        return optax.sgd(self.learning_rate, self.momentum, nesterov=self.nesterov)

    def lambdas(self, step_size: jax.Array | float) -> tuple[jax.Array | float, jax.Array | float]:
        """λ1 and λ2 at the step size α."""
        scale = step_size if self.scale_with_alpha else 1.0
        return self.lambda_r * scale, self.lambda_g * scale

    def starts(self, layers: Layers) -> tuple[int, ...]:
        """The programs' starts, ascending: both ends of the gated part, evenly spaced ones between.

        Raises:
          ValueError: if the gates do not fit the network.
        """
        if len(layers) <= self.head_layers:
            raise ValueError(
                f"learned gates with head_layers={self.head_layers} need more than that many "
                f"layers; this network has {len(layers)}: {list(layers.names)}"
            )
        if self.max_programs < 2 or self.lag < 0:
            raise ValueError(
                f"max_programs must be at least 2 and lag at least 0; got {self.max_programs} and "
                f"{self.lag}"
            )
        if self.penalty == "count" and not 0 <= self.target <= len(layers):
            raise ValueError(
                f"K = target = {self.target} must lie between 0 and the {len(layers)} layers of "
                f"this network: learned_gates(..., target={len(layers) / 2:g}), for instance"
            )
        top = len(layers) - self.head_layers
        below_head = top if self.candidates is None else min(self.candidates, top)
        return even_starts(top - below_head, top, self.max_programs)

    def programs(self, layers: Layers) -> Programs:
        """See `ActiveLayers`."""
        return programs_from(self.starts(layers), layers)

    def may_open(self, layers: Layers) -> jax.Array:
        """1 where a layer has a gate, else 0; float32 [L]."""
        lowest, head = self.starts(layers)[0], len(layers) - self.head_layers
        top = head if self.head_open else len(layers)
        return jnp.asarray([float(lowest <= i < top) for i in layers.all], jnp.float32)

    def mask(self, hard: jax.Array, layers: Layers) -> jax.Array:
        """The open layers, from the gates: closed below the candidates, open at an open head."""
        head = len(layers) - self.head_layers
        always = jnp.asarray([float(self.head_open and i >= head) for i in layers.all], jnp.float32)
        return jnp.where(always > 0, 1.0, hard * self.may_open(layers))

    def program(self, mask: jax.Array, update: jax.Array, layers: Layers) -> jax.Array:
        """Which program serves these open layers: the highest start that lies below none of them."""
        program = covering_program(self.starts(layers), mask)
        if self.explore_every:
            program = jnp.where(update % self.explore_every == 0, 0, program)
        return program

    def expected_cost(
        self, probability: jax.Array, layers: Layers, costs: Sequence[float]
    ) -> jax.Array:
        """E[cost] of a step when layer l opens with `probability[l]`, independently; a scalar."""
        gated = probability * self.may_open(layers)
        return expected_cost(gated, self.starts(layers), costs, self.explore_every)
