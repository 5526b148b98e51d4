"""Groups drawn at random: factors, cuts and frequencies by hand, and the mean over all draws."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax
from famus_jax import (
    Inputs,
    Problem,
    RandomDepth,
    RandomLayers,
    layers_by,
    init_state,
    meta_update,
    random_depth,
    random_layers,
)
from famus_jax.core.random_layers import covering_program, even_starts
from famus_jax.core.programs import Program

ALPHA, BETA, N = 0.4, 0.5, 5
SIZES = (3, 4, 3, 4, 3)
NAMES = ("layer0", "layer1", "layer2", "layer3")
ALL = (0, 1, 2, 3)


def layer_number(path):
    return int(path[5])


def four_groups():
    return layers_by(ref.mlp_params(jax.random.key(0), SIZES, jnp.float32), layer_number)


def close(actual, expected, rtol=1e-9):
    def compare(a, b):
        b = np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max() + 1e-14)

    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(compare, actual, expected)


# --- what a draw says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "cuts"),
    [
        ((0, 3, 2), (0, 3)),
        ((0, 3, 4), (0, 1, 2, 3)),
        ((0, 3, 9), (0, 1, 2, 3)),
        ((0, 8, 3), (0, 4, 8)),
        ((2, 8, 4), (2, 4, 6, 8)),
        ((3, 3, 5), (3,)),
        ((0, 3, 1), (0,)),
    ],
)
def test_even_cuts(arguments, cuts):
    """By hand; fails if an end is left out, or one cut is named twice."""
    assert even_starts(*arguments) == cuts


@pytest.mark.parametrize("count", range(2, 12))
def test_even_cuts_differ(count):
    """Fails if rounding makes two cuts one."""
    cuts = even_starts(0, 11, count)
    assert len(set(cuts)) == count
    assert list(cuts) == sorted(cuts)
    assert (cuts[0], cuts[-1]) == (0, 11)


def test_branch_for():
    """All patterns: the highest cut with no open group below. Fails if it rounds up."""
    cuts = (0, 2, 3)
    for pattern in itertools.product((0.0, 1.0), repeat=4):
        lowest = min((i for i in ALL if pattern[i]), default=4)
        expected = max(b for b, cut in enumerate(cuts) if cut <= lowest)
        assert int(covering_program(cuts, jnp.asarray(pattern, jnp.float32), 4)) == expected


def test_depth_factors():
    """1 / P(D <= l) above the cut, by hand. Fails if the chances are summed from the other end, or
    a group below the depth is kept."""
    spec, groups = RandomDepth((0.25, 0.25, 0.5)), four_groups()
    assert spec.cuts(groups) == (0, 2, 3)
    expected = [(4, 4, 2, 1), (0, 0, 2, 1), (0, 0, 0, 1)]
    for branch, factors in enumerate(expected):
        draw = spec.at(branch, groups)
        assert draw.factors.tolist() == list(factors)
        assert draw.factors.dtype == jnp.float32
        assert int(draw.branch) == branch
    named = RandomDepth((0.5, 0.5), ("layer0", "layer1"))
    assert named.cuts(groups) == (0, 1)
    assert named.at(1, groups).factors.tolist() == [0, 1, 1, 1]
    assert named.at(0, groups).factors.tolist() == [2, 1, 1, 1]


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("s", ALL[1:])
def test_group_factors(s, unbiased):
    """Exactly s groups are open, at 1 or L / s, and the branch lies below them, for many keys.

    Fails if a group is drawn twice, or the factor is s / L.
    """
    spec, groups = RandomLayers(s, unbiased, max_programs=2), four_groups()
    cuts = (0, 4 - s)
    assert spec.cuts(groups) == cuts
    draws = jax.vmap(lambda key: spec.draw(key, groups))(jax.random.split(jax.random.key(s), 40))
    value = 4 / s if unbiased else 1.0
    for factors, branch in zip(*map(np.asarray, draws), strict=True):
        np.testing.assert_allclose(np.sort(factors), [0.0] * (4 - s) + [value] * s, rtol=1e-6)
        assert branch == (1 if np.flatnonzero(factors)[0] >= cuts[1] else 0)


@pytest.mark.parametrize("variants", [1, 2, 3, 9])
@pytest.mark.parametrize("s", [1, 2, 3, 4])
def test_cut_probabilities(s, variants):
    """Against counting all subsets. Fails if draws that round down go to the wrong cut."""
    spec, groups = RandomLayers(s, max_programs=variants), four_groups()
    cuts = spec.cuts(groups)
    subsets = list(itertools.combinations(ALL, s))
    count = [0] * len(cuts)
    for subset in subsets:
        count[max(b for b, cut in enumerate(cuts) if cut <= min(subset))] += 1
    expected = [c / len(subsets) for c in count]
    assert spec.program_probabilities(groups) == pytest.approx(expected)


def chi_square(counts, probabilities):
    counts, expected = np.asarray(counts), sum(counts) * np.asarray(probabilities)
    return float(((counts - expected) ** 2 / expected).sum())


# 99.99 % quantiles of the chi-square distribution by its degrees of freedom.
QUANTILE = {1: 15.1, 2: 18.4, 5: 25.7}


@pytest.mark.parametrize(
    "spec",
    [RandomDepth((0.2, 0.3, 0.5)), RandomLayers(2), RandomLayers(1, max_programs=2)],
    ids=lambda spec: spec.label,
)
def test_frequencies_of_cuts(spec):
    """4,000 seeded draws agree with `program_probabilities` by a chi-square bound, and would not with
    the probabilities in another order. Fails if q is reversed, or groups are not drawn uniformly.
    """
    groups = four_groups()
    keys = jax.random.split(jax.random.key(7), 4000)
    branches = np.asarray(jax.jit(jax.vmap(lambda key: spec.draw(key, groups).branch))(keys))
    q = spec.program_probabilities(groups)
    counts = np.bincount(branches, minlength=len(q))
    assert len(counts) == len(q)
    assert chi_square(counts, q) < QUANTILE[len(q) - 1]
    assert chi_square(counts, q[::-1]) > 10 * QUANTILE[len(q) - 1]


def test_frequencies_of_subsets():
    """Each of the six pairs comes up alike. Fails if a draw takes neighbours, or with replacement."""
    spec, groups = RandomLayers(2), four_groups()
    keys = jax.random.split(jax.random.key(8), 3000)
    factors = np.asarray(jax.jit(jax.vmap(lambda key: spec.draw(key, groups).factors))(keys))
    pairs = list(itertools.combinations(ALL, 2))
    counts = [int((factors[:, pair] > 0).all(1).sum()) for pair in pairs]
    assert sum(counts) == 3000
    assert chi_square(counts, [1 / 6] * 6) < QUANTILE[5]


# --- the mean over draws ----------------------------------------------------------------------------


def setting(method, network="batchnorm"):
    """(problem, point, theta, arguments of the reference); call inside x64."""
    params, model_state = ref.bn_params(jax.random.key(1), SIZES)
    forward = ref.bn_mlp
    if network == "mlp":
        forward, params, model_state = ref.mlp, ref.mlp_params(jax.random.key(1), SIZES), {}
    if method == "mwnet":
        objective, definition = famus_jax.mwnet(hidden=7), ref.mwnet("sum")
        theta = ref.mwnet_theta(jax.random.key(5))
    else:
        objective, definition = famus_jax.l2r(), ref.l2r()
        objective = objective._replace(init=lambda key, n: jnp.zeros(n))
        theta = jnp.zeros(N)
    objective = objective._replace(meta_optimizer=optax.sgd(BETA))
    meta_loss = famus_jax.mean_of(famus_jax.softmax_cross_entropy)
    problem = Problem(forward, objective, meta_loss, layers_by(params, layer_number))
    batch, meta_batch = ref.classification_batch(2, N), ref.classification_batch(3, 4)
    point = Inputs(params, model_state, jax.random.key(9), batch, meta_batch, ALPHA)
    loss = ref.mean_loss(ref.cross_entropy)
    args = (forward, definition, loss, params, model_state, point.rng, batch, meta_batch, ALPHA)
    return problem, point, theta, args


def start(problem, estimator, point, theta, key=0):
    state = init_state(problem, estimator, jax.random.key(key), point.params, N, 4)
    if problem.objective.fresh:
        return state
    return state._replace(theta=theta, opt_state=problem.objective.meta_optimizer.init(theta))


@functools.cache
def keys_of(estimator):
    """One state key for every factors that the estimator can draw, {factors: (key, branch)}."""
    groups = four_groups()

    def draw(key):
        return estimator.active.draw(jax.random.split(jax.random.fold_in(key, 0), 3)[1], groups)

    keys = jax.random.split(jax.random.key(3), 200)
    factors, branches = jax.jit(jax.vmap(draw))(keys)
    found = {}
    for i, row in enumerate(factors.tolist()):
        found.setdefault(tuple(row), (keys[i], int(branches[i])))
    return found


def moved(update, theta, fresh):
    """The meta gradient that an update descended."""
    new = update.info.weights if fresh else update.state.theta
    return jax.tree.map(lambda a, b: (b - a) / BETA, new, theta)


UNBIASED = {
    "two of four groups": (random_layers(2, unbiased=True), 6),
    "three depths": (random_depth((0.25, 0.25, 0.5)), 3),
    "two named depths": (random_depth((0.25, 0.75), lowest=["layer0", "layer2"]), 2),
    "finite differences": (random_depth((0.5, 0.5), route="finite_difference", epsilon=1e-5), 2),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("method", ["mwnet", "l2r"])
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[] if case == "three depths" else pytest.mark.slow)
        for case in UNBIASED
    ],
)
def test_mean_is_the_exact_gradient(case, method):
    """Every draw's gradient is the definition's with its factors, and the mean over draws, weighed
    by their chances, the exact gradient; full look-ahead, BatchNorm, float64.

    Fails if a factor is left out or squared, if a variant drops an open group, or if the look-ahead
    moves with the factors.
    """
    estimator, draws = UNBIASED[case]
    problem, point, theta, args = setting(method)
    fresh = problem.objective.fresh
    state = start(problem, estimator, point, theta)
    run = jax.jit(lambda key: meta_update(problem, estimator, state._replace(key=key), point))
    oracle = jax.jit(jax.grad(lambda theta, active: ref.l_val(theta, *args, active)))
    found = keys_of(estimator)
    assert len(found) == draws
    chances = [1 / 6] * 6
    if isinstance(estimator.active, RandomDepth):
        chances = [estimator.active.probabilities[branch] for _, branch in found.values()]
    rtol = 1e-6 if estimator.route == "finite_difference" else 1e-9
    total = jax.tree.map(jnp.zeros_like, theta)
    for chance, (factors, (key, branch)) in zip(chances, found.items(), strict=True):
        update = run(key)
        assert int(update.info.branch) == branch
        assert int(update.info.open_layers) == sum(f != 0 for f in factors)
        gradient = moved(update, theta, fresh)
        close(gradient, oracle(theta, dict(zip(NAMES, factors, strict=True))), rtol)
        total = jax.tree.map(lambda t, g, c=chance: t + c * g, total, gradient)
    close(total, oracle(theta, dict.fromkeys(NAMES, 1.0)), rtol)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "route", ["jvp", pytest.param("finite_difference", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "kind",
    [
        "full",
        pytest.param("frozen", marks=pytest.mark.slow),
        pytest.param("coast", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("virtual_step", ["sgd", "optimizer"])
def test_random_groups_equal_the_chosen_set(virtual_step, kind, route):
    """A drawn set of groups gives the definition's gradient for that set, for sets with a closed
    group between open ones.

    Fails if a closed group above the cut moves where it should stay, or stays where it should coast.
    """
    how = {"full": {}, "frozen": {"virtual_step": "active_only"}}
    how["coast"] = {**how["frozen"], "closed": "coast"}
    estimator = random_layers(
        2, virtual_step=virtual_step, route=route, epsilon=1e-5, max_programs=9, **how[kind]
    )
    problem, point, theta, args = setting("mwnet", "mlp")
    rng = np.random.default_rng(4)
    pull = jax.tree.map(lambda w: jnp.asarray(0.2 * rng.normal(size=w.shape)), point.params)

    def descend(gradient):  # decay, momentum, and a curved rule of its own
        return jax.tree.map(lambda p, g: p - 0.3 * jnp.tanh(2 * g), pull, gradient)

    point = point._replace(descend=descend)
    state = start(problem, estimator, point, theta)
    run = jax.jit(
        lambda key, variant: meta_update(
            problem, estimator, state._replace(key=key), point, variant=variant
        ),
        static_argnums=1,
    )
    if virtual_step == "sgd":
        args, l_val, more = args, ref.l_val, (pull,)
    else:
        args, l_val, more = (*args[:-1], descend), ref.l_val_through, ()
    oracle = jax.jit(jax.grad(lambda theta, active: l_val(theta, *args, active, kind, *more)))
    for open_layers in ((0, 2), (1, 3), (2, 3)):
        factors = tuple(float(i in open_layers) for i in ALL)
        key, branch = keys_of(estimator)[factors]
        assert branch == min(open_layers)
        gradient = moved(run(key, Program(branch=branch)), theta, fresh=False)
        expected = oracle(theta, dict(zip(NAMES, factors, strict=True)))
        close(gradient, expected, 1e-6 if route == "finite_difference" else 1e-9)


@pytest.mark.usefixtures("x64")
def test_static_variant_equals_switch():
    """One compiled variant and `lax.switch` give one number. Fails if a branch means another cut."""
    estimator = random_layers(2)
    problem, point, theta, _ = setting("mwnet", "mlp")
    state = start(problem, estimator, point, theta)
    run = jax.jit(
        lambda key, variant: meta_update(
            problem, estimator, state._replace(key=key), point, variant=variant
        ),
        static_argnums=1,
    )
    for key, branch in keys_of(estimator).values():
        switched, static = run(key, None), run(key, Program(branch=branch))
        close(static.state.theta, switched.state.theta)
        close(static.gradient, switched.gradient)


@pytest.mark.usefixtures("x64")
def test_each_update_draws_anew():
    """The draw depends on the step: fails if the same key draws the same groups for ever."""
    estimator = random_layers(1)
    groups = four_groups()
    problem, point, theta, _ = setting("mwnet", "mlp")
    state = start(problem, estimator, point, theta)
    seen = []
    step = jax.jit(lambda state: meta_update(problem, estimator, state, point))
    for t in range(8):
        key = jax.random.split(jax.random.fold_in(state.key, t), 3)[1]
        expected = estimator.active.draw(key, groups).branch
        update = step(state)
        assert int(update.info.branch) == int(expected)
        seen.append(int(expected))
        state = update.state
    assert len(set(seen)) > 1


# --- what can't be drawn -----------------------------------------------------------------------------


def refuse_setup(estimator):
    params = ref.mlp_params(jax.random.key(0), SIZES, jnp.float32)
    meta_loss = famus_jax.mean_of(famus_jax.softmax_cross_entropy)
    problem = Problem(ref.mlp, famus_jax.mwnet(), meta_loss, four_groups())
    init_state(problem, estimator, jax.random.key(0), params, N, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: random_layers(0), r"random_layers\(0\) needs s between 1 and 4.*'layer3'"),
        (lambda: random_layers(5), r"random_layers\(5\) needs s between 1 and 4"),
        (lambda: random_layers(1, max_programs=0), r"max_programs must be at least 1; got 0"),
        (lambda: random_depth((0.5, 0.6)), r"sum to 1, deepest first; got \(0.5, 0.6\)"),
        (lambda: random_depth((1.5, -0.5)), r"positive probabilities.*got \(1.5, -0.5\)"),
        (lambda: random_depth(1.0), r"positive probabilities.*got \(1.0, 0.0\)"),
        (lambda: random_depth(()), r"positive probabilities.*got \(\)"),
        (lambda: random_depth(0.2, lowest=["layer0"]), r"2 probabilities, but lowest names 1"),
        (lambda: random_depth([0.2] * 5), r"5 depths needs as many different groups.*'layer3'"),
        (
            lambda: random_depth(0.2, lowest=["layer0", "layer0"]),
            r"different groups, bottom to top; it has the groups \[0, 0\]",
        ),
        (
            lambda: random_depth(0.2, lowest=["layer2", "layer0"]),
            r"different groups, bottom to top; it has the groups \[2, 0\]",
        ),
        (
            lambda: random_depth(0.2, lowest=["layer1", "layer3"]),
            r"bottom group 'layer0' sometimes.*below 'layer1'.*let `lowest` start there",
        ),
        (
            lambda: random_depth(0.2, lowest=["layer0", "head"]),
            r"no layer group 'head'; the groups are \['layer0'",
        ),
        (lambda: random_layers(1, route="vjp"), r'"jvp".*got route=\'vjp\''),
        (lambda: random_depth(route="second_order"), r'"jvp".*got route=\'second_order\''),
        (lambda: random_depth(control_variate_every=4), r"top_k, block or chosen.*RandomDepth"),
    ],
)
def test_refused(make, message):
    """The message names the value and the way out."""
    with pytest.raises(ValueError, match=message):
        refuse_setup(make())


def test_number_for_random_depth():
    """p means all groups with probability p, else the head; fails if it is the head's."""
    assert random_depth(0.25) == random_depth((0.25, 0.75))
    groups = four_groups()
    assert random_depth(0.25).active.cuts(groups) == (0, 3)
    assert random_depth(0.25).active.at(0, groups).factors.tolist() == [4, 4, 4, 1]
    assert math.isclose(sum(random_layers(2).active.program_probabilities(groups)), 1)
