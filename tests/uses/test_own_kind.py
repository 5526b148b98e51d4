"""A kind of active layers of one's own, defined outside the package, in all three uses."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
import reference as ref

import famus_jax as famus
from famus_jax.core.active_layers import Draw

RATE, N, M = 0.2, 6, 4


@dataclasses.dataclass(frozen=True)
class Alternating(famus.ActiveLayers):
    """The head in even meta updates, every layer in odd ones; counts what it has learned."""

    drawn = True
    ahead = 2
    label = "alternating"
    reads_slopes = True
    reports = ("head_slope",)

    def programs(self, layers):
        return (layers.all, layers.all[-1:])

    def init(self, key, params, seen):
        return jnp.zeros((), jnp.int32)

    def draw(self, state, key, update, seen):
        even = update % 2 == 0
        head = jnp.arange(len(seen.layers)) == len(seen.layers) - 1
        factors = jnp.where(even, head, True).astype(jnp.float32)
        return Draw(factors, even.astype(jnp.int32), carry=jnp.asarray(update, jnp.int32))

    def learn(self, state, draw, seen):
        return state + draw.carry, {"head_slope": seen.slopes[-1]}


def setting():
    params, model_state = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
    batch = ref.classification_batch(2, N, dtype=jnp.float32)
    meta_batch = ref.classification_batch(3, M, dtype=jnp.float32)
    method = famus.mwnet(hidden=7, start="random", monotone=False, meta_optimizer=optax.sgd(30.0))
    layers = famus.find_layers(ref.bn_mlp, params, model_state, jax.random.key(0), batch)
    problem = famus.problem(ref.bn_mlp, method, layers=layers)
    return problem, famus.Estimator(Alternating()), params, model_state, batch, meta_batch


def by_hand(problem, params, model_state, batch, meta_batch, theta, steps):
    """θ after some steps, with a fixed set of layers for each, by the layer-wise form."""
    meta_optimizer, layers = problem.method.meta_optimizer, problem.layers
    opt_state, thetas = meta_optimizer.init(theta), []

    @functools.partial(jax.jit, static_argnums=2)
    def meta_gradient(theta, params, active):
        inputs = famus.Inputs(params, model_state, None, batch, meta_batch, RATE)
        parts = famus.layerwise_meta_gradient(problem, theta, inputs, active=active)
        return jax.tree.map(lambda *x: sum(x), *parts.values())

    @jax.jit
    @jax.grad
    def actual_gradient(params, theta):
        outputs, _ = ref.bn_mlp(params, model_state, None, batch)
        return problem.method.loss(theta, outputs, batch)[0]

    for t in range(steps):
        gradient = meta_gradient(theta, params, layers.all[-1:] if t % 2 == 0 else layers.all)
        updates, opt_state = meta_optimizer.update(gradient, opt_state, theta)
        theta = optax.apply_updates(theta, updates)
        thetas.append(theta)
        params = jax.tree.map(lambda w, g: w - RATE * g, params, actual_gradient(params, theta))
    return thetas, params


def assert_close(actual, expected):
    chex.assert_trees_all_close(actual, expected, rtol=2e-4, atol=1e-5)


@pytest.mark.slow
def test_own_kind_in_the_training_step():
    """(c) Fails if the host dispatches another program than the drawn one, or the draws come late."""
    problem, estimator, params, model_state, batch, meta_batch = setting()
    step = famus.train_step(problem, optax.sgd(RATE), estimator, step_size=RATE)
    state = step.init(jax.random.key(7), params, model_state, batch, meta_batch)
    # `bn_mlp` reads no running statistics in training, so that by_hand may keep the first ones.
    thetas, expected = by_hand(
        problem, params, model_state, batch, meta_batch, jax.tree.map(jnp.copy, state.meta.theta), 4
    )
    for t in range(4):
        state, info = step(state, batch, meta_batch)
        assert int(info.program) == (t + 1) % 2
        assert int(info.open_layers) == (1 if t % 2 == 0 else len(problem.layers))
        assert float(info.active["head_slope"]) != 0
        assert_close(state.meta.theta, thetas[t])
    assert_close(state.params, expected)
    assert int(state.meta.active) == 0 + 1 + 2 + 3
    assert len(step.compiled) == 2


def test_own_kind_in_an_own_loop_and_in_optax():
    """(a), (b) Fails if a use drops the kind's state or its draws."""
    problem, estimator, params, model_state, batch, meta_batch = setting()
    weights_for = famus.reweighter(problem, estimator, step_size=RATE)
    meta = weights_for.init(jax.random.key(7), params, model_state, batch, meta_batch)
    thetas, expected = by_hand(problem, params, model_state, batch, meta_batch, meta.theta, 3)

    tx = optax.chain(
        famus.reweight(
            problem, estimator, step_size=RATE, key=jax.random.key(7), model_state=model_state
        ),
        optax.sgd(RATE),
    )
    opt_state = tx.init(params)
    opt_state = (opt_state[0]._replace(meta=meta), *opt_state[1:])

    @jax.jit
    def own_step(meta, params):
        weights, meta = weights_for.update(meta, params, model_state, batch, meta_batch)

        def loss(params):
            outputs, _ = ref.bn_mlp(params, model_state, None, batch)
            return weights @ ref.cross_entropy(outputs, batch)

        gradient = jax.grad(loss)(params)
        return meta, jax.tree.map(lambda w, g: w - RATE * g, params, gradient)

    @jax.jit
    def optax_step(opt_state, params):
        updates, opt_state = tx.update(None, opt_state, params, batch=batch, meta_batch=meta_batch)
        return opt_state, optax.apply_updates(params, updates)

    a = b = params
    for t in range(3):
        meta, a = own_step(meta, a)
        opt_state, b = optax_step(opt_state, b)
        assert_close(meta.theta, thetas[t])
        assert_close(opt_state[0].meta.theta, thetas[t])
    assert_close(a, expected)
    assert_close(b, expected)
