"""The preset `released` against numbers that the authors' PyTorch functions printed (golden/)."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from famus_jax import Inputs, Method, Problem, layers_by, learned_gates
from famus_jax.core.active_layers import Draw, Seen
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update
from famus_jax.gates.pooling import gradient_matching, pool_layers
from famus_jax.gates.samplers import sample_gates

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "released_gates.json").read_text())
DELTA = 1.0


def tensors(name):
    return [jnp.asarray(x, jnp.float32) for x in GOLDEN[name]]


# T(theta) = theta <base, w>, so that every gradient is theta·base; L_val = sum(c · tanh(w_hat)).
def training_loss(theta, outputs, batch):
    value = theta * sum((b * w).sum() for b, w in zip(tensors("base"), outputs, strict=True))
    return value, jnp.ones(1)


def meta_loss(outputs, batch):
    return sum((c * jnp.tanh(w)).sum() for c, w in zip(tensors("c"), outputs, strict=True))


METHOD = Method(
    "golden",
    init=lambda key, n: jnp.float32(GOLDEN["scale"]),
    loss=training_loss,
    meta_optimizer=optax.sgd(1.0),
    example_loss=lambda outputs, batch: jnp.ones(1),
)


def golden_eta():
    """The printed samplers as the library stores them: kernels [in, out], stacked; the ungated
    layers' are zero. The layers are the six tensors; 1, 2 and 3 have gates."""
    names = ("W1", "W2", "W3"), ("b1", "b2", "b3"), ("a1", "a2")

    def stack(name, transpose=False):
        rows = [np.asarray(s[name], np.float32) for s in GOLDEN["samplers"]]
        rows = [r.T if transpose else r for r in rows]
        nothing = np.zeros_like(rows[0])
        return [nothing, *rows, nothing, nothing]

    kernels = [np.stack(stack(name, transpose=True)) for name in names[0]]
    padding = max(w.shape[0] for w in tensors("w")) - kernels[0].shape[1]
    kernels[0] = np.pad(kernels[0], ((0, 0), (0, padding), (0, 0)))
    return jax.tree.map(
        jnp.asarray,
        {
            "kernels": kernels,
            "biases": [np.stack(stack(name)) for name in names[1]],
            "slopes": [np.stack(stack(name))[:, 0] for name in names[2]],
        },
    )


@pytest.fixture(scope="module")
def updates():
    """(the update, the open layers, the virtual step) of every printed run, one compilation."""
    params = tensors("w")
    layers = layers_by(params, list(range(6)), names=list("abcdef"))
    problem = Problem(lambda w, s, r, b: (w, s), METHOD, meta_loss, layers)
    estimator = learned_gates(
        "released", candidates=3, hidden=6, out_axis=0, lambda_g=0.0, lag=1,
        learning_rate=DELTA, momentum=0.0, nesterov=False,
        explore_every=1,  # the printed slopes include those of closed gates below the lowest open one
    )  # fmt: skip
    kind = estimator.active
    batch = {"x": jnp.zeros(1)}
    inputs = Inputs(params, (), jax.random.key(0), batch, batch, GOLDEN["alpha"])
    state = init_state(problem, estimator, jax.random.key(0), params, 1, 1)
    gradient = [GOLDEN["scale"] * b for b in tensors("base")]
    width = state.draws.carry[0].shape[-1]
    pooled = pool_layers(gradient, range(6), layers, width, kind.pooling, kind.out_axis)

    def run(uniforms):
        eta = golden_eta()
        mask = kind.mask(sample_gates(eta, pooled, uniforms, kind.temperature).hard, layers)
        draw = Draw(mask, kind.program(mask, jnp.int32(1), layers), (pooled, uniforms))
        now = state._replace(
            active=state.active._replace(eta=eta), draws=jax.tree.map(lambda x: x[None], draw)
        )
        return meta_update(problem, estimator, now, inputs), mask

    run = jax.jit(run)
    results = []
    for printed in GOLDEN["runs"]:
        uniforms = np.full((6, 2), 0.5, np.float32)
        uniforms[1:4] = np.asarray(printed["uniform"], np.float32)[:, 0]
        results.append(run(jnp.asarray(uniforms)))
    virtual = jax.tree.map(lambda w, g: w - GOLDEN["alpha"] * g, params, gradient)
    return results, virtual


RUNS = range(len(GOLDEN["runs"]))


@pytest.mark.parametrize("run", RUNS)
def test_slope_of_theta(updates, run):
    """Fails if a gate opens or closes that shouldn't: closed gates cut θ's path. The lowest tensor
    has no gate and is cut, the last two are always open."""
    update, mask = updates[0][run]
    expected = GOLDEN["runs"][run]["dscale"]
    # meta_optimizer is θ − 1·gradient.
    assert GOLDEN["scale"] - float(update.state.theta) == pytest.approx(expected, rel=2e-5)
    assert mask.tolist()[0] == 0
    assert mask.tolist()[4:] == [1, 1]


@pytest.mark.parametrize("run", RUNS)
def test_slopes_of_the_gates(updates, run):
    """Gradients of the last biases. Fails if a closed gate's slope keeps its sign, if L_r counts
    every gate, at another temperature, or if inputs are pooled by the mean."""
    update, _ = updates[0][run]
    before, after = golden_eta()["biases"][-1], update.state.active.eta["biases"][-1]
    slopes = (before - after)[1:4] / DELTA
    np.testing.assert_allclose(slopes, GOLDEN["runs"][run]["db3"], rtol=1e-4, atol=2e-7)


@pytest.mark.parametrize("run", RUNS)
def test_value(updates, run):
    """The printed loss is L_val(w_hat) alone, and w_hat doesn't feel the gates.

    Fails if closed layers stay behind in the virtual step.
    """
    (update, _), virtual = updates[0][run], updates[1]
    printed = GOLDEN["runs"][run]
    assert float(update.info.meta_loss) == pytest.approx(printed["loss"], rel=1e-6)
    for ours, theirs in zip(virtual, printed["virtual"], strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs, np.float32), rtol=1e-5, atol=1e-6)


def test_penalty(updates):
    """act_loss: (r − 4)² of the topmost gate alone, 9 when open. Fails if the open head counts."""
    estimator = learned_gates("released", candidates=3)
    layers = layers_by(tensors("w"), list(range(6)), names=list("abcdef"))
    for i, printed in enumerate(GOLDEN["runs"]):
        uniforms = np.full((6, 2), 0.5, np.float32)
        uniforms[1:4] = np.asarray(printed["uniform"], np.float32)[:, 0]
        gradient = [GOLDEN["scale"] * b for b in tensors("base")]
        inputs = pool_layers(gradient, range(6), layers, 5, "standardized_sum", 0)
        sample = sample_gates(golden_eta(), inputs, jnp.asarray(uniforms), GOLDEN["temperature"])
        value = estimator.active.regularizer(sample, Seen(layers, None))
        assert float(value) == pytest.approx(printed["act_loss"], rel=1e-6), i


def test_gradient_matching():
    """Value, and slope in the scale of the training side, which was printed at `scale`.

    Fails if deviations are divided by n, if a bias is compared entry by entry, or if the factor is
    forgotten.
    """
    golden = GOLDEN["gradient_matching"]
    train, val = ([jnp.asarray(t, jnp.float32) for t in golden[side]] for side in ("train", "val"))

    def value(scale):
        scaled = [scale / GOLDEN["scale"] * t for t in train]
        return golden["factor"] * gradient_matching(scaled, val, "mean_std", 0)

    assert float(value(GOLDEN["scale"])) == pytest.approx(golden["value"], rel=1e-5)
    assert float(jax.grad(value)(GOLDEN["scale"])) == pytest.approx(golden["dscale"], rel=1e-5)
