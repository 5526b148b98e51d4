"""Optimizers that step a pair of parameters, or read the loss, in the training step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import famus_jax as famus

RATE, KEY = 0.2, jax.random.key(0)
X = jax.random.normal(KEY, (12, 3))
BATCH = {"x": X[:8], "label": jnp.arange(8) % 2}
META = {"x": X[8:], "label": jnp.arange(4) % 2}
PARAMS = {"body": 0.1 * jnp.ones((3, 4)), "head": jnp.eye(4)[:, :2]}


def network(p, x):
    return jnp.tanh(x @ p["body"]) @ p["head"]


PLAIN = famus.problem(famus.stateless_forward(network, input="x"), famus.l2r())
OF_PAIR = famus.problem(
    famus.stateless_forward(lambda p, x: network(p.fast, x), input="x"), famus.l2r()
)
LOOKAHEAD = optax.lookahead(optax.sgd(RATE), sync_period=2, slow_step_size=0.5)


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), a, b)


def run(train, params, steps):
    state = train.init(KEY, params, (), BATCH, META)
    state, info = train(state, BATCH, META)
    for _ in range(steps - 1):
        state, info = train(state, BATCH, META)
    return state, info


def test_lookahead():
    """Four steps and two synchronizations against the rule written out: every second step the slow
    parameters go half the way, and the fast ones start there. Fails if the slow ones enter the
    gradient, or the meta update happens elsewhere than at the fast ones."""
    train = famus.train_step(OF_PAIR, LOOKAHEAD, famus.all_layers(), step_size=RATE)
    state, _ = run(train, optax.LookaheadParams.init_synced(PARAMS), 4)

    plain = famus.train_step(PLAIN, optax.sgd(RATE), famus.all_layers(), step_size=RATE)
    slow = PARAMS
    for _ in range(2):
        fast = run(plain, slow, 2)[0].params  # L2R keeps nothing from batch to batch
        slow = jax.tree.map(lambda s, f: s + 0.5 * (f - s), slow, fast)
    assert_close(state.params.slow, slow)
    assert_close(state.params.fast, slow)


def test_lookahead_in_a_chain_and_through_the_optimizer():
    """SGD's virtual step through it is SGD's own."""
    chained = optax.chain(optax.clip(1e3), LOOKAHEAD)
    pair = optax.LookaheadParams.init_synced(PARAMS)
    estimator = famus.all_layers(through_optimizer=True)
    through = famus.train_step(OF_PAIR, chained, estimator, step_size=RATE)
    by_sgd = famus.train_step(OF_PAIR, LOOKAHEAD, famus.all_layers(), step_size=RATE)
    a, first = run(through, pair, 1)
    b, second = run(by_sgd, pair, 1)
    assert_close(first.weights, second.weights)
    assert_close(a.params, b.params)


def test_a_pair_where_it_belongs():
    """Fails if either ends in an error of optax's own, or in slow parameters that never move."""
    train = famus.train_step(PLAIN, LOOKAHEAD, step_size=RATE)
    with pytest.raises(ValueError, match=r"LookaheadParams.init_synced\(params\).*params.fast"):
        train.init(KEY, PARAMS, (), BATCH, META)
    train = famus.train_step(OF_PAIR, optax.sgd(RATE), step_size=RATE)
    with pytest.raises(ValueError, match=r"slow half only optax.lookahead moves"):
        train.init(KEY, optax.LookaheadParams.init_synced(PARAMS), (), BATCH, META)


@pytest.mark.parametrize(
    ("optimizer", "reads"),
    [
        (optax.chain(optax.sgd(RATE), optax.contrib.reduce_on_plateau()), "'value'"),
        (optax.polyak_sgd(), "'value'"),
        (optax.lbfgs(), "'value', 'grad', and 'value_fn'"),
    ],
    ids=["reduce_on_plateau", "polyak", "lbfgs"],
)
def test_through_an_optimizer_that_reads_the_loss(optimizer, reads):
    """What the loss does to its step has no derivative here: refused by name, not by Python."""
    estimator = famus.all_layers(through_optimizer=True)
    train = famus.train_step(PLAIN, optimizer, estimator, step_size=RATE)
    state = train.init(KEY, PARAMS, (), BATCH, META)
    with pytest.raises(
        ValueError, match=rf"reads the loss \({reads}\): use through_optimizer=False"
    ):
        train(state, BATCH, META)


def test_its_own_errors_pass():
    """A `TypeError` that an optimizer raises for another reason stays what it is."""

    def update(updates, state, params=None):
        raise TypeError("of the optimizer's own")

    broken = optax.GradientTransformation(lambda params: (), update)
    estimator = famus.all_layers(through_optimizer=True)
    train = famus.train_step(PLAIN, broken, estimator, step_size=RATE)
    with pytest.raises(TypeError, match="optimizer's own"):
        train(train.init(KEY, PARAMS, (), BATCH, META), BATCH, META)
