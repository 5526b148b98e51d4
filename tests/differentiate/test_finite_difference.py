"""J d by finite differences, and DARTS' form: where they agree with the exact gradient, and by how
much; networks without forward mode."""

import functools

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
    all_layers,
    fused_meta_gradient,
    last_layers,
    layers_by,
)
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update
from famus_jax.differentiate.finite_difference import finite_difference

ALPHA, BETA, N = 0.4, 0.5, 5
NAMES = ("layer0", "layer1", "layer2")
HOW = {
    "full": {"virtual_step": "all"},
    "frozen": {"virtual_step": "active"},
}
tree_map = jax.tree.map


def layer_number(path):
    return int(path[5])


def close(actual, expected, rtol):
    """Leaf by leaf, to `rtol` of the leaf's largest entry."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)

    def compare(a, b):
        scale = float(jnp.abs(b).max())
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * scale + 1e-14)

    tree_map(compare, actual, expected)


def distance(a, b):
    """|a − b| / |b| over all leaves."""
    gap = optax.tree.norm(tree_map(jnp.subtract, a, b))
    return float(gap / optax.tree.norm(b))


def setting(method, forward=ref.bn_mlp):
    """(problem, theta, point, arguments of the reference); call inside x64."""
    params, model_state = ref.bn_params(jax.random.key(1))
    if forward is not ref.bn_mlp:
        params, model_state = ref.mlp_params(jax.random.key(1)), {}
    if method == "mwnet":
        objective, definition = (
            famus_jax.mwnet(hidden=7, start="random", monotone=False),
            ref.mwnet("sum"),
        )
        theta = ref.mwnet_theta(jax.random.key(5))
    else:
        objective, definition = famus_jax.l2r(), ref.l2r()
        theta = jnp.asarray(np.random.default_rng(6).normal(size=N)) / N
    meta_loss = famus_jax.mean_of(famus_jax.losses.softmax_cross_entropy)
    problem = Problem(forward, objective, meta_loss, layers_by(params, layer_number))
    batch, meta_batch = ref.classification_batch(2, N), ref.classification_batch(3, 4)
    rng = np.random.default_rng(4)
    momentum = tree_map(lambda w: jnp.asarray(0.2 * rng.normal(size=w.shape)), params)

    def descend(gradient):
        return tree_map(lambda m, g: m - ALPHA * g, momentum, gradient)

    point = Inputs(params, model_state, jax.random.key(9), batch, meta_batch, ALPHA, descend)
    loss = ref.mean_loss(ref.cross_entropy)
    args = (forward, definition, loss, params, model_state, point.rng, batch, meta_batch, ALPHA)
    return problem, theta, point, args


def flags(active):
    return {name: float(i in active) for i, name in enumerate(NAMES)}


@functools.cache
def oracle(method, kind):
    _, _, _, args = setting(method)
    return jax.jit(jax.grad(lambda theta, active: ref.l_val(theta, *args, active, kind)))


@functools.cache
def darts_oracle(kind):
    """MW-Net's form of DARTS, without any difference: the derivative along d of ∇_θ T, with the losses
    inside the weights moving too. d = −α v at the look-ahead of the definition, 0 in closed groups.
    """
    _, _, _, args = setting("mwnet")
    forward, definition, meta_loss, w, model_state, rng, batch, meta_batch, alpha = args

    def not_detached(theta, w):
        outputs, _ = forward(w, model_state, rng, batch)
        losses = ref.cross_entropy(outputs, batch)
        hidden = jnp.maximum(losses[:, None] * theta["kernel_1"] + theta["bias_1"][None, :], 0)
        logits = hidden @ theta["kernel_2"][:, 0] + theta["bias_2"]
        weights = 1 / (1 + jnp.exp(-logits))
        return (weights / weights.sum() * losses).sum()

    def direction(theta, active):
        gradient = ref.training_gradient(forward, definition, w, theta, model_state, rng, batch)
        w_hat = ref.virtual_step(w, gradient, alpha, active, kind)
        v = ref.validation_gradient(forward, meta_loss, w_hat, model_state, rng, meta_batch)
        return {
            group: tree_map(lambda x, a=a: -alpha * a * x, v[group]) for group, a in active.items()
        }

    def gradient(theta, active):
        d = direction(theta, active)
        slopes = jax.grad(not_detached, argnums=1)
        return jax.grad(
            lambda t: sum(
                (a * b).sum() for a, b in zip(*map(jax.tree.leaves, (slopes(t, w), d)), strict=True)
            )
        )(theta)

    return jax.jit(gradient)


@functools.cache
def library(method, route, kind, active, epsilon):
    problem, _, point, _ = setting(method)
    how = {**HOW[kind], "route": route, "epsilon": epsilon, "active": active}
    return jax.jit(lambda theta: fused_meta_gradient(problem, theta, point, **how))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "active", [(2,), (0, 2), pytest.param((0, 1, 2), marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "full" else pytest.mark.slow) for kind in HOW]
)
@pytest.mark.parametrize(
    ("method", "route"),
    [("mwnet", "finite_difference"), ("l2r", "finite_difference"), ("l2r", "darts")],
)
def test_against_the_definition(method, route, kind, active):
    """Small steps in float64, BatchNorm in training mode: 1e-5 of the largest entry.

    Fails if the quotient is one-sided, if ε is not divided by or enters twice, if a closed group is
    moved, or if BatchNorm's statistics stay those of w.
    """
    _, theta, _, _ = setting(method)
    result = library(method, route, kind, active, 1e-5)(theta)
    close(result, oracle(method, kind)(theta, flags(active)), 1e-5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("active", [(2,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("kind", ["full", "frozen"])
def test_darts_for_mwnet(kind, active):
    """DARTS' form is the derivative with the weights' losses moving, which is another number.

    Fails if they are held fixed, or if the difference is not that of the documented extra term.
    """
    _, theta, _, _ = setting("mwnet")
    result = library("mwnet", "darts", kind, active, 1e-5)(theta)
    close(result, darts_oracle(kind)(theta, flags(active)), 1e-5)
    assert distance(result, oracle("mwnet", kind)(theta, flags(active))) > 1e-2


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("method", "route"),
    [("mwnet", "finite_difference"), pytest.param("l2r", "darts", marks=pytest.mark.slow)],
)
def test_error_falls_as_epsilon_squared(method, route):
    """Half the step, a quarter of the error. Fails if the quotient is one-sided (a half), or ε is not
    relative to the parameters as documented (a test of its own, below)."""
    _, theta, _, _ = setting(method)
    right = oracle(method, "full")(theta, flags((0, 1, 2)))
    errors = [
        distance(library(method, route, "full", (0, 1, 2), epsilon)(theta), right)
        for epsilon in (4e-3, 2e-3, 1e-3)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("length", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("active", [(2,), (0, 1, 2)], ids=str)
def test_length_of_the_step(active, length):
    """‖ε v‖ = epsilon ‖w_S‖ whatever v's length: both points, by the outputs there.

    Fails if the closed groups' norm counts, or a long direction makes a long step.
    """
    problem, _, point, _ = setting("mwnet", ref.mlp)
    lin = finite_difference(ref.mlp, *point[:4], problem.layers, epsilon=0.01)
    rng = np.random.default_rng(3)
    names = [NAMES[i] for i in active]
    direction = {
        n: tree_map(lambda w: jnp.asarray(rng.normal(size=w.shape)), point.params[n]) for n in names
    }

    def norm(tree):
        return np.sqrt(sum(float((x**2).sum()) for x in jax.tree.leaves(tree)))

    step = 0.01 * norm({n: point.params[n] for n in names}) / norm(direction)
    v = tuple(length * x for x in jax.tree.leaves(direction))
    plus, minus, eps = lin.shifted(v, active)
    assert float(eps) * length == pytest.approx(step, rel=1e-5)
    for sign, outputs in ((1, plus), (-1, minus)):
        moved = dict(point.params)
        for n in names:
            moved[n] = tree_map(
                lambda w, x, s=sign: w + s * step * x, point.params[n], direction[n]
            )
        expected, _ = ref.mlp(moved, {}, None, point.batch)
        np.testing.assert_allclose(outputs[0], expected, rtol=1e-6, atol=1e-7)


# --- networks without forward mode -----------------------------------------------------------------


@jax.custom_vjp
def reverse_tanh(x):
    return jnp.tanh(x)


reverse_tanh.defvjp(lambda x: (jnp.tanh(x), jnp.tanh(x)), lambda y, c: (c * (1 - y**2),))


def reverse_mlp(params, model_state, rng, batch):
    """`ref.mlp` with activations that define only a reverse rule."""
    del rng
    h = batch["x"]
    for name in NAMES[:-1]:
        h = reverse_tanh(h @ params[name]["w"] + params[name]["b"][None, :])
    return h @ params["layer2"]["w"] + params["layer2"]["b"][None, :], model_state


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("virtual_step", ["all", "active"])
@pytest.mark.parametrize("method", ["mwnet", "l2r"])
def test_reverse_rule_only(method, virtual_step):
    """The jvp route can't; finite differences give what the same function gives with both modes.

    Fails if J v, or the pull-back to the active groups, still goes through forward mode, or if JAX's
    error, which names neither the function nor the way out, comes through.
    """
    problem, theta, point, args = setting(method, reverse_mlp)
    how = {"active": (0, 2), "virtual_step": virtual_step}
    with pytest.raises(
        ValueError, match=r"reverse_tanh at .*route=\"finite_difference\""
    ) as raised:
        fused_meta_gradient(problem, theta, point, **how)
    assert "\n" not in str(raised.value)
    result = fused_meta_gradient(
        problem, theta, point, route="finite_difference", epsilon=1e-5, **how
    )
    kind = "full" if virtual_step == "all" else "frozen"
    expected = jax.grad(ref.l_val)(theta, ref.mlp, *args[1:], flags((0, 2)), kind)
    close(result, expected, 1e-5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "estimator",
    [
        all_layers(route="finite_difference", epsilon=1e-5),
        last_layers(1, route="finite_difference", epsilon=1e-5, virtual_step="active"),
        last_layers(2, route="finite_difference", epsilon=1e-5, virtual_step="actual"),
    ],
    ids=lambda estimator: estimator.label,
)
def test_whole_update_without_forward_mode(estimator):
    """θ' of `meta_update`. Fails if some other part of the step asks for forward mode."""
    problem, theta, point, args = setting("mwnet", reverse_mlp)
    objective = problem.method._replace(meta_optimizer=optax.sgd(BETA))
    problem = problem._replace(method=objective)
    state = init_state(problem, estimator, jax.random.key(0), point.params, N, 4)
    state = state._replace(theta=theta, opt_state=objective.meta_optimizer.init(theta))
    update = jax.jit(lambda s: meta_update(problem, estimator, s, point))(state)
    active = estimator.active.programs(problem.layers)[0]
    kind = "frozen" if estimator.virtual_step == "active" else "full"
    gradient = jax.grad(ref.l_val)(theta, ref.mlp, *args[1:], flags(active), kind)
    close(tree_map(lambda a, b: (a - b) / BETA, theta, update.state.theta), gradient, 1e-5)


# --- directions at the edge ---------------------------------------------------------------------------


def push(size, scale, dtype=jnp.float32, epsilon=1e-2):
    """J v by finite differences and by hand, for the network x -> tanh(x w) at parameters of norm
    `size`, along a direction of norm `scale`."""
    w = {"layer0": jnp.full((4, 2), size / np.sqrt(8), dtype)}
    v = (jnp.asarray(np.arange(1.0, 9.0).reshape(4, 2) / np.sqrt(204), dtype) * scale,)
    x = ref.classification_batch(1, 3, 4, dtype=dtype)
    groups = layers_by(w, layer_number)

    def one_layer(params, model_state, rng, batch):
        return jnp.tanh(batch["x"] @ params["layer0"]), model_state

    lin = finite_difference(one_layer, w, (), jax.random.key(0), x, groups, epsilon=epsilon)
    return lin.jvp(v, (0,))[0], (1 - jnp.tanh(x["x"] @ w["layer0"]) ** 2) * (x["x"] @ v[0])


@pytest.mark.parametrize("size", [0.0, 1.0, 1e3])
def test_zero_direction(size):
    """Zeros, not 0 · inf = NaN, also for large parameters; fails if ‖v‖ = 0 is divided by."""
    result, _ = push(size, 0.0)
    np.testing.assert_array_equal(result, np.zeros((3, 2)))


@pytest.mark.parametrize("scale", [1e-18, 1e-21, 1e-25, 1e12])
def test_tiny_and_huge_directions(scale):
    """A direction whose squares underflow or are large: the same digits as any other.

    Fails if ‖v‖² underflows to 0, after which the step would be longer than any parameter.
    """
    result, expected = push(1.0, scale)
    gap = np.abs(np.asarray(result) - np.asarray(expected)).max()
    assert gap < 1e-3 * np.abs(np.asarray(expected)).max()


@pytest.mark.parametrize("route", ["finite_difference", "darts"])
@pytest.mark.parametrize(
    "objective", [famus_jax.mwnet(hidden=3, start="random", monotone=False), famus_jax.l2r()]
)
def test_a_meta_loss_without_slope(route, objective):
    """v = 0: θ stays (weights of L2R are 0), nothing is NaN. Fails at 0 / 0."""
    params = ref.mlp_params(jax.random.key(1), dtype=jnp.float32)
    batch = ref.classification_batch(2, N, dtype=jnp.float32)
    problem = Problem(ref.mlp, objective, lambda o, b: 0 * o.sum(), layers_by(params, layer_number))
    point = Inputs(params, {}, jax.random.key(0), batch, batch, 0.1)
    estimator = all_layers(route=route)
    state = init_state(problem, estimator, jax.random.key(0), params, N, N)
    update = jax.jit(lambda s: meta_update(problem, estimator, s, point))(state)
    if objective.reset_each_batch:
        assert update.info.weights.tolist() == [0.0] * N
    else:
        for a, b in zip(*map(jax.tree.leaves, (update.state.theta, state.theta)), strict=True):
            np.testing.assert_array_equal(a, b)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(update.gradient))


@pytest.mark.parametrize("epsilon", [0.0, -1e-2])
def test_epsilon_is_a_length(epsilon):
    with pytest.raises(ValueError, match=rf"epsilon.*must be positive; got {epsilon}"):
        all_layers(route="finite_difference", epsilon=epsilon)
