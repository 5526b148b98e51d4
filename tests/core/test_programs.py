"""What every program of a step costs, against passes added up by hand; how programs are told apart."""

import jax
import jax.numpy as jnp
import optax
import pytest
import reference as ref

from famus_jax import (
    all_layers,
    l2r,
    last_layers,
    layers_by,
    learned_gates,
    mwnet,
    named_layers,
    problem,
    random_depth,
    random_layers,
    second_order,
    train_step,
)
from famus_jax.core.cost import mean_cost, program_costs, renewal_cost
from famus_jax.core.programs import Program, decode, has_programs, program_cost, upcoming
from famus_jax.core.state import init_state

SHARES = (0.5, 0.3, 0.125, 0.075)  # bottom to top
ABOVE = (1.0, 0.5, 0.2, 0.075)  # their sums from the top, by hand
N, M, RHO = 8, 2, 0.25
PARAMS = ref.mlp_params(jax.random.key(0), (3, 4, 3, 4, 3), jnp.float32)
LAYERS = layers_by(PARAMS, lambda path: int(path[5]), costs=SHARES)
MWNET = problem(ref.mlp, mwnet(hidden=3, start="random", monotone=False), layers=LAYERS)
L2R = problem(ref.mlp, l2r(), layers=LAYERS)


def close(actual, expected):
    assert list(actual) == pytest.approx(list(expected), rel=1e-6)


def starts_of(estimator):
    return tuple(min(program) for program in estimator.active.programs(LAYERS))


@pytest.mark.parametrize("virtual_step", ["all", "active", "actual"])
@pytest.mark.parametrize(
    ("make", "lowest"),
    [
        (all_layers, 0),
        (lambda **how: last_layers(1, **how), 3),
        (lambda **how: last_layers(3, **how), 1),
        (lambda **how: named_layers("layer3", "layer2", **how), 2),
        (lambda **how: named_layers("layer1", **how), 1),
    ],
    ids=["all", "head", "last 3", "two by name", "one by name"],
)
def test_fixed_sets(make, lowest, virtual_step):
    """The share at or above the lowest layer counts. Fails if the layers' own shares are added, or
    those below."""
    estimator = make(virtual_step=virtual_step)
    assert starts_of(estimator) == (lowest,)
    expected = ref.step_cost(virtual_step, ABOVE[lowest], RHO)
    close(program_costs(MWNET, estimator, N, M), [expected])
    assert mean_cost(MWNET, estimator, N, M) == pytest.approx(expected)
    if virtual_step != "actual":
        expected = ref.step_cost(virtual_step, ABOVE[lowest], RHO, True)
        close(program_costs(L2R, estimator, N, M), [expected])


def test_by_hand():
    """Three numbers without any formula: F = 1 forward, a plain step 3.

    Layers 2 and 3 (share .2), meta batch a quarter, all layers step: 1 forward, 2 virtual backward,
    .25 meta forward, .1 meta backward, .4 J v, 2 actual backward: 5.75. The active ones alone step:
    .4 virtual backward instead of 2: 4.15. The actual step serves: no other backward pass: 3.75.
    Fails if a pass is forgotten.
    """
    assert program_costs(MWNET, last_layers(2), N, M)[0] * 3 == pytest.approx(5.75)
    only = last_layers(2, virtual_step="active")
    assert program_costs(MWNET, only, N, M)[0] * 3 == pytest.approx(4.15)
    actual = last_layers(2, virtual_step="actual")
    assert program_costs(MWNET, actual, N, M)[0] * 3 == pytest.approx(3.75)


def test_layerwise_products():
    """route="vjp" pays a product per layer, from the layer up, with no tangent coming from below:
    1 + .5 + .2 + .075 for all layers, where one product for all costs 2. (For the 29 layers of
    WideResNet-28-2 that makes 7.89 plain steps; XLA counts 7.70, see results/.)"""
    fused, layerwise = (
        program_costs(MWNET, all_layers(route=r), N, M)[0] * 3 for r in ("jvp", "vjp")
    )
    assert layerwise - fused == pytest.approx(1 + 0.5 + 0.2 + 0.075 - 2)
    # Layers 1 and 3, not what lies between.
    names = ("layer1", "layer3")
    fused, layerwise = (
        program_costs(MWNET, named_layers(*names, route=r), N, M)[0] * 3 for r in ("jvp", "vjp")
    )
    assert layerwise - fused == pytest.approx(0.5 + 0.075 - 2 * 0.5)


def test_examples():
    """Half the batch, layers 2 and 3: its own forward .5, virtual backward 1, meta .35, J v .2, and
    the actual step's 3: 5.05 F. Fails if the part's own forward pass is free, or ρ is scaled."""
    assert program_costs(MWNET, last_layers(2, examples=4), N, M)[0] * 3 == pytest.approx(5.05)
    only = last_layers(2, examples=4, virtual_step="active")
    assert program_costs(MWNET, only, N, M)[0] * 3 == pytest.approx(3 + 0.5 + 0.2 + 0.35 + 0.2)


@pytest.mark.parametrize("examples", [N, N + 5])
def test_more_examples_than_the_batch_has(examples):
    """The whole batch, on its one forward pass; fails if a part of it all is run again."""
    whole = program_costs(MWNET, last_layers(2), N, M)
    assert program_costs(MWNET, last_layers(2, examples=examples), N, M) == whole


def test_random_depth():
    """Fails if the deepest program is weighed by the head's probability."""
    estimator = random_depth((0.2, 0.3, 0.5))
    assert starts_of(estimator) == (0, 2, 3)
    costs = [ref.step_cost("all", ABOVE[i], RHO) for i in (0, 2, 3)]
    close(program_costs(MWNET, estimator, N, M), costs)
    expected = 0.2 * costs[0] + 0.3 * costs[1] + 0.5 * costs[2]
    assert mean_cost(MWNET, estimator, N, M) == pytest.approx(expected)
    assert costs[0] > costs[1] > costs[2]
    for i in range(3):
        got = program_cost(MWNET, estimator, N, M, Program(index=i))
        assert got == pytest.approx(costs[i])


def test_random_layers():
    """Two of four layers, programs from 0, 1, 2: three of six pairs reach layer 0, two layer 1, one
    layer 2. Fails if every draw pays for the lowest start."""
    estimator = random_layers(2, virtual_step="active")
    costs = [ref.step_cost("active", ABOVE[i], RHO) for i in (0, 1, 2)]
    expected = (3 * costs[0] + 2 * costs[1] + costs[2]) / 6
    assert mean_cost(MWNET, estimator, N, M) == pytest.approx(expected)


def test_gates():
    """Nothing is known of them beforehand: the dearest program, unless the caller knows better."""
    estimator = learned_gates("paper", target=2, lag=1)
    costs = [ref.step_cost("all", s, RHO) for s in ABOVE]
    close(program_costs(MWNET, estimator, N, M), costs)
    assert mean_cost(MWNET, estimator, N, M) == pytest.approx(costs[0])
    known = mean_cost(MWNET, estimator, N, M, (0.1, 0.2, 0.3, 0.4))
    assert known == pytest.approx(sum(p * c for p, c in zip((0.1, 0.2, 0.3, 0.4), costs)))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_every_k(k):
    """1 + (c − 1) / k for the head by the actual step; by hand c = (4 + .15 (1 + 1)) / 3 at ρ = 1.

    Fails if skipped steps are free, or the whole step is divided.
    """
    estimator = last_layers(1, virtual_step="actual", update_every=k)
    cost = (4 + 2 * 0.075 + 2 * 0.075) / 3
    assert mean_cost(MWNET, estimator, N, N) == pytest.approx(1 + (cost - 1) / k)
    assert program_cost(MWNET, estimator, N, N, Program(meta=False)) == 1


def test_every_and_depth_together():
    estimator = random_depth(0.25, update_every=4)
    mean = 0.25 * ref.step_cost("all", 1.0, RHO) + 0.75 * ref.step_cost("all", 0.075, RHO)
    assert mean_cost(MWNET, estimator, N, M) == pytest.approx(1 + (mean - 1) / 4)


def test_control_variate():
    """The exact gradient besides that of the head, which steps alone: 2 virtual backward, .75 meta,
    2 J v: 4.75 F.

    Paid every fourth meta update, of which there is one in two steps. Fails if the actual step is
    paid twice, or the variate is not divided by both.
    """
    estimator = last_layers(1, virtual_step="active", control_variate_every=4, update_every=2)
    cheap, extra = ref.step_cost("active", 0.075, RHO), 4.75 / 3
    assert renewal_cost(MWNET, estimator, N, M) == pytest.approx(extra)
    assert program_cost(MWNET, estimator, N, M, Program()) == pytest.approx(cheap)
    got = program_cost(MWNET, estimator, N, M, Program(renews=True))
    assert got == pytest.approx(cheap + extra)
    assert mean_cost(MWNET, estimator, N, M) == pytest.approx(1 + (cheap + extra / 4 - 1) / 2)


def test_control_variate_on_a_part():
    """Half the batch: 1 virtual backward, .75 meta, 1 J v: 2.75 F. The part's forward pass is there
    already. Fails if it is paid a second time."""
    estimator = last_layers(1, virtual_step="active", control_variate_every=4, examples=4)
    assert renewal_cost(MWNET, estimator, N, M) * 3 == pytest.approx(2.75)


BATCH = ref.classification_batch(2, N, dtype=jnp.float32)
META = ref.classification_batch(3, M, dtype=jnp.float32)


@pytest.mark.parametrize(
    "estimator",
    [
        last_layers(2, virtual_step="active", update_every=3),
        pytest.param(random_depth((0.3, 0.3, 0.4)), marks=pytest.mark.slow),
        last_layers(1, control_variate_every=2, update_every=2),
        last_layers(1, examples=4),
    ],
    ids=lambda estimator: estimator.label,
)
def test_info_says_what_the_step_cost(estimator):
    """`info.cost` and `info.updated` of six steps, against a table of the state's own choices.

    Fails if a skipped step reports a meta step's cost, or every draw the same one.
    """
    step = train_step(MWNET, optax.sgd(0.1), estimator, step_size=0.1)
    state = step.init(jax.random.key(1), PARAMS, {}, BATCH, META)
    seen, every = set(), estimator.update_every
    for t in range(6):
        state, info = step(state, BATCH, META)
        if t % every:
            expected = 1.0
            assert int(info.program) == -1
        else:
            above = ABOVE[starts_of(estimator)[max(int(info.program), 0)]]
            expected = ref.step_cost(estimator.virtual_step, above, RHO)
            if estimator.examples == 4:
                expected = (3 + 0.5 + 1 + RHO + 2 * RHO * above + above) / 3
            variate = estimator.control_variate_every
            if variate and (t // every) % variate == 0:
                expected += 4.75 / 3
        assert float(info.updated) == (0.0 if t % every else 1.0)
        assert float(info.cost) == pytest.approx(expected, rel=1e-5)
        seen.add(round(expected, 4))
    assert (len(seen) > 1) == has_programs(estimator)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (all_layers(), False),
        (last_layers(1, virtual_step="actual"), False),
        (last_layers(1, examples=4), False),
        (second_order(), False),
        (last_layers(1, update_every=2), True),
        (last_layers(1, control_variate_every=2), True),
        (random_layers(1), True),
        (random_depth(), True),
        (learned_gates("paper", target=2, lag=1), True),
    ],
    ids=lambda x: getattr(x, "label", ""),
)
def test_has_programs(estimator, expected):
    """Fails if an estimator that chooses is compiled with a `lax.cond` inside `train_step`."""
    assert has_programs(estimator) is expected


def coming(estimator, step, updates):
    """The next two programs of a state that has come so far."""
    state = init_state(MWNET, estimator, jax.random.key(0), PARAMS, N, M)
    state = state._replace(step=jnp.int32(step), updates=jnp.int32(updates))
    return [decode(code) for code in upcoming(estimator, state).tolist()]


def test_upcoming():
    """From step 0 on, and the step after as well. Fails if counting starts at 1."""
    estimator = last_layers(1, update_every=3)
    due = [1, 0, 0, 1, 0, 0, 1, 0]
    for t in range(7):
        programs = coming(estimator, t, sum(due[:t]))
        assert programs == [Program(meta=bool(due[t])), Program(meta=bool(due[t + 1]))]


def test_upcoming_control_variate():
    """Every second meta update. Fails if steps are counted instead."""
    estimator = last_layers(1, update_every=2, control_variate_every=2)
    plain = Program(meta=False)
    expected = [Program(renews=True), plain, Program(), plain] * 2
    for t in range(7):
        assert coming(estimator, t, (t + 1) // 2) == expected[t : t + 2]
