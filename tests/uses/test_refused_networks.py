"""Networks and parameters that the library can't differentiate as asked, in all three uses."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax as famus

RATE, KEY = 0.2, jax.random.key(0)
BATCH = ref.classification_batch(2, 6, dtype=jnp.float32)
META = ref.classification_batch(3, 4, dtype=jnp.float32)
PARAMS = ref.mlp_params(jax.random.key(1), dtype=jnp.float32)


def reweighter(problem, estimator, params):
    weights_for = famus.reweighter(problem, estimator, step_size=RATE)
    state = weights_for.init(KEY, params, (), BATCH, META)
    return weights_for.update(state, params, (), BATCH, META)


def reweight(problem, estimator, params):
    tx = famus.reweight(problem, estimator, step_size=RATE, key=KEY)
    return tx.update(None, tx.init(params), params, batch=BATCH, meta_batch=META)


def train_step(problem, estimator, params):
    train = famus.train_step(problem, optax.sgd(RATE), estimator, step_size=RATE)
    return train.pure(train.init(KEY, params, (), BATCH, META), BATCH, META)


all_uses = pytest.mark.parametrize("use", [reweighter, reweight, train_step])


# --- parameters that are no arrays ---------------------------------------------------------------


@partial(jax.tree_util.register_dataclass, data_fields=["w", "activation", "rate"], meta_fields=[])
@dataclasses.dataclass
class Module:
    """A module that is a pytree of all that it holds, as Equinox's are."""

    w: jax.Array
    activation: Any = None
    rate: Any = None

    def __call__(self, x):
        return (self.activation or jnp.tanh)(x @ self.w)


@all_uses
@pytest.mark.parametrize("layers", [None, 1], ids=["layers found", "layers given"])
@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            Module(jnp.ones((3, 3)), activation=jax.nn.relu),
            r"parameter 'activation' must be an array.*eqx.partition\(model, eqx.is_inexact_array\)",
        ),
        (Module(jnp.ones((3, 3)), activation="relu"), r"'activation' must be .* a str, 'relu'"),
        (
            Module(jnp.ones((3, 3)), rate=0.5),
            r"'rate' .* a float, 0.5 \(pass jnp.asarray\(0.5\) if",
        ),
        (Module(jnp.ones((3, 3)), rate=2), r"'rate' .* an? int, 2 \(pass jnp.asarray\(2.0\) if"),
        (Module(jnp.ones((3, 3)), rate=True), r"'rate' must be an array but is a bool, True: "),
    ],
    ids=["function", "string", "float", "int", "bool"],
)
def test_no_array(use, module, message, layers):
    """The leaf and the remedy, before the network is traced.

    Fails if JAX's error about an argument of some function comes first, in one of the uses.
    """

    def forward(*args):
        raise AssertionError("was traced")

    if layers is not None:
        layers = famus.layers_by(module, lambda path: 0)
    problem = famus.problem(forward, famus.l2r(), layers=layers)
    with pytest.raises(ValueError, match=message) as raised:
        use(problem, None, module)
    assert "\n" not in str(raised.value)


def test_none_is_no_leaf():
    """Fails if a module without its optional parts is refused."""
    forward = famus.stateless_forward(lambda module, x: module(x), input="x")
    gradient, _ = reweight(famus.problem(forward, famus.l2r()), None, Module(jnp.eye(3)))
    assert gradient.activation is None
    assert gradient.w.shape == (3, 3)


# --- functions with a reverse rule only ----------------------------------------------------------


@jax.custom_vjp
def rounded(x):
    """Rounds to eighths; its derivative is taken to be 1 (straight through)."""
    return jnp.round(8 * x) / 8


rounded.defvjp(lambda x: (rounded(x), None), lambda _, c: (c,))


def straight_through(x):
    """The same, of operations that have both rules."""
    return x + jax.lax.stop_gradient(jnp.round(8 * x) / 8 - x)


@jax.custom_vjp
def fused_tanh(x):
    return jnp.tanh(x)


fused_tanh.defvjp(lambda x: (jnp.tanh(x), jnp.tanh(x)), lambda y, c: (c * (1 - y**2),))


def network(activation: Callable[[jax.Array], jax.Array]):
    def forward(params, model_state, rng, batch):
        h = activation(batch["x"] @ params["layer0"]["w"] + params["layer0"]["b"][None, :])
        h = jnp.tanh(h @ params["layer1"]["w"] + params["layer1"]["b"][None, :])
        return h @ params["layer2"]["w"] + params["layer2"]["b"][None, :], model_state

    return forward


def mwnet(**how):
    return famus.mwnet(
        hidden=3, start="random", monotone=False, meta_optimizer=optax.sgd(1.0), **how
    )


@all_uses
@pytest.mark.parametrize(
    "estimator",
    [None, famus.all_layers(route="vjp"), famus.last_layers(3, virtual_step="active")],
    ids=["default", "vjp", "active"],
)
def test_names_the_function_and_the_way_out(use, estimator):
    """Fails if JAX's "Differentiation rule for 'custom_lin' not implemented" comes through."""
    problem = famus.problem(network(jax.jit(rounded)), mwnet())
    words = r'rounded at .*test_refused_networks.py.*route="finite_difference".*second_order\(\)'
    with pytest.raises(ValueError, match=words) as raised:
        jax.eval_shape(lambda params: use(problem, estimator, params), PARAMS)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("layers", [1, 2])
def test_above_it_nothing_is_refused(layers):
    """The function lies below the layers that are heard. Fails if its mere presence is refused."""
    estimator = famus.last_layers(layers, virtual_step="active")
    problem = famus.problem(network(rounded), mwnet())
    jax.eval_shape(lambda params: reweight(problem, estimator, params), PARAMS)


def theta_after(activation, estimator, **how):
    problem = famus.problem(network(activation), mwnet(**how))
    update = jax.jit(lambda params: reweight(problem, estimator, params))
    _, state = update(PARAMS)
    return state.meta.theta


def close(a, b, rtol):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * np.abs(y).max()), a, b
    )


@pytest.mark.slow
def test_the_ways_out():
    """θ' by each remedy is that of the same function written with both rules: a smooth one by finite
    differences, one whose rule is not its derivative by second order.

    Fails if a remedy that the error names does not work, or gives other numbers.
    """
    start = famus.reweight(famus.problem(network(jnp.tanh), mwnet()), step_size=RATE, key=KEY).init(
        PARAMS
    )
    smooth = theta_after(jnp.tanh, famus.all_layers())
    found = theta_after(fused_tanh, famus.all_layers(route="finite_difference"))
    step = jax.tree.map(jnp.subtract, smooth, start.meta.theta)
    close(jax.tree.map(jnp.subtract, found, start.meta.theta), step, 2e-2)
    assert optax.tree.norm(step) > 1e-4
    straight = theta_after(straight_through, famus.all_layers())
    close(theta_after(rounded, famus.second_order()), straight, 1e-4)


@jax.custom_vjp
def fused_cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def _backward(residuals, c):
    logits, labels = residuals
    return (jax.nn.softmax(logits) - jax.nn.one_hot(labels, 3)) * c[:, None], None


fused_cross_entropy.defvjp(
    lambda logits, labels: (fused_cross_entropy(logits, labels), (logits, labels)), _backward
)


def test_a_fused_loss():
    """A loss with a reverse rule only is no obstacle: θ' is that of the plain one.

    Fails if the last product, through the loss, goes forward.
    """
    plain = theta_after(jnp.tanh, famus.all_layers())
    fused = theta_after(
        jnp.tanh,
        famus.all_layers(),
        example_loss=lambda logits, batch: fused_cross_entropy(logits, batch["label"]),
    )
    close(fused, plain, 1e-5)
