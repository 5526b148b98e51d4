"""Learned gates at rest: programs, open layers, penalties, expected cost, presets."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref

import famus_jax
from famus_jax import Problem, layers_by, learned_gates
from famus_jax.core.active_layers import Seen
from famus_jax.core.cost import program_costs
from famus_jax.core.estimator import Estimator
from famus_jax.gates.budget import check_budget
from famus_jax.gates.samplers import GateSample, init_samplers

SHARES = (0.1, 0.3, 0.2, 0.25, 0.1, 0.05)


def network(size=6):
    shares = SHARES if size == 6 else None
    params = {f"g{i:02d}": jnp.zeros(1) for i in range(size)}
    return layers_by(params, lambda path: int(path[1:]), costs=shares)


def spec(preset="paper", **changes):
    return learned_gates(preset, **changes).active


def costs_of(gates, layers, virtual_step, rho):
    """What a step costs with each program: a batch of 10, a meta batch of 10 ρ."""
    problem = Problem(None, famus_jax.mwnet(), None, layers)
    lag = max(gates.lag, 1)
    estimator = Estimator(dataclasses.replace(gates, lag=lag), virtual_step)
    return program_costs(problem, estimator, n=10, m=round(10 * rho))


def seen_of(gates, layers, virtual_step, rho):
    return Seen(layers, costs_of(gates, layers, virtual_step, rho))


def sample(hard, probability=None):
    hard = jnp.asarray(hard, jnp.float32)
    probability = hard if probability is None else jnp.asarray(probability, jnp.float32)
    return GateSample(hard, hard, probability)


def test_presets():
    """The settings of the paper's section 4.2 and of the released code, by name."""
    paper, released, budget = spec(), spec("released"), spec("budget")
    assert (paper.penalty, paper.target, paper.pooling, paper.sampler_layers, paper.hidden) == (
        "count",
        4,
        "mean",
        2,
        128,
    )
    assert (paper.lambda_r, paper.lambda_g, paper.learning_rate, paper.momentum) == (
        0.1,
        0.1,
        0.1,
        0.9,
    )
    assert (paper.head_open, paper.candidates, paper.closed_sign) == (False, None, 1)
    assert (released.penalty, released.sampler_layers, released.temperature) == ("last", 3, 5.0)
    assert (released.head_open, released.candidates, released.closed_sign) == (True, 13, -1)
    assert (released.pooling, released.matching) == ("standardized_sum", "mean_std")
    assert (budget.penalty, budget.pooling) == ("budget", "rms")


@pytest.mark.parametrize(
    ("changes", "size", "expected"),
    [
        ({}, 6, (0, 1, 2, 3, 4, 5)),
        ({"max_programs": 2}, 6, (0, 5)),
        ({"max_programs": 3, "head_layers": 2}, 6, (0, 2, 4)),
        ({"candidates": 2}, 6, (3, 4, 5)),
        ({"candidates": 13, "head_layers": 2, "max_programs": 20}, 6, (0, 1, 2, 3, 4)),
        ({"max_programs": 6}, 28, (0, 5, 11, 16, 22, 27)),
    ],
    ids=str,
)
def test_starts(changes, size, expected):
    """Both ends, evenly between, never more than asked for; fails off by one at the head."""
    gates, layers = spec(**changes), network(size)
    assert gates.starts(layers) == expected
    assert gates.programs(layers) == tuple(tuple(range(start, size)) for start in expected)


@pytest.mark.parametrize(("head_open", "candidates"), [(False, None), (True, None), (True, 2)])
def test_every_pattern_gets_its_program(head_open, candidates):
    """The open layers and the highest start that lies below none of them, for all 64 patterns.

    Fails if a start lies above an open layer (its gradient would be lost without a word), or lower
    than it need.
    """
    layers = network()
    gates = spec(head_open=head_open, candidates=candidates, max_programs=3)
    starts = gates.starts(layers)
    lowest_candidate = 0 if candidates is None else 5 - candidates
    patterns = np.asarray(list(itertools.product((0.0, 1.0), repeat=6)), np.float32)

    def both(hard):
        mask = gates.mask(hard, layers)
        return mask, gates.program(mask, jnp.int32(1), layers)

    masks, programs = jax.jit(jax.vmap(both))(jnp.asarray(patterns))
    for pattern, mask, program in zip(patterns, masks, programs, strict=True):
        expected = [float(p) if i >= lowest_candidate else 0.0 for i, p in enumerate(pattern)]
        expected[-1] = 1.0 if head_open else expected[-1]
        assert mask.tolist() == expected
        lowest = expected.index(1.0) if 1.0 in expected else 6
        assert starts[int(program)] == max(c for c in starts if c <= lowest)


def test_explore_every():
    """Fails if exploration never comes, or the first start isn't the lowest."""
    gates, layers = spec(explore_every=3), network()
    mask = jnp.zeros(6).at[5].set(1.0)
    programs = [int(gates.program(mask, jnp.int32(step), layers)) for step in range(6)]
    assert programs == [0, 5, 5, 0, 5, 5]


def test_count_penalty_by_hand():
    """(Σ r − K)² with K = 4: fails if the mean is taken, or the head's gate is left out."""
    seen = Seen(network(), None)
    assert float(spec().regularizer(sample([1, 0, 0, 1, 0, 1]), seen)) == (3 - 4) ** 2
    assert float(spec(target=1.0).regularizer(sample([1, 1, 1, 1, 1, 1]), seen)) == (6 - 1) ** 2
    # Slope of every gate: 2 (Σ r − K).
    slope = jax.grad(lambda r: spec().regularizer(GateSample(r, r, r), seen))(jnp.ones(6))
    np.testing.assert_allclose(slope, np.full(6, 2 * (6 - 4)))


def test_count_penalty_slope_of_closed_gates():
    """2 (Σ r − K) for open and closed gates alike; fails if a closed gate's slope is another."""
    hard = jnp.asarray([1.0, 0, 0, 0, 1, 0])
    seen = Seen(network(), None)
    slope = jax.grad(lambda r: spec().regularizer(GateSample(r, r, r), seen))(hard)
    np.testing.assert_allclose(slope, np.full(6, 2 * (2 - 4)))


def test_last_penalty_by_hand():
    """(r − K)² of the topmost gate below an open head, K = 4: 9 open, 16 closed."""
    seen, released = Seen(network(), None), spec("released")
    assert float(released.regularizer(sample([0, 0, 0, 1, 0, 0]), seen)) == 9
    assert float(released.regularizer(sample([1, 1, 1, 0, 1, 1]), seen)) == 16


@pytest.mark.parametrize("max_programs", [2, 4, 6])
@pytest.mark.parametrize(("head_open", "candidates"), [(True, None), (False, None), (True, 3)])
@pytest.mark.parametrize("virtual_step", ["all", "active"])
def test_expected_cost(virtual_step, head_open, candidates, max_programs):
    """Against the mean over all 64 patterns, each at its program's cost.

    Fails if the cost is that of the sum of the open layers, if rounding down to a start is forgotten,
    or if a layer without a gate counts.
    """
    layers = network()
    gates = spec("budget", head_open=head_open, candidates=candidates, max_programs=max_programs)
    starts, costs = gates.starts(layers), costs_of(gates, layers, virtual_step, 0.5)
    for start, cost in zip(starts, costs, strict=True):
        assert cost == pytest.approx(ref.step_cost(virtual_step, sum(SHARES[start:]), 0.5))
    probability = np.asarray([0.1, 0.7, 0.4, 0.25, 0.6, 0.9])
    lowest = 0 if candidates is None else 5 - candidates
    gated = [lowest <= i < (5 if head_open else 6) for i in range(6)]
    expected = ref.expected_cost(probability, gated, starts, costs, 6)
    value = gates.expected_cost(jnp.asarray(probability, jnp.float32), layers, costs)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_budget_penalty():
    """(E[cost] − B)²; fails if the drawn gates enter instead of their probabilities."""
    layers, gates = network(), spec("budget", target=2.5)
    seen = seen_of(gates, layers, "all", 1.0)
    probability = [0.1, 0.7, 0.4, 0.25, 0.6, 0.9]
    expected = float(gates.expected_cost(jnp.asarray(probability), layers, seen.costs))
    value = gates.regularizer(sample([1] * 6, probability), seen)
    assert float(value) == pytest.approx((expected - 2.5) ** 2, rel=1e-5)


@pytest.mark.parametrize(
    ("virtual_step", "target"),
    [("all", 2.15), ("all", 2.4), ("all", 3.2), ("active", 1.6), ("active", 3.0)],
)
def test_draws_meet_the_budget(target, virtual_step):
    """Whatever the samplers say, the probabilities they draw with cost B on average over all 64
    patterns. Fails if the shift is taken for another sign, or applied to the closed logit."""
    layers, gates = network(), spec("budget", target=target, lag=1)
    seen = seen_of(gates, layers, virtual_step, 1.0)
    widths = (3,) * 6
    for seed in range(4):
        eta = init_samplers(jax.random.key(seed), widths, 8, 2, 0.5)
        eta = jax.tree.map(lambda x: 4 * x, eta)  # far from undecided
        inputs = jax.random.normal(jax.random.key(seed + 9), (6, 3))
        uniforms = jax.random.uniform(jax.random.key(seed + 5), (6, 2))
        drawn = gates.sample(eta, inputs, uniforms, seen)
        gated, starts = [True] * 5 + [False], gates.starts(layers)
        mean = ref.expected_cost(np.asarray(drawn.probability), gated, starts, seen.costs, 6)
        assert mean == pytest.approx(target, abs=2e-3)
        assert float(gates.regularizer(drawn, seen)) < 1e-4


def test_gates_start_at_the_budget():
    """Fails if they start undecided, which would cost far more than the budget."""
    layers, gates = network(), spec("budget", target=2.2)
    seen = seen_of(gates, layers, "all", 1.0)
    p = gates.open_probability(seen)
    gated = [True] * 5 + [False]
    mean = ref.expected_cost([p] * 6, gated, gates.starts(layers), seen.costs, 6)
    assert mean == pytest.approx(2.2, abs=1e-3)
    assert spec().open_probability(seen) == 0.5


def test_scale_with_alpha():
    """Fails if only one of λ1 and λ2 follows the learning rate."""
    assert spec().lambdas(0.01) == (0.1, 0.1)
    assert spec(scale_with_alpha=True).lambdas(0.01) == pytest.approx((0.001, 0.001))


def test_hashable_value():
    """A static argument of jit: equal settings are one key."""
    assert learned_gates("budget", lag=2) == learned_gates("budget", lag=2)
    assert hash(learned_gates("budget", lag=2)) == hash(learned_gates("budget", lag=2))
    assert learned_gates("budget", lag=2) != learned_gates("budget", lag=1)


def test_errors_name_value_and_fix():
    layers = network()
    with pytest.raises(
        ValueError, match=r"no gate preset 'papr'; there are \['budget', 'paper', 'released'\]"
    ):
        learned_gates("papr")
    with pytest.raises(ValueError, match="learned_gates: there is no 'lambda_1'; did you mean"):
        learned_gates(lambda_1=0.3)
    with pytest.raises(ValueError, match=r"learned_gates.max_programs .*\[2, 1000\]; got 1"):
        learned_gates(max_programs=1)
    with pytest.raises(ValueError, match="need more than that many layers; this network has 2"):
        spec("released").starts(network(2))
    with pytest.raises(ValueError, match="K = target = 7.0 must lie between 0 and the 6 layers"):
        spec(target=7.0).starts(layers)
    seen = seen_of(spec("budget"), layers, "all", 1.0)
    impossible = r"a budget of 1.0 plain steps can't be met.*between 2.\d+ and 3.33"
    with pytest.raises(ValueError, match=impossible):
        spec("budget", target=1.0).check(seen)
    with pytest.raises(ValueError, match=impossible):
        check_budget(seen.costs, 1.0)
    with pytest.raises(ValueError, match="compares costs.*pass num_examples="):
        spec("budget").check(Seen(layers, None))
