"""One meta update with fixed sets of groups, against Algorithm 1 written out (reference.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax
from famus_jax import Inputs, Problem, all_layers, last_layers, layers_by, named_layers
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update

pytestmark = pytest.mark.usefixtures("x64")

BETA, ALPHA = 0.5, 0.4


close = ref.assert_close


def norm(tree):
    return float(np.sqrt(sum((np.asarray(x) ** 2).sum() for x in jax.tree.leaves(tree))))


def setting(objective):
    params, model_state = ref.bn_params(jax.random.key(1))
    groups = layers_by(params, lambda path: int(path[5]))
    meta_loss = famus_jax.mean_of(famus_jax.losses.softmax_cross_entropy)
    problem = Problem(ref.bn_mlp, objective, meta_loss, groups)
    batch, meta_batch = ref.classification_batch(2, 5), ref.classification_batch(3, 4)
    rng = np.random.default_rng(4)
    momentum = jax.tree.map(lambda w: jnp.asarray(0.2 * rng.normal(size=w.shape)), params)

    def descend(
        gradient,
    ):  # what an optimizer would do: go on by momentum, and move by its own rule
        return jax.tree.map(lambda m, g: m - 0.3 * g, momentum, gradient)

    return problem, Inputs(
        params, model_state, jax.random.key(9), batch, meta_batch, ALPHA, descend
    )


def definition(point, objective):
    """The reference's arguments, and L_val of (theta, active, kind)."""
    loss = ref.mean_loss(ref.cross_entropy)
    w, state, rng, batch, meta_batch, alpha, *_ = point
    args = (ref.bn_mlp, objective, loss, w, state, rng, batch, meta_batch, alpha)
    return lambda theta, active, kind: ref.l_val(theta, *args, active, kind)


APART = ["layer0", "layer2"]  # a set that isn't contiguous
CASES = [
    *[
        (named_layers(*APART, virtual_step=look, route=route), APART, kind)
        for route in ("jvp", "vjp", "second_order")
        for look, kind in (("all", "full"), ("active", "frozen"), ("actual", "full"))
    ],
    (all_layers(), ["layer0", "layer1", "layer2"], "full"),
    (famus_jax.second_order(), ["layer0", "layer1", "layer2"], "full"),
    (last_layers(1), ["layer2"], "full"),
    (last_layers(2, virtual_step="active"), ["layer1", "layer2"], "frozen"),
]


@pytest.mark.parametrize(
    ("estimator", "active", "kind"), CASES, ids=lambda x: getattr(x, "label", "")
)
def test_mwnet(estimator, active, kind):
    """θ', weights, gradient, T, L_val and model state of every estimator, look-ahead and route.

    Fails if the actual step uses the old θ (or a one-pass step the new one), if weights and
    gradient are of different θ, if running statistics come from the meta batch or are updated
    twice, or if momentum and decay reach the virtual step.
    """
    objective = famus_jax.mwnet(
        hidden=7, start="random", monotone=False, meta_optimizer=optax.sgd(BETA)
    )
    problem, point = setting(objective)
    point = point._replace(optimizer_update=None)
    theta = ref.mwnet_theta(jax.random.key(5))
    state = init_state(problem, estimator, jax.random.key(0), point.params, 5, 4)
    state = state._replace(theta=theta, opt_state=objective.meta_optimizer.init(theta))
    update = meta_update(problem, estimator, state, point)

    l_val = definition(point, ref.mwnet("sum"))
    value, theta_gradient = jax.value_and_grad(l_val)(theta, set(active), kind)
    new_theta = jax.tree.map(lambda t, g: t - BETA * g, theta, theta_gradient)
    used = theta if estimator.virtual_step == "actual" else new_theta
    w, model_state, rng, batch = point[:4]
    outputs, new_model_state = ref.bn_mlp(w, model_state, rng, batch)
    losses = ref.cross_entropy(outputs, batch)
    weights = ref.mwnet_weights(used, losses, "sum")
    args = (ref.bn_mlp, ref.mwnet("sum"), w, used, model_state, rng, batch)

    close(update.state.theta, new_theta)
    close(update.info.weights, weights)
    close(update.gradient, ref.training_gradient(*args))
    close(update.info.loss, (weights * losses).sum())
    close(update.info.meta_loss, value)
    assert float(update.info.theta_norm) == pytest.approx(norm(theta_gradient), rel=1e-6)
    assert float(update.info.open_layers) == len(active)
    close(update.model_state, new_model_state)
    close(update.outputs, outputs)
    assert int(update.state.step) == 1


@pytest.mark.parametrize(
    ("estimator", "active"),
    [
        (all_layers(), ["layer0", "layer1", "layer2"]),
        (all_layers(route="vjp"), ["layer0", "layer1", "layer2"]),
        (famus_jax.second_order(), ["layer0", "layer1", "layer2"]),
        (last_layers(1), ["layer2"]),
        (named_layers(*APART, virtual_step="active"), APART),
    ],
    ids=lambda x: getattr(x, "label", ""),
)
def test_l2r(estimator, active):
    """Weights max(−∂L_val/∂ε, 0) over their sum, and the step under them.

    Fails if the sign is lost, if ε is carried to the next batch, or if the look-ahead moves at ε = 0.
    """
    objective = famus_jax.l2r()._replace(init=lambda key, n: jnp.zeros(n))  # float64, to compare
    problem, point = setting(objective)
    point = point._replace(optimizer_update=None)
    state = init_state(problem, estimator, jax.random.key(0), point.params, 5, 4)
    update = meta_update(problem, estimator, state, point)
    epsilon = jnp.zeros(5)
    gradient = jax.grad(definition(point, ref.l2r()))(epsilon, set(active), "full")
    weights = ref.l2r_weights(gradient)
    assert 0 < (weights > 0).sum() < 5  # some examples help, some don't
    close(update.info.weights, weights)
    args = (ref.bn_mlp, ref.l2r(), point.params, jnp.asarray(weights), *point[1:4])
    close(update.gradient, ref.training_gradient(*args))
    assert update.state.theta == ()


def test_l2r_where_nothing_helps():
    """All weights zero: a zero gradient without NaN. Fails at the 0 / 0 of the normalization.

    The meta loss is turned round, so that every example that helped does harm; with one example
    per batch the gradient has one sign.
    """
    objective = famus_jax.l2r()
    problem, point = setting(objective)
    one = {"x": jnp.ones((1, 3)), "label": jnp.zeros(1, jnp.int32)}
    point = point._replace(batch=one, meta_batch=one, optimizer_update=None)
    forward_loss = problem.meta_loss
    mlp = problem._replace(forward=ref.mlp, meta_loss=lambda o, b: -forward_loss(o, b))
    params = ref.mlp_params(jax.random.key(0))
    mlp = mlp._replace(layers=layers_by(params, lambda path: int(path[5])))
    point = point._replace(params=params, model_state={})
    state = init_state(mlp, all_layers(), jax.random.key(0), params, 1, 1)
    update = meta_update(mlp, all_layers(), state, point)
    assert update.info.weights.tolist() == [0.0]
    for leaf in jax.tree.leaves(update.gradient):
        np.testing.assert_array_equal(leaf, np.zeros_like(leaf))


def test_cross_entropy_is_plain_training():
    """No θ: the mean's gradient, weights 1/n; fails if the sum is taken."""
    problem, point = setting(famus_jax.methods.cross_entropy())
    state = init_state(problem, all_layers(), jax.random.key(0), point.params, 5, 4)
    update = meta_update(problem, all_layers(), state, point._replace(meta_batch=None))
    loss = ref.mean_loss(ref.cross_entropy)
    args = (ref.bn_mlp, lambda theta, o, b: loss(o, b), point.params, None, *point[1:4])
    close(update.gradient, ref.training_gradient(*args))
    close(update.info.weights, np.full(5, 0.2))


def test_meta_optimizer_state_is_carried():
    """Two steps of momentum on θ; fails if the meta-optimizer starts anew at every batch."""
    objective = famus_jax.mwnet(
        hidden=7, start="random", monotone=False, meta_optimizer=optax.sgd(BETA, momentum=0.9)
    )
    problem, point = setting(objective)
    point = point._replace(optimizer_update=None)
    theta = ref.mwnet_theta(jax.random.key(5))
    state = init_state(problem, all_layers(), jax.random.key(0), point.params, 5, 4)
    state = state._replace(theta=theta, opt_state=objective.meta_optimizer.init(theta))
    gradient = jax.grad(definition(point, ref.mwnet("sum")))
    everything = {"layer0", "layer1", "layer2"}
    first = gradient(theta, everything, "full")
    theta_1 = jax.tree.map(lambda t, g: t - BETA * g, theta, first)
    second = gradient(theta_1, everything, "full")
    theta_2 = jax.tree.map(lambda t, a, b: t - BETA * (0.9 * a + b), theta_1, first, second)
    for _ in range(2):
        state = meta_update(problem, all_layers(), state, point).state
    close(state.theta, theta_2)
    assert int(state.step) == 2
