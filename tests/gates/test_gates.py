"""Learned gates, the static side: cuts, open groups, penalties, expected cost, presets."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref

import famus_jax
from famus_jax import LearnedGates, Problem, layers_by, learned_gates
from famus_jax.core.estimator import Estimator
from famus_jax.gates.samplers import GateSample, init_samplers
from famus_jax.core.programs import program_costs

SHARES = (0.1, 0.3, 0.2, 0.25, 0.1, 0.05)


def network(size=6):
    shares = SHARES if size == 6 else None
    params = {f"g{i:02d}": jnp.zeros(1) for i in range(size)}
    return layers_by(params, lambda path: int(path[1:]), costs=shares)


def spec(preset="paper", **changes):
    return learned_gates(preset, **changes).active


def cut_costs_of(gates, groups, virtual_step, rho):
    problem = Problem(None, famus_jax.mwnet(), None, groups)
    lag = max(gates.lag, 1)
    return program_costs(problem, Estimator(dataclasses.replace(gates, lag=lag), virtual_step), rho)


def draw(hard, probability=None):
    hard = jnp.asarray(hard, jnp.float32)
    probability = hard if probability is None else jnp.asarray(probability, jnp.float32)
    return GateSample(hard, hard, probability)


def test_presets():
    """The settings of the paper's section 4.2 and of the released code, by name."""
    paper, released, budget = spec(), spec("released"), spec("budget")
    assert (paper.penalty, paper.target, paper.pooling, paper.layers, paper.hidden) == (
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
    assert (released.penalty, released.layers, released.temperature) == ("last", 3, 5.0)
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
def test_cuts(changes, size, expected):
    """Both ends, evenly between, never more than asked for; fails off by one at the head."""
    cuts = spec(**changes).cuts(network(size))
    assert cuts == expected


@pytest.mark.parametrize(("head_open", "candidates"), [(False, None), (True, None), (True, 2)])
def test_every_pattern_gets_its_cut(head_open, candidates):
    """The open groups and the highest cut that lies below none of them, for all 64 patterns.

    Fails if a cut lies above an open group (its gradient would be lost without a word), or lower
    than it need.
    """
    groups = network()
    gates = spec(head_open=head_open, candidates=candidates, max_programs=3)
    cuts = gates.cuts(groups)
    lowest_candidate = 0 if candidates is None else 5 - candidates
    patterns = np.asarray(list(itertools.product((0.0, 1.0), repeat=6)), np.float32)

    def both(hard):
        mask = gates.mask(hard, groups)
        return mask, gates.branch(mask, jnp.int32(1), groups)

    masks, branches = jax.jit(jax.vmap(both))(jnp.asarray(patterns))
    for pattern, mask, branch in zip(patterns, masks, branches, strict=True):
        expected = [float(p) if i >= lowest_candidate else 0.0 for i, p in enumerate(pattern)]
        expected[-1] = 1.0 if head_open else expected[-1]
        assert mask.tolist() == expected
        lowest = expected.index(1.0) if 1.0 in expected else 6
        assert cuts[int(branch)] == max(c for c in cuts if c <= lowest)


def test_explore_every():
    """Fails if exploration never comes, or the first cut isn't the lowest."""
    gates, groups = spec(explore_every=3), network()
    mask = jnp.zeros(6).at[5].set(1.0)
    branches = [int(gates.branch(mask, jnp.int32(step), groups)) for step in range(6)]
    assert branches == [0, 5, 5, 0, 5, 5]


def test_count_penalty_by_hand():
    """(Σ r − K)² with K = 4: fails if the mean is taken, or the head's gate is left out."""
    groups = network()
    assert float(spec().regularizer(draw([1, 0, 0, 1, 0, 1]), groups, ())) == (3 - 4) ** 2
    assert float(spec(target=1.0).regularizer(draw([1, 1, 1, 1, 1, 1]), groups, ())) == (6 - 1) ** 2
    # Slope of every gate: 2 (Σ r − K).
    slope = jax.grad(lambda r: spec().regularizer(GateSample(r, r, r), groups, ()))(jnp.ones(6))
    np.testing.assert_allclose(slope, np.full(6, 2 * (6 - 4)))


def test_count_penalty_slope_of_closed_gates():
    """2 (Σ r − K) for open and closed gates alike; fails if a closed gate's slope is another."""
    hard = jnp.asarray([1.0, 0, 0, 0, 1, 0])
    slope = jax.grad(lambda r: spec().regularizer(GateSample(r, r, r), network(), ()))(hard)
    np.testing.assert_allclose(slope, np.full(6, 2 * (2 - 4)))


def test_last_penalty_by_hand():
    """(r − K)² of the topmost gate below an open head, K = 4: 9 open, 16 closed."""
    groups, released = network(), spec("released")
    assert float(released.regularizer(draw([0, 0, 0, 1, 0, 0]), groups, ())) == 9
    assert float(released.regularizer(draw([1, 1, 1, 0, 1, 1]), groups, ())) == 16


@pytest.mark.parametrize("max_programs", [2, 4, 6])
@pytest.mark.parametrize(("head_open", "candidates"), [(True, None), (False, None), (True, 3)])
@pytest.mark.parametrize("virtual_step", ["full", "active_only"])
def test_expected_cost(virtual_step, head_open, candidates, max_programs):
    """Against the mean over all 64 patterns, each at its cut's cost.

    Fails if the cost is that of the sum of the open groups, if rounding down to a cut is forgotten,
    or if a group without a gate counts.
    """
    groups = network()
    gates = spec("budget", head_open=head_open, candidates=candidates, max_programs=max_programs)
    cuts, costs = gates.cuts(groups), cut_costs_of(gates, groups, virtual_step, 0.5)
    for cut, cost in zip(cuts, costs, strict=True):
        assert cost == pytest.approx(ref.step_cost(virtual_step, sum(SHARES[cut:]), 0.5))
    probability = np.asarray([0.1, 0.7, 0.4, 0.25, 0.6, 0.9])
    lowest = 0 if candidates is None else 5 - candidates
    gated = [lowest <= i < (5 if head_open else 6) for i in range(6)]
    expected = ref.expected_cost(probability, gated, cuts, costs, 6)
    value = gates.expected_cost(jnp.asarray(probability, jnp.float32), groups, costs)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_budget_penalty():
    """(E[cost] − B)²; fails if the drawn gates enter instead of their probabilities."""
    groups, gates = network(), spec("budget", target=2.5)
    costs = cut_costs_of(gates, groups, "full", 1.0)
    probability = [0.1, 0.7, 0.4, 0.25, 0.6, 0.9]
    expected = float(gates.expected_cost(jnp.asarray(probability), groups, costs))
    value = gates.regularizer(draw([1] * 6, probability), groups, costs)
    assert float(value) == pytest.approx((expected - 2.5) ** 2, rel=1e-5)


@pytest.mark.parametrize(
    ("virtual_step", "target"),
    [("full", 2.15), ("full", 2.4), ("full", 3.2), ("active_only", 1.6), ("active_only", 3.0)],
)
def test_draws_meet_the_budget(target, virtual_step):
    """Whatever the samplers say, the probabilities they draw with cost B on average over all 64
    patterns. Fails if the shift is taken for another sign, or applied to the closed logit."""
    groups, gates = network(), spec("budget", target=target, lag=1)
    costs = cut_costs_of(gates, groups, virtual_step, 1.0)
    widths = (3,) * 6
    for seed in range(4):
        eta = init_samplers(jax.random.key(seed), widths, 8, 2, 0.5)
        eta = jax.tree.map(lambda x: 4 * x, eta)  # far from undecided
        inputs = jax.random.normal(jax.random.key(seed + 9), (6, 3))
        uniforms = jax.random.uniform(jax.random.key(seed + 5), (6, 2))
        drawn = gates.draw(eta, inputs, uniforms, groups, costs)
        gated, cuts = [True] * 5 + [False], gates.cuts(groups)
        mean = ref.expected_cost(np.asarray(drawn.probability), gated, cuts, costs, 6)
        assert mean == pytest.approx(target, abs=2e-3)
        assert float(gates.regularizer(drawn, groups, costs)) < 1e-4


def test_gates_start_at_the_budget():
    """Fails if they start undecided, which would cost far more than the budget."""
    groups, gates = network(), spec("budget", target=2.2)
    costs = cut_costs_of(gates, groups, "full", 1.0)
    p = gates.open_probability(groups, costs)
    gated = [True] * 5 + [False]
    assert ref.expected_cost([p] * 6, gated, gates.cuts(groups), costs, 6) == pytest.approx(
        2.2, abs=1e-3
    )
    assert spec().open_probability(groups, costs) == 0.5


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
    groups = network()
    with pytest.raises(
        ValueError, match=r"no gate preset 'papr'; there are \['budget', 'paper', 'released'\]"
    ):
        learned_gates("papr")
    with pytest.raises(ValueError, match="learned gates have no 'lambda_1'; their fields are"):
        learned_gates(lambda_1=0.3)
    with pytest.raises(
        ValueError, match="max_programs must be at least 2 and lag at least 0; got 1"
    ):
        LearnedGates(max_programs=1).cuts(groups)
    with pytest.raises(
        ValueError, match="need more than that many layer groups; this network has 2"
    ):
        spec("released").cuts(network(2))
    with pytest.raises(
        ValueError, match="K = target = 7.0 must lie between 0 and the 6 layer groups"
    ):
        spec(target=7.0).cuts(groups)
    costs = cut_costs_of(spec("budget"), groups, "full", 1.0)
    with pytest.raises(
        ValueError, match=r"a budget of 1.0 plain steps can't be met.*between 2.\d+ and 3.33"
    ):
        spec("budget", target=1.0).check_budget(costs)
