"""The cross-layer divergence against its definition, and as a meta loss against second order."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax
from famus_jax import Inputs, Problem, layers_by, losses, methods
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update

ALPHA = 0.4


def by_hand(logits, features, temperature):
    """Loops in float64."""
    n = len(logits)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    def cosine(a, b):
        return a @ b / np.sqrt((a @ a) * (b @ b))

    total = 0.0
    for i in range(n):
        close = np.array([max(cosine(features[i], features[j]), 0) / temperature for j in range(n)])
        log_q = close - np.log(np.exp(close).sum())
        alike = np.array([cosine(p[i], p[j]) for j in range(n)])
        total -= (alike / alike.sum() * log_q).sum() / n
    return total


def drawn(n=5):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 3)), rng.normal(size=(n, 4))


@pytest.mark.usefixtures("x64")
def test_the_definition():
    """Fails if the divergence is turned around, the temperature dropped, cosines below 0 kept, columns
    normalized instead of rows, or the sum taken over examples instead of the mean."""
    logits, features = drawn()
    outputs = {"logits": jnp.asarray(logits), "features": jnp.asarray(features)}
    for temperature in (0.2, 1.0):
        actual = float(losses.clid(temperature)(outputs, {}))
        assert actual == pytest.approx(by_hand(logits, features, temperature), rel=1e-12)


@pytest.mark.usefixtures("x64")
def test_identical_graphs_give_the_entropy():
    """Two examples with features at a right angle have rows (e^{1/τ}, 1) over their sum, and
    probabilities (a, 1 − a), (1 − a, a) rows (1, c) over theirs, c their cosine: at τ = −1 / log c both
    are the same, and the cross-entropy is the entropy. No other probabilities of this kind give as
    little against the entropy of their own graph."""
    a = 0.8
    c = 2 * a * (1 - a) / (a**2 + (1 - a) ** 2)
    outputs = {
        "logits": jnp.log(jnp.array([[a, 1 - a], [1 - a, a]])),
        "features": jnp.array([[2.0, 0.0], [0.0, 5.0]]),
    }
    row = np.array([1, c]) / (1 + c)
    entropy = -(row * np.log(row)).sum()
    assert float(losses.clid(-1 / np.log(c))(outputs, {})) == pytest.approx(entropy, rel=1e-12)
    assert float(losses.clid(-1.1 / np.log(c))(outputs, {})) > entropy * (1 + 1e-4)


@pytest.mark.usefixtures("x64")
def test_slopes():
    """In the logits by finite differences; none in the features, which are numbers. Fails if the row
    sums are taken as numbers, as in the released code."""
    logits, features = drawn()
    value = losses.clid()

    def at(logits, features):
        return value({"logits": logits, "features": features}, {})

    actual = jax.grad(at, argnums=(0, 1))(jnp.asarray(logits), jnp.asarray(features))
    expected = np.zeros_like(logits)
    for i in np.ndindex(*logits.shape):
        step = np.zeros_like(logits)
        step[i] = 1e-5
        up, down = (by_hand(logits + s * step, features, 0.2) for s in (1, -1))
        expected[i] = (up - down) / 2e-5
    np.testing.assert_allclose(actual[0], expected, rtol=1e-5, atol=1e-8)
    assert not actual[1].any()


def test_a_row_of_zeros_and_half_precision():
    """Fails for 0 / 0 in value or slope where a ReLU leaves nothing of an example, or if bfloat16 is
    summed in bfloat16."""
    logits = jnp.zeros((3, 2), jnp.bfloat16)
    features = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], jnp.bfloat16)
    value, slope = jax.value_and_grad(
        lambda logits: losses.clid()({"logits": logits, "features": features}, {})
    )(logits)
    assert value.dtype == jnp.float32
    assert np.isfinite(float(value))
    assert np.isfinite(np.asarray(slope, np.float32)).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_cannot_be(temperature):
    with pytest.raises(ValueError, match="temperature must be positive; got"):
        losses.clid(temperature)


def test_outputs_without_features():
    with pytest.raises(ValueError, match=r"clid reads the network's features.*features=True"):
        losses.clid()(jnp.zeros((2, 3)), {})
    with pytest.raises(ValueError, match=r"a dict of \['logits'\]"):
        losses.clid()({"logits": jnp.zeros((2, 3))}, {})


def forward(params, model_state, rng, batch):
    """Logits and the last layer's input."""
    del rng
    h = batch["x"]
    for name in ("layer0", "layer1"):
        h = jnp.tanh(h @ params[name]["w"] + params[name]["b"][None, :])
    logits = h @ params["layer2"]["w"] + params["layer2"]["b"][None, :]
    return {"logits": logits, "features": h}, model_state


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["mwnet", "l2r"])
def test_the_meta_gradient_is_second_orders(name):
    """θ' under clid against reverse mode over reverse mode, a meta batch without labels. Fails if the
    features move the meta loss, or if a label is read."""
    theta = ref.mwnet_theta(jax.random.key(5)) if name == "mwnet" else jnp.zeros(6)
    method, training_loss = methods.l2r(), ref.l2r()
    if name == "mwnet":
        method = methods.mwnet(
            hidden=7, start="random", monotone=False, meta_optimizer=optax.sgd(1.0)
        )
        training_loss = ref.mwnet("sum")
    method = method._replace(meta_loss=losses.clid(0.5))
    params = ref.mlp_params(jax.random.key(1))
    batch, meta_batch = ref.classification_batch(10, 6), ref.classification_batch(20, 4)
    del meta_batch["label"]

    def only_logits(*args):
        return forward(*args)[0]["logits"], ()

    def l_val(theta):
        gradient = ref.training_gradient(
            lambda *args: (forward(*args)[0]["logits"], ()),
            training_loss,
            params,
            theta,
            (),
            None,
            batch,
        )
        moved = jax.tree.map(lambda w, g: w - ALPHA * g, params, gradient)
        outputs, _ = forward(moved, (), None, meta_batch)
        return jnp_by_hand(outputs["logits"], jax.lax.stop_gradient(outputs["features"]))

    def jnp_by_hand(logits, features, temperature=0.5):
        p = jnp.exp(logits) / jnp.exp(logits).sum(1)[:, None]
        p = p / jnp.sqrt((p * p).sum(1))[:, None]
        h = features / jnp.sqrt((features * features).sum(1))[:, None]
        q = jnp.exp(jnp.where(h @ h.T > 0, h @ h.T, 0) / temperature)
        q, g = q / q.sum(1)[:, None], p @ p.T
        return -(g / g.sum(1)[:, None] * jnp.log(q)).sum() / len(q)

    problem = Problem(forward, method, method.l_val, layers_by(params, lambda path: int(path[5])))
    estimator = famus_jax.all_layers()
    state = init_state(problem, estimator, jax.random.key(0), params, 6, 4)
    inputs = Inputs(params, (), jax.random.key(9), batch, meta_batch, ALPHA)
    expected = jax.grad(l_val)(theta)
    if name == "l2r":
        update = meta_update(problem, estimator, state, inputs)
        ref.assert_close(update.info.weights, jnp.asarray(ref.l2r_weights(expected)), 1e-6, 1e-12)
        return
    state = state._replace(theta=theta, opt_state=method.meta_optimizer.init(theta))
    update = meta_update(problem, estimator, state, inputs)
    moved = jax.tree.map(lambda t, g: t - g, theta, expected)
    ref.assert_close(update.state.theta, moved, 1e-9, 1e-12)
    assert float(optax.tree.norm(expected)) > 1e-6
