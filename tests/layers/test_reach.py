"""Layers that the loss does not reach; networks whose last head is not the one that counts."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import famus_jax as famus
from famus_jax.layers.jaxprs import trace
from famus_jax.layers.reach import reaching

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (24, 6))
BATCH = {"x": X[:16], "label": jnp.arange(16) % 3}
META = {"x": X[16:], "label": jnp.arange(8) % 3}


class TwoHeads(nn.Module):
    """What a projection head, a decoder or an auxiliary classifier looks like; nothing or everything
    of it may be frozen."""

    frozen: tuple[str, ...] = ()

    @nn.compact
    def __call__(self, x):
        h = nn.relu(nn.Dense(8, name="body")(x))
        logits = nn.Dense(3, name="head")(h)
        if "head" in self.frozen:
            logits = jax.lax.stop_gradient(logits) + 0 * h[:, :3]
        decoded = nn.Dense(6, name="decoder")(h)
        return {"logits": logits, "decoded": nn.LayerNorm(name="norm")(decoded)}


def problem_of(method=None, **options):
    model = TwoHeads(**options)
    params, state = famus.linen_init(model, KEY, X[:1])
    forward = famus.linen_forward(model, input="x")
    return famus.problem(forward, method or famus.l2r()), params, state


def layers_of(problem, params, state, **options):
    return famus.find_layers(problem.forward, params, state, KEY, BATCH, **options)


def test_a_head_that_the_loss_does_not_read_is_no_last_layer():
    """Without a loss the heads stand as they are met; with one the decoder goes to the bottom."""
    problem, params, state = problem_of()
    assert layers_of(problem, params, state).names == ("body", "head", "decoder")
    loss = famus.losses.softmax_cross_entropy
    layers = layers_of(problem, params, state, loss=loss)
    assert layers.names == ("decoder", "body", "head")
    # FLOPs by hand: 6·8 + 8·3 + 8·6 products per example.
    np.testing.assert_allclose(layers.costs, [48 / 120, 48 / 120, 24 / 120])


@pytest.mark.parametrize(
    ("method", "estimator"),
    [
        (famus.l2r(), None),
        (famus.mwnet(hidden=5, start="random", monotone=False), famus.last_layers(1)),
        (
            famus.mwnet(hidden=5, start="random", monotone=False),
            famus.last_layers(1, virtual_step="active"),
        ),
    ],
    ids=["l2r by default", "mwnet", "mwnet, active"],
)
def test_training_with_a_second_head(method, estimator):
    """As with the exact gradient of the head that counts: θ moves, weights are not all 0.

    Fails if the last layer is the decoder, whose meta gradient is 0 for ever.
    """
    problem, params, state = problem_of(method)
    train = famus.train_step(problem, optax.sgd(0.1), estimator, step_size=0.1)
    named = famus.named_layers("head", virtual_step=train.estimator.virtual_step)
    expected = famus.train_step(problem, optax.sgd(0.1), named, step_size=0.1)
    runs = []
    for step in (train, expected):
        s = step.init(KEY, params, state, BATCH, META)
        for _ in range(3):
            s, info = step(s, BATCH, META)
        runs.append((s, info))
    (s, info), (_, right_info) = runs
    assert float(info.theta_norm) > 0
    assert float(info.weights.sum()) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(info.weights, right_info.weights, rtol=1e-5, atol=1e-7)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), s.params, params)
    assert moved["head"]["kernel"] > 0
    assert moved["decoder"]["kernel"] == 0


def run(problem, params, state, estimator, **options):
    step = famus.train_step(problem._replace(**options), optax.sgd(0.1), estimator, step_size=0.1)
    return step(step.init(KEY, params, state, BATCH, META), BATCH, META)


@pytest.mark.parametrize(
    ("frozen", "estimator", "options", "message"),
    [
        ((), famus.named_layers("decoder"), {}, r"does not reach .*\['decoder'\].*'head'"),
        (("head",), famus.named_layers("head"), {}, r"does not reach .*\['head'\].*'body'"),
        (
            (),
            famus.named_layers("head"),
            {"meta_loss": lambda out, batch: out["decoded"].mean()},
            r"meta loss does not reach .*\['head'\].*\['body', 'decoder'\]|\['decoder', 'body'\]",
        ),
        (
            (),
            famus.all_layers(),
            {"meta_loss": lambda out, batch: jnp.float32(batch["label"]).mean()},
            "meta loss depends on no parameter",
        ),
    ],
    ids=["named", "frozen", "another meta loss", "no parameter"],
)
def test_layers_that_can_not_matter_are_refused(frozen, estimator, options, message):
    """A meta gradient that is 0 whatever the numbers are is an error when the step is traced."""
    problem, params, state = problem_of(frozen=frozen)
    with pytest.raises(ValueError, match=message):
        run(problem, params, state, estimator, **options)


def test_layers_of_the_users_own():
    """Given layers are not reordered: the error says so."""
    problem, params, state = problem_of()
    layers = layers_of(problem, params, state)
    with pytest.raises(ValueError, match=r"find_layers\(\.\.\., loss=\.\.\.\)"):
        run(problem, params, state, famus.last_layers(1, virtual_step="active"), layers=layers)


@jax.custom_vjp
def straight_through(x):
    return jnp.round(x)


straight_through.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))


@pytest.mark.parametrize(
    ("apply", "reached"),
    [
        (lambda a, b, x: jnp.tanh(x * a) + b, {0, 1}),
        (lambda a, b, x: x * a + jax.lax.stop_gradient(b), {0}),
        (lambda a, b, x: x * a + jnp.round(b), {0}),
        (lambda a, b, x: x * a + straight_through(b), {0, 1}),
        (lambda a, b, x: jnp.where(b < 0, x, x * a), {0}),
        (lambda a, b, x: x * a + (x * b).astype(jnp.int32), {0}),
        (lambda a, b, x: jax.lax.scan(lambda c, _: (c * a, None), x * b, length=3)[0], {0, 1}),
        (lambda a, b, x: jax.jit(lambda y: jax.lax.stop_gradient(y) * b)(x * a), {1}),
    ],
)
def test_reaching(apply, reached):
    """Against the gradient itself, at numbers where none of it is 0 by chance."""
    params = [jnp.float32(0.7), jnp.float32(1.3)]
    x = jnp.float32(1.9)
    forward = trace(lambda p, x: (apply(*p, x), ()), params, x)
    assert reaching(forward, lambda out, _: out * 2.0, (), 2) == reached
    gradient = jax.grad(lambda p: apply(*p, x) * 2.0)(params)
    assert {i for i, g in enumerate(gradient) if g != 0} == reached
