"""The three routes to the meta gradient against its definition, differentiated twice (reference.py)."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref

import famus_jax
from famus_jax import (
    Inputs,
    Problem,
    fused_meta_gradient,
    layers_by,
    layerwise_meta_gradient,
    second_order_meta_gradient,
)

pytestmark = pytest.mark.usefixtures("x64")

GROUPS = (0, 1, 2)
SUBSETS = [s for k in (1, 2, 3) for s in itertools.combinations(GROUPS, k)]
ALPHA = 0.37


close = ref.assert_close


def methods():
    """name -> (the library's objective, the reference's T, theta)."""
    theta = ref.mwnet_theta(jax.random.key(5))
    epsilon = jnp.asarray(np.random.default_rng(6).normal(size=5)) / 5
    return {
        "mwnet_sum": (
            famus_jax.mwnet(hidden=7, start="random", monotone=False),
            ref.mwnet("sum"),
            theta,
        ),
        "mwnet_n": (
            famus_jax.mwnet(hidden=7, start="random", monotone=False, normalize="n"),
            ref.mwnet("n"),
            theta,
        ),
        "l2r": (famus_jax.l2r(), ref.l2r(), epsilon),
    }


def setting(network, method):
    """(problem, theta, point, arguments of the reference)."""
    key = jax.random.key(1)
    if network == "batchnorm":
        forward, (params, model_state) = ref.bn_mlp, ref.bn_params(key)
    else:
        forward = {"mlp": ref.mlp, "dropout": ref.dropout_mlp}[network]
        params, model_state = ref.mlp_params(key), {}
    objective, reference_objective, theta = methods()[method]
    batch = ref.classification_batch(2, 5)
    meta_batch = ref.classification_batch(3, 4)
    groups = layers_by(params, lambda path: int(path[5]))
    meta_loss = famus_jax.mean_of(famus_jax.losses.softmax_cross_entropy)
    problem = Problem(forward, objective, meta_loss, groups)
    rng = jax.random.key(9)
    point = Inputs(params, model_state, rng, batch, meta_batch, ALPHA)
    reference_loss = ref.mean_loss(ref.cross_entropy)
    args = (forward, reference_objective, reference_loss, params, model_state, rng, batch)
    return problem, theta, point, (*args, meta_batch, ALPHA)


def layers(active):
    return {f"layer{i}": float(i in active) for i in GROUPS}


@functools.cache
def oracle(network, method, kind):
    """(theta, active) -> L_val and its gradient by definition, compiled once for all subsets."""
    args = setting(network, method)[3]
    return jax.jit(jax.value_and_grad(lambda theta, active: ref.l_val(theta, *args, active, kind)))


def routes():
    """All of all; slow: the network without statistics, and weights divided by n, but for one."""
    for network in ("mlp", "batchnorm"):
        for method in ("mwnet_sum", "mwnet_n", "l2r"):
            for virtual_step in ("all", "active"):
                for active in SUBSETS:
                    quick = network == "batchnorm" and method != "mwnet_n"
                    quick |= (network, method, active) == ("batchnorm", "mwnet_n", SUBSETS[0])
                    case = (network, method, virtual_step, active)
                    yield pytest.param(*case, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(("network", "method", "virtual_step", "active"), list(routes()))
def test_routes_equal_the_definition(network, method, virtual_step, active):
    """Every subset of groups, all routes, rtol 1e-9.

    Fails if the virtual step forgets alpha or its sign, if v is taken at w instead of w_hat, if a
    closed group keeps its share, if the active-only look-ahead moves a closed group, if the
    weights' normalization is treated as a constant, or if BatchNorm's statistics are.
    """
    problem, theta, point, _ = setting(network, method)
    kind = "full" if virtual_step == "all" else "frozen"
    expected_value, expected = oracle(network, method, kind)(theta, layers(active))
    options = {"active": active, "virtual_step": virtual_step}

    parts = layerwise_meta_gradient(problem, theta, point, **options)
    assert list(parts) == [problem.layers.names[i] for i in active]
    close(jax.tree.map(lambda *x: sum(x), *parts.values()), expected)
    close(fused_meta_gradient(problem, theta, point, **options), expected)
    value, gradient = second_order_meta_gradient(problem, theta, point, **options)
    close(gradient, expected)
    close(value, expected_value)


@pytest.mark.parametrize("network", ["mlp", "batchnorm", "dropout"])
def test_each_part_is_its_group_alone(network):
    """Part l is the gradient through group l alone at the *full* look-ahead.

    Fails if parts are attributed to the wrong group, which their sum can't show.
    """
    problem, theta, point, _ = setting(network, "mwnet_sum")
    parts = layerwise_meta_gradient(problem, theta, point)
    for i in GROUPS:
        expected = oracle(network, "mwnet_sum", "full")(theta, layers([i]))[1]
        close(parts[problem.layers.names[i]], expected)


@pytest.mark.parametrize("network", ["mlp", "batchnorm", "dropout"])
def test_finite_differences(network):
    """Against (L_val(theta + h d) - L_val(theta - h d)) / 2h with nothing differentiated twice.

    Fails if library and oracle share a mistake about what is a constant; with dropout, if the
    virtual step and its linearisation see other masks.
    """
    problem, theta, point, _ = setting(network, "mwnet_sum")
    gradient = fused_meta_gradient(problem, theta, point)
    rng = np.random.default_rng(0)
    direction = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), theta)
    h = 1e-5

    def at(step):
        moved = jax.tree.map(lambda x, d: x + step * d, theta, direction)
        return oracle(network, "mwnet_sum", "full")(moved, layers(GROUPS))[0]

    slope = sum(
        jnp.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True)
    )
    assert float(slope) == pytest.approx(float((at(h) - at(-h)) / (2 * h)), rel=1e-6)


def test_through_an_optimizer_that_moves_at_zero_gradient():
    """Fails if, through the real optimizer, closed layers move with an active-only virtual step."""
    problem, theta, point, args = setting("batchnorm", "mwnet_sum")
    rng = np.random.default_rng(4)
    momentum = jax.tree.map(lambda w: jnp.asarray(0.2 * rng.normal(size=w.shape)), point.params)

    def update(gradient):
        return jax.tree.map(lambda c, g: c - 3.0 * g, momentum, gradient)

    def l_val(theta):
        through = (*args[:-1], update, layers([2]), "frozen")
        return ref.l_val_through(theta, *through)

    expected = jax.grad(l_val)(theta)
    point = point._replace(optimizer_update=update)
    options = {"active": (2,), "virtual_step": "active", "through_optimizer": True}
    close(fused_meta_gradient(problem, theta, point, **options), expected)
    close(second_order_meta_gradient(problem, theta, point, **options)[1], expected)
    (part,) = layerwise_meta_gradient(problem, theta, point, **options).values()
    close(part, expected)


def test_meta_forward():
    """Fails if the meta batch goes through the training forward although another one is given."""
    problem, theta, point, args = setting("mlp", "mwnet_sum")

    def warm(params, model_state, rng, batch):
        outputs, model_state = ref.mlp(params, model_state, rng, batch)
        return 2.0 * outputs, model_state

    problem = problem._replace(meta_forward=warm)

    def warm_loss(outputs, batch):
        return args[2](2.0 * outputs, batch)

    expected = ref.meta_gradient(theta, *args[:2], warm_loss, *args[3:], layers(GROUPS))
    close(fused_meta_gradient(problem, theta, point), expected)
    close(second_order_meta_gradient(problem, theta, point)[1], expected)
