"""Layers drawn at random: factors, programs and frequencies by hand, and the mean over all draws."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

from famus_jax import Inputs, l2r, layers_by, mwnet, problem, random_depth, random_layers
from famus_jax.core.active_layers import Seen, covering_program, even_starts
from famus_jax.core.programs import Program
from famus_jax.core.random_layers import RandomDepth, RandomLayers
from famus_jax.core.state import init_state, step_keys
from famus_jax.core.update import meta_update

ALPHA, BETA, N, M = 0.4, 0.5, 5, 4
SIZES = (3, 4, 3, 4, 3)
NAMES = ("layer0", "layer1", "layer2", "layer3")
ALL = (0, 1, 2, 3)


def layer_number(path):
    return int(path[5])


def four_layers():
    return layers_by(ref.mlp_params(jax.random.key(0), SIZES, jnp.float32), layer_number)


def draw_from(spec):
    """`key -> Draw`; neither carries a state nor looks at the update's number."""
    seen = Seen(four_layers(), None)
    return lambda key: spec.draw((), key, jnp.int32(0), seen)


# --- what a draw says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "starts"),
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
def test_even_starts(arguments, starts):
    """By hand; fails if an end is left out, or one start is named twice."""
    assert even_starts(*arguments) == starts


@pytest.mark.parametrize("count", range(2, 12))
def test_even_starts_differ(count):
    """Fails if rounding makes two starts one."""
    starts = even_starts(0, 11, count)
    assert len(set(starts)) == count
    assert list(starts) == sorted(starts)
    assert (starts[0], starts[-1]) == (0, 11)


def test_covering_program():
    """All patterns: the highest start with no open layer below. Fails if it rounds up."""
    starts = (0, 2, 3)
    for pattern in itertools.product((0.0, 1.0), repeat=4):
        lowest = min((i for i in ALL if pattern[i]), default=4)
        expected = max(p for p, start in enumerate(starts) if start <= lowest)
        assert int(covering_program(starts, jnp.asarray(pattern, jnp.float32))) == expected


def test_programs():
    """A start, and all layers above it; fails if what lies between is left out."""
    expected = ((0, 1, 2, 3), (2, 3), (3,))
    assert RandomDepth((0.25, 0.25, 0.5)).programs(four_layers()) == expected
    expected = ((0, 1, 2, 3), (1, 2, 3), (2, 3))
    assert RandomLayers(2).programs(four_layers()) == expected


def test_depth_factors():
    """1 / P(D <= l) above the start, by hand. Fails if the chances are summed from the other end, or
    a layer below the depth is kept."""
    spec, layers = RandomDepth((0.25, 0.25, 0.5)), four_layers()
    assert spec.starts(layers) == (0, 2, 3)
    expected = [(4, 4, 2, 1), (0, 0, 2, 1), (0, 0, 0, 1)]
    for depth, factors in enumerate(expected):
        draw = spec.at(depth, layers)
        assert draw.factors.tolist() == list(factors)
        assert draw.factors.dtype == jnp.float32
        assert int(draw.program) == depth
    named = RandomDepth((0.5, 0.5), ("layer0", "layer1"))
    assert named.starts(layers) == (0, 1)
    assert named.at(1, layers).factors.tolist() == [0, 1, 1, 1]
    assert named.at(0, layers).factors.tolist() == [2, 1, 1, 1]


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("s", ALL[1:])
def test_layer_factors(s, unbiased):
    """Exactly s layers are open, at 1 or L / s, and the program starts below them, for many keys.

    Fails if a layer is drawn twice, or the factor is s / L.
    """
    spec = RandomLayers(s, unbiased, max_programs=2)
    starts = (0, 4 - s)
    assert spec.starts(four_layers()) == starts
    draws = jax.vmap(draw_from(spec))(jax.random.split(jax.random.key(s), 40))
    value = 4 / s if unbiased else 1.0
    for factors, program in zip(*map(np.asarray, draws[:2]), strict=True):
        np.testing.assert_allclose(np.sort(factors), [0.0] * (4 - s) + [value] * s, rtol=1e-6)
        assert program == (1 if np.flatnonzero(factors)[0] >= starts[1] else 0)


@pytest.mark.parametrize("programs", [1, 2, 3, 9])
@pytest.mark.parametrize("s", [1, 2, 3, 4])
def test_program_probabilities(s, programs):
    """Against counting all subsets. Fails if draws that round down go to the wrong program."""
    spec, layers = RandomLayers(s, max_programs=programs), four_layers()
    starts = spec.starts(layers)
    subsets = list(itertools.combinations(ALL, s))
    count = [0] * len(starts)
    for subset in subsets:
        count[max(p for p, start in enumerate(starts) if start <= min(subset))] += 1
    expected = [c / len(subsets) for c in count]
    assert spec.program_probabilities(layers) == pytest.approx(expected)


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
def test_frequencies_of_programs(spec):
    """4,000 seeded draws agree with `program_probabilities` by a chi-square bound, and would not with
    the probabilities in another order. Fails if q is reversed, or layers are not drawn uniformly.
    """
    draw = draw_from(spec)
    keys = jax.random.split(jax.random.key(7), 4000)
    programs = np.asarray(jax.jit(jax.vmap(lambda key: draw(key).program))(keys))
    q = spec.program_probabilities(four_layers())
    counts = np.bincount(programs, minlength=len(q))
    assert len(counts) == len(q)
    assert chi_square(counts, q) < QUANTILE[len(q) - 1]
    assert chi_square(counts, q[::-1]) > 10 * QUANTILE[len(q) - 1]


def test_frequencies_of_subsets():
    """Each of the six pairs comes up alike. Fails if a draw takes neighbors, or with replacement."""
    draw = draw_from(RandomLayers(2))
    keys = jax.random.split(jax.random.key(8), 3000)
    factors = np.asarray(jax.jit(jax.vmap(lambda key: draw(key).factors))(keys))
    pairs = list(itertools.combinations(ALL, 2))
    counts = [int((factors[:, pair] > 0).all(1).sum()) for pair in pairs]
    assert sum(counts) == 3000
    assert chi_square(counts, [1 / 6] * 6) < QUANTILE[5]


# --- the mean over draws ----------------------------------------------------------------------------


def setting(name, network="batchnorm"):
    """(problem, inputs, theta, arguments of the reference); call inside x64."""
    params, model_state = ref.bn_params(jax.random.key(1), SIZES)
    forward = ref.bn_mlp
    if network == "mlp":
        forward, params, model_state = ref.mlp, ref.mlp_params(jax.random.key(1), SIZES), {}
    if name == "mwnet":
        method, definition = mwnet(hidden=7, start="random", monotone=False), ref.mwnet("sum")
        theta = ref.mwnet_theta(jax.random.key(5))
    else:
        method, definition = l2r()._replace(init=lambda key, n: jnp.zeros(n)), ref.l2r()
        theta = jnp.zeros(N)
    method = method._replace(meta_optimizer=optax.sgd(BETA))
    what = problem(forward, method, layers=layers_by(params, layer_number))
    batch, meta_batch = ref.classification_batch(2, N), ref.classification_batch(3, M)
    inputs = Inputs(params, model_state, jax.random.key(9), batch, meta_batch, ALPHA)
    loss = ref.mean_loss(ref.cross_entropy)
    args = (forward, definition, loss, params, model_state, inputs.rng, batch, meta_batch, ALPHA)
    return what, inputs, theta, args


def start(what, estimator, inputs, theta, key=0):
    state = init_state(what, estimator, jax.random.key(key), inputs.params, N, M)
    if what.method.reset_each_batch:
        return state
    return state._replace(theta=theta, opt_state=what.method.meta_optimizer.init(theta))


@functools.cache
def draws_of(estimator):
    """Every draw that the estimator can make, {factors: Draw}."""
    keys = jax.random.split(jax.random.key(3), 200)
    draws = jax.jit(jax.vmap(draw_from(estimator.active)))(keys)
    found = {}
    for i, row in enumerate(draws.factors.tolist()):
        found.setdefault(tuple(row), jax.tree.map(lambda x, i=i: x[i], draws))
    return found


def waiting(state, draw):
    """The state whose next draw is this one."""
    draws = jax.tree.map(lambda queue, x: queue.at[0].set(x), state.draws, draw)
    return state._replace(draws=draws)


def moved(update, theta, reset_each_batch):
    """The meta gradient that an update descended."""
    new = update.info.weights if reset_each_batch else update.state.theta
    return jax.tree.map(lambda a, b: (b - a) / BETA, new, theta)


UNBIASED = {
    "two of four layers": (random_layers(2, unbiased=True), 6),
    "three depths": (random_depth((0.25, 0.25, 0.5)), 3),
    "two named depths": (random_depth((0.25, 0.75), lowest=["layer0", "layer2"]), 2),
    "finite differences": (random_depth((0.5, 0.5), route="finite_difference", epsilon=1e-5), 2),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["mwnet", "l2r"])
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[] if case == "three depths" else pytest.mark.slow)
        for case in UNBIASED
    ],
)
def test_mean_is_the_exact_gradient(case, name):
    """Every draw's gradient is the definition's with its factors, and the mean over draws, weighed
    by their chances, the exact gradient; all layers step, BatchNorm, float64.

    Fails if a factor is left out or squared, if a program drops an open layer, or if the virtual
    step moves with the factors.
    """
    estimator, count = UNBIASED[case]
    what, inputs, theta, args = setting(name)
    reset = what.method.reset_each_batch
    state = start(what, estimator, inputs, theta)
    run = jax.jit(lambda draw: meta_update(what, estimator, waiting(state, draw), inputs))
    oracle = jax.jit(jax.grad(lambda theta, active: ref.l_val(theta, *args, active)))
    draws = draws_of(estimator)
    assert len(draws) == count
    chances = [1 / 6] * 6
    if isinstance(estimator.active, RandomDepth):
        chances = [estimator.active.probabilities[int(draw.program)] for draw in draws.values()]
    rtol = 1e-6 if estimator.route == "finite_difference" else 1e-9
    total = jax.tree.map(jnp.zeros_like, theta)
    for chance, (factors, draw) in zip(chances, draws.items(), strict=True):
        update = run(draw)
        assert int(update.info.program) == int(draw.program)
        assert int(update.info.open_layers) == sum(f != 0 for f in factors)
        gradient = moved(update, theta, reset)
        ref.assert_close(gradient, oracle(theta, dict(zip(NAMES, factors, strict=True))), rtol)
        total = jax.tree.map(lambda t, g, c=chance: t + c * g, total, gradient)
    ref.assert_close(total, oracle(theta, dict.fromkeys(NAMES, 1.0)), rtol)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "route", ["jvp", pytest.param("finite_difference", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("virtual_step", ["all", pytest.param("active", marks=pytest.mark.slow)])
@pytest.mark.parametrize("through_optimizer", [False, True], ids=["sgd", "optimizer"])
def test_drawn_layers_equal_the_named_ones(through_optimizer, virtual_step, route):
    """A drawn set of layers gives the definition's gradient for that set, for sets with a closed
    layer between open ones.

    Fails if a closed layer above the start moves where it should stay, or stays where it should move.
    """
    estimator = random_layers(
        2, virtual_step=virtual_step, through_optimizer=through_optimizer, route=route,
        epsilon=1e-5, max_programs=9,
    )  # fmt: skip
    what, inputs, theta, args = setting("mwnet", "mlp")
    rng = np.random.default_rng(4)
    pull = jax.tree.map(lambda w: jnp.asarray(0.2 * rng.normal(size=w.shape)), inputs.params)

    def optimizer_update(gradient):  # decay, momentum, and a curved rule of its own
        return jax.tree.map(lambda p, g: p - 0.3 * jnp.tanh(2 * g), pull, gradient)

    inputs = inputs._replace(optimizer_update=optimizer_update)
    state = start(what, estimator, inputs, theta)
    run = jax.jit(
        lambda draw, program: meta_update(
            what, estimator, waiting(state, draw), inputs, program=program
        ),
        static_argnums=1,
    )
    kind = {"all": "full", "active": "frozen"}[virtual_step]
    l_val = ref.l_val
    if through_optimizer:
        args, l_val = (*args[:-1], optimizer_update), ref.l_val_through
    oracle = jax.jit(jax.grad(lambda theta, active: l_val(theta, *args, active, kind)))
    for open_layers in ((0, 2), (1, 3), (2, 3)):
        factors = tuple(float(i in open_layers) for i in ALL)
        draw = draws_of(estimator)[factors]
        assert int(draw.program) == min(open_layers)
        update = run(draw, Program(index=int(draw.program)))
        gradient = moved(update, theta, reset_each_batch=False)
        expected = oracle(theta, dict(zip(NAMES, factors, strict=True)))
        ref.assert_close(gradient, expected, 1e-6 if route == "finite_difference" else 1e-9)


@pytest.mark.usefixtures("x64")
def test_one_program_equals_the_switch():
    """One compiled program and `lax.switch` give one number. Fails if an index means another start."""
    estimator = random_layers(2)
    what, inputs, theta, _ = setting("mwnet", "mlp")
    state = start(what, estimator, inputs, theta)
    run = jax.jit(
        lambda draw, program: meta_update(
            what, estimator, waiting(state, draw), inputs, program=program
        ),
        static_argnums=1,
    )
    for draw in draws_of(estimator).values():
        switched, static = run(draw, None), run(draw, Program(index=int(draw.program)))
        ref.assert_close(static.state.theta, switched.state.theta)
        ref.assert_close(static.gradient, switched.gradient)


@pytest.mark.usefixtures("x64")
def test_each_update_draws_anew():
    """The draw depends on the update's number: fails if the same key draws the same layers for
    ever, or if what waits is not used in its turn."""
    estimator = random_layers(1)
    draw = draw_from(estimator.active)
    what, inputs, theta, _ = setting("mwnet", "mlp")
    state = start(what, estimator, inputs, theta)
    seen = []
    step = jax.jit(lambda state: meta_update(what, estimator, state, inputs))
    for t in range(8):
        expected = draw(step_keys(state.key, t).draw).program
        update = step(state)
        assert int(update.info.program) == int(expected)
        seen.append(int(expected))
        state = update.state
    assert len(set(seen)) > 1


# --- what can't be drawn -----------------------------------------------------------------------------


def refuse_setup(estimator):
    params = ref.mlp_params(jax.random.key(0), SIZES, jnp.float32)
    what = problem(ref.mlp, mwnet(), layers=four_layers())
    init_state(what, estimator, jax.random.key(0), params, N, M)


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
        (lambda: random_depth([0.2] * 5), r"5 depths needs as many different layers.*'layer3'"),
        (
            lambda: random_depth(0.2, lowest=["layer0", "layer0"]),
            r"different layers, bottom to top; it has the layers \[0, 0\]",
        ),
        (
            lambda: random_depth(0.2, lowest=["layer2", "layer0"]),
            r"different layers, bottom to top; it has the layers \[2, 0\]",
        ),
        (
            lambda: random_depth(0.2, lowest=["layer1", "layer3"]),
            r"bottom layer 'layer0' sometimes.*below 'layer1'.*let `lowest` start there",
        ),
        (
            lambda: random_depth(0.2, lowest=["layer0", "head"]),
            r"no layer is named 'head'.*the layers are \['layer0'",
        ),
        (
            lambda: random_layers(1, route="vjp"),
            r'active layers that are drawn go the routes.*got route="vjp" and random_layers_1',
        ),
        (
            lambda: random_depth(route="second_order"),
            r'active layers that are drawn go the routes.*got route="second_order" and random_depth',
        ),
        (lambda: random_depth(control_variate_every=4), r"a fixed set of layers.*got random_depth"),
    ],
)
def test_refused(make, message):
    """The message names the value and the way out."""
    with pytest.raises(ValueError, match=message):
        refuse_setup(make())


def test_number_for_random_depth():
    """p means all layers with probability p, else the head; fails if it is the head's."""
    assert random_depth(0.25) == random_depth((0.25, 0.75))
    layers = four_layers()
    assert random_depth(0.25).active.starts(layers) == (0, 3)
    assert random_depth(0.25).active.at(0, layers).factors.tolist() == [4, 4, 4, 1]
    assert math.isclose(sum(random_layers(2).active.program_probabilities(layers)), 1)


def test_a_closed_layer_stays_in_an_active_virtual_step():
    """Two layers are drawn of three, the lowest and the highest: L_val is that of a step of those two
    alone, by hand. Fails if the closed one between them, which the program covers, moves as well."""
    with jax.enable_x64(True):
        params, state = ref.bn_params(jax.random.key(1))
        batch, meta_batch = ref.classification_batch(2, 6), ref.classification_batch(3, 4)
        layers = layers_by(params, lambda path: int(path[5]))
        what = problem(ref.bn_mlp, mwnet(hidden=4, start="random", monotone=False), layers=layers)
        estimator = random_layers(2, virtual_step="active")
        meta = init_state(what, estimator, jax.random.key(0), params, 6, 4)
        factors = jnp.asarray([1.5, 0.0, 1.5], jnp.float32)
        draws = meta.draws._replace(factors=meta.draws.factors.at[0].set(factors))
        draws = draws._replace(program=draws.program.at[0].set(0))
        inputs = Inputs(params, state, None, batch, meta_batch, 0.4)
        info = meta_update(what, estimator, meta._replace(draws=draws), inputs).info
        theta = meta.theta

        def loss(w):
            outputs, _ = ref.bn_mlp(w, state, None, batch)
            return what.method.loss(theta, outputs, batch)[0]

        gradient = jax.grad(loss)(params)
        ahead = {
            name: jax.tree.map(lambda w, g, r=r: w - 0.4 * r * g, params[name], gradient[name])
            for name, r in zip(sorted(params), (1.0, 0.0, 1.0))
        }
        outputs, _ = ref.bn_mlp(ahead, state, None, meta_batch)
        expected = float(ref.cross_entropy(outputs, meta_batch).mean())
        assert float(info.meta_loss) == pytest.approx(expected, rel=1e-6)
