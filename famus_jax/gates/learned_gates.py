"""Learned gates: which layers keep their share of the meta gradient (FaMUS, arXiv:2104.15092, §4).

Symbols: r_l ∈ {0, 1} = the gate of layer l, Γ_l = its sampler, η = the samplers' parameters, δ = their
learning rate, K = the number of layers the paper wants open, B = our budget in plain steps, L_r = the
penalty, λ1, λ2 = the weights of L_r and L_g, "start" = the lowest layer whose gradients are computed.

A compiled program has a fixed start; gates above it multiply, layers below it are never built. Gates
are drawn in the step itself (`lag=0`) or `lag` updates ahead, from the gradients known then; the
inputs and the noise of a draw travel with it, and its gradient is taken when it is used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from famus_jax.core.active_layers import (
    ActiveLayers,
    Draw,
    Programs,
    Seen,
    covering_program,
    even_starts,
    programs_from,
)
from famus_jax.core.estimator import Estimator, How
from famus_jax.core.layers import Layers, Part
from famus_jax.gates.pooling import (
    Matching,
    Pooling,
    gradient_matching,
    layer_widths,
    pool_layers,
)
from famus_jax.gates.samplers import GateSample, init_samplers, sample_gates

PyTree = Any
Penalty = Literal["count", "last", "budget"]


class SamplerState(NamedTuple):
    """What learned gates carry: the samplers' parameters η and their optimizer's state."""

    eta: PyTree
    opt_state: PyTree


@dataclasses.dataclass(frozen=True)
class LearnedGates(ActiveLayers):
    """Layers chosen by gates that are learned beside the meta-model; `gate_preset` gives named sets.

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
    """

    preset: str = "paper"
    penalty: Penalty = "count"
    target: float = 4.0
    layers_by: str = "module"
    pooling: Pooling = "mean"
    matching: Matching = "mean"
    hidden: int = 128
    sampler_layers: int = 2
    temperature: float = 1.0
    head_layers: int = 1
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
    max_programs: int = 6
    explore_every: int = 0
    out_axis: int = -1

    drawn = True
    reads_slopes = True
    reports = ("theta_norm_g", "gate_norm_c", "gate_norm_r")

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
        base = _PRESETS.get(self.preset, LearnedGates())
        changed = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != getattr(base, f.name) and f.name != "preset"
        ]
        return "_".join([f"gates_{self.preset}", *changed])

    def optimizer(self) -> optax.GradientTransformation:
        """The samplers' optimiser."""
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
        starts = self.starts(layers)
        closed = 1 - probability * self.may_open(layers)
        expected = jnp.asarray(costs[-1], jnp.float32)
        for i in range(len(starts) - 1):
            any_open = 1 - jnp.prod(closed[: starts[i + 1]])
            expected += (costs[i] - costs[i + 1]) * any_open
        if self.explore_every:  # those updates pay for the lowest start
            expected += (costs[0] - expected) / self.explore_every
        return expected

    def budget_shift(self, odds: jax.Array, layers: Layers, costs: Sequence[float]) -> jax.Array:
        """What to add to all log-odds [L] so that the expected cost is the budget; a scalar.

        The expected cost rises with the shift, so it is looked up in a table of both.
        """
        shifts = (jnp.abs(odds).max() + 12.0) * jnp.linspace(-1.0, 1.0, 1025)
        opens = jax.nn.sigmoid(odds[None, :] + shifts[:, None])
        expected = jax.vmap(lambda p: self.expected_cost(p, layers, costs))(opens)
        below = jnp.clip((expected <= self.target).sum() - 1, 0, len(shifts) - 2)
        low, high = expected[below], expected[below + 1]
        share = jnp.clip((self.target - low) / jnp.where(high > low, high - low, 1), 0, 1)
        return shifts[below] + share * (shifts[below + 1] - shifts[below])  # no loop, unlike interp

    def sample(self, eta: PyTree, inputs: jax.Array, uniforms: jax.Array, seen: Seen) -> GateSample:
        """A sample of all gates; with a budget, at the log-odds that meet it."""
        if self.penalty != "budget":
            return sample_gates(eta, inputs, uniforms, self.temperature)
        costs = self._costs(seen)

        def shift(odds: jax.Array) -> jax.Array:
            return self.budget_shift(odds, seen.layers, costs)

        return sample_gates(eta, inputs, uniforms, self.temperature, shift)

    def regularizer(self, sample: GateSample, seen: Seen) -> jax.Array:
        """L_r; see `penalty`."""
        layers = seen.layers
        if self.penalty == "count":
            return (self.mask(sample.hard, layers).sum() - self.target) ** 2
        if self.penalty == "last":
            top = len(layers) - (self.head_layers if self.head_open else 0)
            return (sample.hard[top - 1] - self.target) ** 2
        expected = self.expected_cost(sample.probability, layers, self._costs(seen))
        return (expected - self.target) ** 2

    def _costs(self, seen: Seen) -> tuple[float, ...]:
        """The programs' costs. Raises `ValueError` unless they are known and can meet the budget."""
        if seen.costs is None:
            raise ValueError(
                f"{self.label} compares costs, which depend on the batch sizes: pass num_examples=... "
                "and num_meta_examples=..., the sizes of both batches, to reweight"
            )
        self.check_budget(seen.costs)
        return seen.costs

    # --- the interface ---------------------------------------------------------------------------

    def programs(self, layers: Layers) -> Programs:
        """See `ActiveLayers`."""
        return programs_from(self.starts(layers), layers)

    def check(self, seen: Seen) -> None:
        """See `ActiveLayers`."""
        if self.penalty == "budget":
            self._costs(seen)

    def init(self, key: jax.Array, params: PyTree, seen: Seen) -> SamplerState:
        """See `ActiveLayers`."""
        widths = layer_widths(seen.layers, params, self.out_axis)
        eta = init_samplers(
            key, widths, self.hidden, self.sampler_layers, self.open_probability(seen)
        )
        return SamplerState(eta, self.optimizer().init(eta))

    def draw(self, state: SamplerState, key: jax.Array, update: jax.Array, seen: Seen) -> Draw:
        """See `ActiveLayers`. The draw carries ḡ [L, D] and its noise [L, 2]."""
        layers = seen.layers
        width = state.eta["kernels"][0].shape[1]
        inputs = jnp.zeros((len(layers), width), jnp.float32)
        if seen.gradient is not None:
            part = layers.part(seen.gradient, layers.all)
            inputs = pool_layers(part, layers.all, layers, width, self.pooling, self.out_axis)
        uniforms = jax.random.uniform(key, (len(layers), 2), jnp.float32)
        hard = self.sample(state.eta, inputs, uniforms, seen).hard
        mask = jax.lax.stop_gradient(self.mask(hard, layers))
        return Draw(mask, self.program(mask, update, layers), (inputs, uniforms))

    def added_direction(
        self, v: Part, gradient: Part | None, active: tuple[int, ...], seen: Seen
    ) -> tuple[Part, tuple[int, ...]] | None:
        """See `ActiveLayers`: λ2 ∇L_g, a direction on the last layer's gradient (Eq. 11)."""
        if not self.lambda_g:
            return None
        layers = seen.layers
        head = layers.all[len(layers) - self.head_layers :]
        in_head = [layer in head for layer in layers.part_index(active)]
        v_head = tuple(x for x, h in zip(v, in_head) if h)
        g_head = tuple(jnp.zeros_like(x) for x in v_head)
        if gradient is not None:
            g_head = tuple(x for x, h in zip(gradient, in_head) if h)
        _, lambda_g = self.lambdas(seen.step_size)

        def l_g(train: Part) -> jax.Array:
            return lambda_g * gradient_matching(train, v_head, self.matching, self.out_axis)

        return jax.grad(l_g)(g_head), head

    def learn(
        self, state: SamplerState, draw: Draw | None, seen: Seen
    ) -> tuple[SamplerState, dict[str, jax.Array]]:
        """See `ActiveLayers`: an SGD step on L_c + λ1 L_r, through the straight-through gates."""
        assert draw is not None
        assert seen.slopes is not None
        inputs, uniforms = draw.carry
        slopes = jnp.where(draw.factors > 0, 1, self.closed_sign) * seen.slopes
        lambda_r = jnp.asarray(self.lambdas(seen.step_size)[0], jnp.float32)

        def l_c(eta: PyTree) -> jax.Array:
            gates = self.sample(eta, inputs, uniforms, seen)
            return jnp.vdot(jax.lax.stop_gradient(slopes), gates.hard * self.may_open(seen.layers))

        def l_r(eta: PyTree) -> jax.Array:
            return self.regularizer(self.sample(eta, inputs, uniforms, seen), seen)

        grad_c, grad_r = jax.grad(l_c)(state.eta), jax.grad(l_r)(state.eta)
        grad = jax.tree.map(lambda c, r: c + lambda_r * r, grad_c, grad_r)
        updates, opt_state = self.optimizer().update(grad, state.opt_state, state.eta)
        added = jnp.zeros(()) if seen.added is None else optax.tree.norm(seen.added)
        reports = {
            "theta_norm_g": added.astype(jnp.float32),
            "gate_norm_c": optax.tree.norm(grad_c),
            "gate_norm_r": lambda_r * optax.tree.norm(grad_r),
        }
        return SamplerState(optax.apply_updates(state.eta, updates), opt_state), reports

    # --- a budget --------------------------------------------------------------------------------

    def check_budget(self, costs: Sequence[float]) -> None:
        """Raises `ValueError` unless some mix of the programs costs the budget."""
        if self.penalty == "budget" and not costs[-1] <= self.target <= costs[0]:
            raise ValueError(
                f"a budget of {self.target} plain steps can't be met: with this network, virtual "
                f"step and meta batch a step costs between {costs[-1]:.2f} and {costs[0]:.2f}"
            )

    def open_probability(self, seen: Seen) -> float:
        """Where the gates start: at the budget, or undecided."""
        if self.penalty != "budget":
            return 0.5
        costs, layers = self._costs(seen), seen.layers
        low, high = 1e-4, 1 - 1e-4
        for _ in range(40):
            middle = (low + high) / 2
            with jax.ensure_compile_time_eval():
                opens = jnp.full(len(layers), middle, jnp.float32)
                cost = float(self.expected_cost(opens, layers, costs))
            low, high = (middle, high) if cost < self.target else (low, middle)
        return (low + high) / 2


_PRESETS = {
    "paper": LearnedGates(),
    "released": LearnedGates(
        preset="released",
        penalty="last",
        layers_by="tensor",
        pooling="standardized_sum",
        matching="mean_std",
        sampler_layers=3,
        temperature=5.0,
        head_layers=2,
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


def learned_gates(preset: str = "paper", **choices: Any) -> Estimator:
    """FaMUS with learned gates.

    Args:
      preset: `"paper"`, `"released"` or `"budget"`; see `gate_preset`.
      **choices: fields of `Estimator` (virtual_step, update_every, ...) and fields of `LearnedGates` to
        change from the preset (target, lag, ...).

    Raises:
      ValueError: for an unknown preset or field.

    Example:
      >>> learned_gates("budget", target=1.8, lag=2, virtual_step="active").label
      'gates_budget_target=1.8_lag=2_active_step'
    """
    how = {name: choices.pop(name) for name in How.__annotations__ if name in choices}
    return Estimator(gate_preset(preset, **choices), **how)
