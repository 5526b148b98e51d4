"""Learned gates at work: which layers keep their share of the meta gradient (FaMUS, §4).

Symbols: r_l ∈ {0, 1} = the gate of layer l, Γ_l = its sampler, η = the samplers' parameters, ḡ_l = the
pooled gradient of layer l, α = the step size of the virtual step; for the others see `settings`.

A compiled program has a fixed start; gates above it multiply, layers below it are never built. Gates
are drawn in the step itself (`lag=0`) or `lag` updates ahead, from the gradients known then; the
inputs and the noise of a draw travel with it, and its gradient is taken when it is used. Paper:
https://arxiv.org/abs/2104.15092.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from famus_jax.bounds import typed_values
from famus_jax.core.active_layers import Draw, Seen
from famus_jax.core.estimator import Estimator
from famus_jax.core.estimators import How
from famus_jax.gates.budget import CostOf, budget_shift, check_budget, open_probability
from famus_jax.gates.pooling import gradient_matching, layer_widths, pool_layers
from famus_jax.gates.samplers import GateSample, init_samplers, sample_gates
from famus_jax.gates.settings import PRESETS, GateSettings
from famus_jax.layers.partition import Part

PyTree = Any


class SamplerState(NamedTuple):
    """What learned gates carry from step to step.

    Attributes:
      eta: η; see `init_samplers`.
      opt_state: the state of η's optimizer.

    Example:
      >>> import famus_jax as famus
      >>> params = {"body": jnp.zeros((3, 4)), "head": jnp.zeros((4, 2))}
      >>> seen = Seen(famus.layers_by(params, {"body": 0, "head": 1}), costs=None)
      >>> state = LearnedGates(target=1).init(jax.random.key(0), params, seen)
      >>> type(state).__name__, state.eta["kernels"][0].shape  # one sampler per layer
      ('SamplerState', (2, 4, 128))
    """

    eta: PyTree
    opt_state: PyTree


@dataclasses.dataclass(frozen=True)
class LearnedGates(GateSettings):
    """Layers chosen by gates that are learned beside the meta-model.

    Its attributes are those of `GateSettings`; `gate_preset` gives named sets of them, and
    `learned_gates` an estimator.

    Example:
      >>> gates = LearnedGates(target=2, lag=2)
      >>> gates.label, gates.drawn, gates.ahead
      ('gates_paper_target=2_lag=2', True, 2)
    """

    drawn = True
    reads_slopes = True
    reports = ("theta_norm_g", "gate_norm_c", "gate_norm_r")

    def sample(self, eta: PyTree, inputs: jax.Array, uniforms: jax.Array, seen: Seen) -> GateSample:
        """A sample of all gates; with a budget, at the log-odds that meet it."""
        if self.penalty != "budget":
            return sample_gates(eta, inputs, uniforms, self.temperature)
        cost_of = self._cost_of(seen)

        def shift(odds: jax.Array) -> jax.Array:
            return budget_shift(odds, cost_of, self.target)

        return sample_gates(eta, inputs, uniforms, self.temperature, shift)

    def regularizer(self, sample: GateSample, seen: Seen) -> jax.Array:
        """L_r; see `penalty`."""
        layers = seen.layers
        if self.penalty == "count":
            return (self.mask(sample.hard, layers).sum() - self.target) ** 2
        if self.penalty == "last":
            top = len(layers) - (self.head_layers if self.head_open else 0)
            return (sample.hard[top - 1] - self.target) ** 2
        return (self._cost_of(seen)(sample.probability) - self.target) ** 2

    def open_probability(self, seen: Seen) -> float:
        """Where the gates start: at the budget, or undecided."""
        if self.penalty != "budget":
            return 0.5
        return open_probability(self._cost_of(seen), len(seen.layers), self.target)

    def _cost_of(self, seen: Seen) -> CostOf:
        """The expected cost as a function of the gates' probabilities.

        Raises:
          ValueError: unless the programs' costs are known.
        """
        costs = seen.costs
        if costs is None:
            raise ValueError(
                f"{self.label} compares costs, which depend on the batch sizes: pass num_examples=... "
                "and num_meta_examples=..., the sizes of both batches, to reweight"
            )
        return lambda probability: self.expected_cost(probability, seen.layers, costs)

    # --- the interface ---------------------------------------------------------------------------

    def check(self, seen: Seen) -> None:
        """See `ActiveLayers`."""
        if self.penalty == "budget":
            self._cost_of(seen)
            # At the start only: a last, smaller batch is no reason to stop; gates then come as near
            # to the budget as they can.
            check_budget(seen.costs or (), self.target)

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


def gate_preset(name: str, **changes: Any) -> LearnedGates:
    """A named set of choices, with some fields changed.

    Args:
      name: `"paper"`, `"released"` (the released code: a gate per tensor) or `"budget"` (ours).
      **changes: fields of `GateSettings`.

    Raises:
      ValueError: for an unknown preset or field, or a value that the field can't take.

    Example:
      >>> gates = gate_preset("released", lag=2)
      >>> gates.layers_by, gates.temperature, gates.lag
      ('tensor', 5.0, 2)
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"no gate preset {name!r}; there are {sorted(PRESETS)}")
    typed_values(LearnedGates, changes, "learned_gates")  # as given they go into the label
    return LearnedGates(**{"preset": name, **PRESETS[name], **changes})


def learned_gates(preset: str = "paper", **choices: Any) -> Estimator:
    """FaMUS with learned gates.

    Args:
      preset: `"paper"`, `"released"` or `"budget"`; see `gate_preset`.
      **choices: fields of `Estimator` (virtual_step, update_every, ...) and fields of `GateSettings` to
        change from the preset (target, lag, ...).

    Raises:
      ValueError: for an unknown preset or field.

    Example:
      >>> learned_gates("budget", target=1.8, lag=2, virtual_step="active").label
      'gates_budget_target=1.8_lag=2_active_step'
    """
    how = {name: choices.pop(name) for name in How.__annotations__ if name in choices}
    return Estimator(gate_preset(preset, **choices), **how)
