"""What every variant of a step costs, against passes added up by hand; how variants are told apart."""

import jax
import jax.numpy as jnp
import optax
import pytest
import reference as ref

import famus_jax
from famus_jax import (
    Problem,
    Program,
    named_layers,
    named_layers,
    all_layers,
    layers_by,
    learned_gates,
    mean_cost,
    random_depth,
    random_layers,
    last_layers,
    train_step,
)
from famus_jax.core.programs import (
    correction_cost,
    program_costs,
    cuts_of,
    has_programs,
    is_meta_step,
    program_cost,
)

SHARES = (0.5, 0.3, 0.125, 0.075)  # bottom to top
ABOVE = (1.0, 0.5, 0.2, 0.075)  # their sums from the top, by hand
RHO = 0.25
PARAMS = ref.mlp_params(jax.random.key(0), (3, 4, 3, 4, 3), jnp.float32)
GROUPS = layers_by(PARAMS, lambda path: int(path[5]), costs=SHARES)
META_LOSS = famus_jax.mean_of(famus_jax.softmax_cross_entropy)
MWNET = Problem(ref.mlp, famus_jax.mwnet(hidden=3), META_LOSS, GROUPS)
L2R = MWNET._replace(objective=famus_jax.l2r())


def close(actual, expected):
    assert list(actual) == pytest.approx(list(expected), rel=1e-6)


@pytest.mark.parametrize("virtual_step", ["full", "active_only", "one_pass"])
@pytest.mark.parametrize(
    ("make", "lowest"),
    [
        (exact, 0),
        (lambda **how: last_layers(1, **how), 3),
        (lambda **how: last_layers(3, **how), 1),
        (lambda **how: named_layers("layer3", "layer2", **how), 2),
        (lambda **how: named_layers("layer1", **how), 1),
    ],
    ids=["exact", "head", "top 3", "chosen", "block"],
)
def test_fixed_sets(make, lowest, virtual_step):
    """The share at or above the lowest group counts. Fails if the groups' own shares are added, or
    those below."""
    estimator = make(virtual_step=virtual_step)
    assert cuts_of(MWNET, estimator) == (lowest,)
    expected = ref.step_cost(virtual_step, ABOVE[lowest], RHO)
    close(program_costs(MWNET, estimator, RHO), [expected])
    assert mean_cost(MWNET, estimator, RHO) == pytest.approx(expected)
    if virtual_step != "one_pass":
        close(program_costs(L2R, estimator, RHO), [ref.step_cost(virtual_step, ABOVE[lowest], RHO, True)])


def test_by_hand():
    """Three numbers without any formula: F = 1 forward, a plain step 3.

    Full, groups 2 and 3 (share .2), meta batch a quarter: 1 forward, 2 virtual backward, .25 meta
    forward, .1 meta backward, .4 J v, 2 actual backward: 5.75. Active-only: .4 virtual backward
    instead of 2: 4.15. One-pass: no actual backward: 3.75. Fails if a pass is forgotten.
    """
    assert program_costs(MWNET, last_layers(2), RHO)[0] * 3 == pytest.approx(5.75)
    only = last_layers(2, virtual_step="active")
    assert program_costs(MWNET, only, RHO)[0] * 3 == pytest.approx(4.15)
    one_pass = last_layers(2, virtual_step="actual")
    assert program_costs(MWNET, one_pass, RHO)[0] * 3 == pytest.approx(3.75)


def test_layerwise_products():
    """route="vjp" pays a product per group, from the group up, with no tangent coming from below:
    1 + .5 + .2 + .075 for all groups, where one product for all costs 2. (For the 29 groups of
    WideResNet-28-2 that makes 7.89 plain steps; XLA counts 7.70, see results/.)"""
    fused, layerwise = (program_costs(MWNET, all_layers(route=r), RHO)[0] * 3 for r in ("jvp", "vjp"))
    assert layerwise - fused == pytest.approx(1 + 0.5 + 0.2 + 0.075 - 2)
    # Groups 1 and 3, not what lies between.
    names = ["layer1", "layer3"]
    fused, layerwise = (
        program_costs(MWNET, named_layers(names, route=r), RHO)[0] * 3 for r in ("jvp", "vjp")
    )
    assert layerwise - fused == pytest.approx(0.5 + 0.075 - 2 * 0.5)


def test_part():
    """Half the batch, groups 2 and 3: its own forward .5, virtual backward 1, meta .35, J v .2, and
    the actual step's 3: 5.05 F. Fails if the part's own forward pass is free, or ρ is scaled."""
    assert program_costs(MWNET, last_layers(2, part=0.5), RHO)[0] * 3 == pytest.approx(5.05)
    only = last_layers(2, part=0.5, virtual_step="active")
    assert program_costs(MWNET, only, RHO)[0] * 3 == pytest.approx(3 + 0.5 + 0.2 + 0.35 + 0.2)


def test_random_depth():
    """Fails if the deepest cut is weighed by the head's probability."""
    estimator = random_depth((0.2, 0.3, 0.5))
    assert cuts_of(MWNET, estimator) == (0, 2, 3)
    costs = [ref.step_cost("full", ABOVE[i], RHO) for i in (0, 2, 3)]
    close(program_costs(MWNET, estimator, RHO), costs)
    expected = 0.2 * costs[0] + 0.3 * costs[1] + 0.5 * costs[2]
    assert mean_cost(MWNET, estimator, RHO) == pytest.approx(expected)
    assert costs[0] > costs[1] > costs[2]
    for branch in range(3):
        got = program_cost(MWNET, estimator, RHO, Program(branch=branch))
        assert got == pytest.approx(costs[branch])


def test_random_groups():
    """Two of four groups with cuts 0, 1, 2: three of six pairs reach group 0, two group 1, one
    group 2. Fails if every draw pays for the lowest cut."""
    estimator = random_layers(2, virtual_step="active")
    costs = [ref.step_cost("active_only", ABOVE[i], RHO) for i in (0, 1, 2)]
    expected = (3 * costs[0] + 2 * costs[1] + costs[2]) / 6
    assert mean_cost(MWNET, estimator, RHO) == pytest.approx(expected)


def test_gates():
    """Nothing is known of them beforehand: the dearest cut, unless the caller knows better."""
    estimator = learned_gates("paper", target=2, lag=1)
    costs = [ref.step_cost("full", s, RHO) for s in ABOVE]
    close(program_costs(MWNET, estimator, RHO), costs)
    assert mean_cost(MWNET, estimator, RHO) == pytest.approx(costs[0])
    known = mean_cost(MWNET, estimator, RHO, (0.1, 0.2, 0.3, 0.4))
    assert known == pytest.approx(sum(p * c for p, c in zip((0.1, 0.2, 0.3, 0.4), costs)))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_every_k(k):
    """1 + (c − 1) / k for the one-pass head; by hand c = (4 + .15 (1 + 1)) / 3 at ρ = 1.

    Fails if skipped steps are free, or the whole step is divided.
    """
    estimator = last_layers(1, virtual_step="actual", update_every=k)
    cost = (4 + 2 * 0.075 + 2 * 0.075) / 3
    assert mean_cost(MWNET, estimator, 1.0) == pytest.approx(1 + (cost - 1) / k)
    assert program_cost(MWNET, estimator, 1.0, Program(meta=False)) == 1
    scheduled = last_layers(1, virtual_step="actual", update_every=lambda step: k + step)  # taken at step 0
    assert mean_cost(MWNET, scheduled, 1.0) == pytest.approx(1 + (cost - 1) / k)


def test_every_and_depth_together():
    estimator = random_depth(0.25, update_every=4)
    mean = 0.25 * ref.step_cost("full", 1.0, RHO) + 0.75 * ref.step_cost("full", 0.075, RHO)
    assert mean_cost(MWNET, estimator, RHO) == pytest.approx(1 + (mean - 1) / 4)


def test_correction():
    """The exact gradient besides an active-only head: 2 virtual backward, .75 meta, 2 J v: 4.75 F.

    Paid every fourth meta update, of which there is one in two steps. Fails if the actual step is
    paid twice, or the correction is not divided by both.
    """
    estimator = last_layers(1, virtual_step="active", control_variate_every=4, update_every=2)
    cheap, extra = ref.step_cost("active_only", 0.075, RHO), 4.75 / 3
    assert correction_cost(MWNET, estimator, RHO) == pytest.approx(extra)
    assert program_cost(MWNET, estimator, RHO, Program()) == pytest.approx(cheap)
    got = program_cost(MWNET, estimator, RHO, Program(correct=True))
    assert got == pytest.approx(cheap + extra)
    assert mean_cost(MWNET, estimator, RHO) == pytest.approx(1 + (cheap + extra / 4 - 1) / 2)


def test_correction_on_a_part():
    """Half the batch: 1 virtual backward, .75 meta, 1 J v: 2.75 F. The part's forward pass is there
    already. Fails if it is paid a second time."""
    estimator = last_layers(1, virtual_step="active", control_variate_every=4, part=0.5)
    assert correction_cost(MWNET, estimator, RHO) * 3 == pytest.approx(2.75)


BATCH = ref.classification_batch(2, 8, dtype=jnp.float32)
META = ref.classification_batch(3, 2, dtype=jnp.float32)


@pytest.mark.parametrize(
    "estimator",
    [
        last_layers(2, virtual_step="active", update_every=3),
        pytest.param(random_depth((0.3, 0.3, 0.4)), marks=pytest.mark.slow),
        last_layers(1, control_variate_every=2, update_every=2),
        last_layers(1, part=0.5),
    ],
    ids=lambda estimator: estimator.label,
)
def test_info_says_what_the_step_cost(estimator):
    """`info.cost` and `info.updated` of six steps, against a table of the state's own choices.

    Fails if a skipped step reports a meta step's cost, or every draw the same one.
    """
    step = train_step(
        ref.mlp, famus_jax.mwnet(hidden=3), estimator, optax.sgd(0.1), learning_rate=0.1,
        params=PARAMS, model_state={}, batch=BATCH, groups=GROUPS,
    )  # fmt: skip
    state = step.init(jax.random.key(1), PARAMS, {}, BATCH, META)
    seen = set()
    for t in range(6):
        state, info, _ = step(state, BATCH, META)
        every = 1 if callable(estimator.every) else estimator.every
        if t % every:
            expected = 1.0
            assert int(info.branch) == -1
        else:
            cut = max(int(info.branch), 0)
            above = ABOVE[cuts_of(MWNET, estimator)[cut]]
            half = estimator.part == 0.5
            expected = ref.step_cost(estimator.virtual_step, above, RHO)
            if half:
                expected = (3 + 0.5 + 1 + RHO + 2 * RHO * above + above) / 3
            if estimator.control_variate_every and (t // every) % estimator.control_variate_every == 0:
                expected += 4.75 / 3
        assert float(info.updated) == (0.0 if t % every else 1.0)
        assert float(info.cost) == pytest.approx(expected, rel=1e-5)
        seen.add(round(expected, 4))
    assert (len(seen) > 1) == has_programs(estimator)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (all_layers(), False),
        (last_layers(1, virtual_step="actual", part=1.0), False),
        (last_layers(1, part=0.5), False),
        (last_layers(1, update_every=2), True),
        (last_layers(1, update_every=lambda step: 1), True),
        (last_layers(1, control_variate_every=2), True),
        (random_layers(1), True),
        (random_depth(), True),
        (learned_gates("paper", target=2, lag=1), True),
    ],
    ids=lambda x: getattr(x, "label", ""),
)
def test_has_variants(estimator, expected):
    """Fails if an estimator that chooses is compiled with a `lax.cond` inside `train_step`."""
    assert has_programs(estimator) is expected


def test_is_meta_step():
    """From step 0 on; a schedule is asked at every step. Fails if counting starts at 1."""
    assert [bool(is_meta_step(last_layers(1, update_every=3), t)) for t in range(7)] == [1, 0, 0, 1, 0, 0, 1]

    def later(step):  # every step for four steps, then every third
        return jnp.where(step < 4, 1, 3)

    got = [bool(is_meta_step(last_layers(1, update_every=later), t)) for t in range(10)]
    assert got == [1, 1, 1, 1, 0, 0, 1, 0, 0, 1]
