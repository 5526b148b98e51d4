"""θ inside the forward pass: second order covers it, every other route says that it can't."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax
from famus_jax import (
    Inputs,
    Method,
    Problem,
    all_layers,
    fused_meta_gradient,
    last_layers,
    layers_by,
    layerwise_meta_gradient,
    learned_gates,
    named_layers,
    random_depth,
    random_layers,
    reweighter,
    second_order,
    second_order_meta_gradient,
    train_step,
)
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update

ALPHA, BETA, N, M = 0.4, 0.5, 5, 4
NAMES = ("layer0", "layer1", "layer2")
tree_map = jax.tree.map


close = ref.assert_close


def warped(params, model_state, rng, batch, theta):
    """The images are scaled and bent by θ before the network sees them."""
    x = batch["x"] * theta["scale"][None, :] + jnp.tanh(theta["bend"][None, :] * batch["x"])
    return ref.bn_mlp(params, model_state, rng, {**batch, "x": x})


def objective_of(dtype):
    """θ acts on the images (forward) and sharpens the loss (objective)."""

    def init(key, n):
        del n
        scale = 1 + 0.3 * jax.random.normal(key, (3,), dtype)
        return {"scale": scale, "bend": jnp.full(3, 0.2, dtype), "power": jnp.ones((), dtype)}

    def loss(theta, outputs, batch):
        losses = ref.cross_entropy(outputs, batch)
        weights = jnp.full_like(losses, 1 / len(losses))
        return theta["power"] * (weights * losses).sum(), theta["power"] * weights

    optimizer = optax.sgd(BETA)
    return Method("warp", init, loss, optimizer, ref.cross_entropy, in_forward=True)


def setting(dtype=jnp.float64):
    params, model_state = ref.bn_params(jax.random.key(1), dtype=dtype)
    meta_loss = famus_jax.mean_of(ref.cross_entropy)
    groups = layers_by(params, lambda path: int(path[5]))
    problem = Problem(warped, objective_of(dtype), meta_loss, groups, ref.bn_mlp)
    batch = ref.classification_batch(2, N, dtype=dtype)
    meta_batch = ref.classification_batch(3, M, dtype=dtype)
    return problem, Inputs(params, model_state, jax.random.key(9), batch, meta_batch, ALPHA)


def virtual_gradient(point, theta):
    """∇_w T by definition, θ inside the forward pass."""
    w, model_state, rng, batch = point[:4]

    def loss(w):
        outputs, _ = warped(w, model_state, rng, batch, theta)
        return theta["power"] * ref.cross_entropy(outputs, batch).sum() / N

    return jax.grad(loss)(w)


def l_val(theta, point, active, kind):
    """The meta loss of the look-ahead, on a forward pass without θ."""
    w, model_state, rng, _, meta_batch, alpha, *_ = point
    flags = {name: float(name in active) for name in NAMES}
    w_hat = ref.virtual_step(w, virtual_gradient(point, theta), alpha, flags, kind)
    outputs, _ = ref.bn_mlp(w_hat, model_state, rng, meta_batch)
    return ref.cross_entropy(outputs, meta_batch).sum() / M


CASES = {
    "all": (second_order(), NAMES, "full"),
    "head": (last_layers(1, route="second_order"), ["layer2"], "full"),
    "active-only": (
        named_layers("layer1", route="second_order", virtual_step="active"),
        ["layer1"],
        "frozen",
    ),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", CASES)
def test_update_by_definition(case):
    """θ', L_val, and the actual step under θ' (gradient, outputs, running statistics), float64.

    Fails if θ's way through the forward pass is dropped, if the actual step runs the forward of the
    old θ, or if the meta batch is warped.
    """
    estimator, active, kind = CASES[case]
    problem, point = setting()
    state = init_state(problem, estimator, jax.random.key(0), point.params, N, M)
    update = jax.jit(lambda s: meta_update(problem, estimator, s, point))(state)
    value, gradient = jax.value_and_grad(l_val)(state.theta, point, active, kind)
    assert all(float(jnp.abs(g).max()) > 1e-4 for g in jax.tree.leaves(gradient))
    theta = tree_map(lambda t, g: t - BETA * g, state.theta, gradient)
    close(update.state.theta, theta)
    close(update.info.meta_loss, value)
    close(update.gradient, virtual_gradient(point, theta))
    outputs, model_state = warped(*point[:4], theta)
    close(update.outputs, outputs)
    close(update.model_state, model_state)
    close(update.info.weights, jnp.full(N, theta["power"] / N))
    close(update.info.loss, theta["power"] * ref.cross_entropy(outputs, point.batch).sum() / N)


@pytest.mark.usefixtures("x64")
def test_gradient_function():
    """`second_order_meta_gradient` itself, and a finite difference that differentiates nothing twice.

    Fails if library and oracle share a mistake about what θ reaches.
    """
    problem, point = setting()
    theta = problem.method.init(jax.random.key(5), N)
    value, gradient = second_order_meta_gradient(problem, theta, point)
    close((value, gradient), jax.value_and_grad(l_val)(theta, point, NAMES, "full"))
    rng = np.random.default_rng(0)
    d = tree_map(lambda x: jnp.asarray(rng.normal(size=x.shape)), theta)

    def at(h):
        return float(l_val(tree_map(lambda t, x: t + h * x, theta, d), point, NAMES, "full"))

    slope = sum(float((g * x).sum()) for g, x in zip(*map(jax.tree.leaves, (gradient, d))))
    assert slope == pytest.approx((at(1e-5) - at(-1e-5)) / 2e-5, rel=1e-6)


@pytest.mark.usefixtures("x64")
def test_skipped_step():
    """Between two updates the forward pass runs under θ as it is. Fails if θ is left out."""
    problem, point = setting()
    estimator = second_order(update_every=2)
    state = init_state(problem, estimator, jax.random.key(0), point.params, N, M)
    step = jax.jit(lambda s: meta_update(problem, estimator, s, point))
    state = step(state).state
    update = step(state)
    close(update.state.theta, state.theta)
    close(update.gradient, virtual_gradient(point, state.theta))


def test_train_step_finds_the_layers():
    """The training step traces a forward of five arguments, and descends under θ'; float32.

    Fails if layer groups can't be found, or θ stays where it was.
    """
    problem, point = setting(jnp.float32)
    named = famus_jax.problem(warped, problem.method, meta_forward=ref.bn_mlp)
    named = named.on(point.params, point.model_state, jax.random.key(0), point.batch)
    step = train_step(named, optax.sgd(ALPHA), second_order(), step_size=ALPHA)
    assert named.layers.index == problem.layers.index
    state = step.init(jax.random.key(0), *point[:2], point.batch, point.meta_batch)
    theta = tree_map(jnp.copy, state.meta.theta)
    state, _ = step(state, point.batch, point.meta_batch)
    gradient = jax.jit(jax.grad(lambda t: l_val(t, point, NAMES, "full")))(theta)
    new_theta = tree_map(lambda t, g: t - BETA * g, theta, gradient)
    close(state.meta.theta, new_theta, 1e-4)
    actual = virtual_gradient(point, new_theta)
    close(state.params, tree_map(lambda w, g: w - ALPHA * g, point.params, actual), 1e-4)


# --- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [
        all_layers(),
        all_layers(route="vjp"),
        all_layers(route="finite_difference"),
        all_layers(route="darts"),
        last_layers(1, virtual_step="active"),
        last_layers(1, virtual_step="actual"),
        random_layers(1),
        random_depth(),
        learned_gates("paper", target=2, lag=1),
    ],
    ids=lambda estimator: estimator.label,
)
def test_other_routes_are_refused(estimator):
    """Fails if a route drops θ's share inside the forward pass without a word."""
    problem, point = setting(jnp.float32)
    with pytest.raises(ValueError, match=r"warp.*in_forward=True.*use second_order\(\)"):
        init_state(problem, estimator, jax.random.key(0), point.params, N, M)


@pytest.mark.parametrize("function", [layerwise_meta_gradient, fused_meta_gradient])
def test_the_functions_refuse_too(function):
    problem, point = setting(jnp.float32)
    theta = problem.method.init(jax.random.key(5), N)
    with pytest.raises(ValueError, match=r"in_forward=True.*use second_order\(\)"):
        function(problem, theta, point)


@pytest.mark.parametrize(
    ("estimator", "meta_forward"),
    [
        (second_order(), None),
        (second_order(virtual_step="actual"), ref.bn_mlp),
        (second_order(examples=2), ref.bn_mlp),
    ],
    ids=["no meta_forward", "actual step", "examples"],
)
def test_what_second_order_needs(estimator, meta_forward):
    """The message says: a forward of the meta batch without θ, full look-ahead, the whole batch."""
    problem, point = setting(jnp.float32)
    problem = problem._replace(meta_forward=meta_forward)
    with pytest.raises(
        ValueError, match=r'give meta_forward.*second_order\(\) with virtual_step="all"'
    ):
        init_state(problem, estimator, jax.random.key(0), point.params, N, M)


@pytest.mark.parametrize(
    "estimator", [all_layers(), second_order(), last_layers(1)], ids=lambda e: e.label
)
def test_closing_over_theta(estimator):
    """A forward that reads θ behind the objective's back: the message names both ways out.

    Fails if θ's share through the closure is silently dropped.
    """
    params, model_state = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
    batch = ref.classification_batch(2, N, dtype=jnp.float32)
    meta_batch = ref.classification_batch(3, M, dtype=jnp.float32)
    objective = famus_jax.mwnet(hidden=3, start="random", monotone=False)

    def update(state):
        def forward(params, model_state, rng, batch):
            outputs, new_state = ref.bn_mlp(params, model_state, rng, batch)
            return outputs * state.theta["bias_2"][None, :], new_state

        layers = layers_by(params, lambda path: int(path[5]))
        named = famus_jax.problem(forward, objective, layers=layers)
        weigh = reweighter(named, estimator, step_size=ALPHA)
        return weigh.update(state, params, model_state, batch, meta_batch)

    problem = Problem(
        ref.bn_mlp, objective, famus_jax.mean_of(ref.cross_entropy),
        layers_by(params, lambda path: int(path[5])),
    )  # fmt: skip
    state = init_state(problem, estimator, jax.random.key(0), params, N, M)
    with pytest.raises(
        ValueError,
        match=r"forward closes over the meta-param.*fifth argument.*in_forward=True.*second_order\(\)",
    ):
        jax.eval_shape(update, state)
