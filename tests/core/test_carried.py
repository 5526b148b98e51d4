"""A carried direction against its definition in float64, and what can't be carried.

The definition is differentiated twice in reverse mode: v̄ from gradients of the meta loss at the very
parameters at which it was renewed, then ∇_θ ⟨v̄, w − α ∇_w T⟩ on the examples that are heard.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax
from famus_jax import all_layers, last_layers
from famus_jax.core.cost import mean_cost, renewal_cost
from famus_jax.core.examples import heard_rows, take_rows
from famus_jax.core.programs import Program
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update

N, M, ALPHA = 8, 6, 0.3
METHOD = famus_jax.mwnet(
    hidden=30, start="random", monotone=False, meta_optimizer=optax.sgd(1e-3, momentum=0.9)
)
HOW = {"virtual_step": "carried"}


@pytest.fixture(scope="module", autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def batch(key, n):
    key_x, key_y = jax.random.split(key)
    label = jax.random.randint(key_y, (n,), 0, 3)
    return {"x": jax.random.normal(key_x, (n, 3), jnp.float64), "label": label}


def meta_loss(params, model_state, meta_batch):
    outputs, _ = ref.bn_mlp(params, model_state, None, meta_batch)
    return -jnp.take_along_axis(
        jax.nn.log_softmax(outputs), meta_batch["label"][:, None], axis=1
    ).mean()


meta_slope = jax.jit(jax.grad(meta_loss))


@jax.jit
def slope(theta, params, model_state, part, v):
    """∇_θ ⟨v, ŵ(θ)⟩ by reverse over reverse."""

    def product(theta):
        def loss(params):
            outputs, _ = ref.bn_mlp(params, model_state, None, part)
            return METHOD.loss(theta, outputs, part)[0]

        g = jax.grad(loss)(params)
        return sum(jnp.vdot(a, -ALPHA * b) for a, b in zip(jax.tree.leaves(v), jax.tree.leaves(g)))

    return jax.grad(product)(theta)


ESTIMATORS = {
    "every step": (all_layers(**HOW), None),
    "an average": (all_layers(decay=0.7, **HOW), None),
    "now and then": (all_layers(renew_every=2, decay=0.5, **HOW), None),
    "few examples": (all_layers(examples=4, renew_every=2, decay=0.5, **HOW), None),
    "last layer": (last_layers(1, renew_every=2, decay=0.5, **HOW), "layer2"),
    "vjp": (all_layers(route="vjp", renew_every=2, decay=0.5, **HOW), None),
    "not every step": (all_layers(update_every=2, renew_every=2, decay=0.5, **HOW), None),
}


@pytest.mark.parametrize(
    ("name", "by_programs"), [*((name, True) for name in ESTIMATORS), ("not every step", False)]
)
def test_against_second_order(name, by_programs):
    """Fails for a bias that is not corrected, a renewal at the wrong step or at other parameters, and
    for a direction that is scaled wrongly."""
    estimator, only = ESTIMATORS[name]
    key = jax.random.key(3)
    params, model_state = ref.bn_params(key)
    problem = famus_jax.problem(ref.bn_mlp, METHOD, layers=_layers(params))
    state = init_state(problem, estimator, key, params, N, M)
    theta = jax.tree.map(lambda x: x.astype(jnp.float64), METHOD.init(key, N))
    state = state._replace(theta=theta, opt_state=METHOD.meta_optimizer.init(theta))
    average, renewals = jax.tree.map(jnp.zeros_like, params), 0
    decay, updates = estimator.decay, 0

    @functools.partial(jax.jit, static_argnames="program")
    def step(state, inputs, program):
        return meta_update(problem, estimator, state, inputs, program=program)

    for t in range(4):
        key = jax.random.fold_in(key, t)
        train, trusted = batch(key, N), batch(jax.random.fold_in(key, 1), M)
        meta = t % estimator.update_every == 0
        renews = meta and updates % estimator.renew_every == 0
        if renews:
            new = meta_slope(params, model_state, trusted)
            average = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, average, new)
            renewals += 1
        program = Program(meta=meta, renews=renews and estimator.renew_every > 1)
        before = state
        inputs = famus_jax.Inputs(params, model_state, None, train, trusted, step_size=ALPHA)
        new = step(state, inputs, program=program if by_programs else None)
        if meta:
            rest = decay**renewals
            v = jax.tree.map(lambda a, rest=rest: a / (1 - rest), average)
            if only:
                v = {k: jax.tree.map(lambda x, k=k: x * (k == only), v[k]) for k in v}
            part = train
            if estimator.examples:
                part = take_rows(train, heard_rows(before.key, before.step, N, 4), N)
            expected = slope(before.theta, params, model_state, part, v)
            updates_, _ = METHOD.meta_optimizer.update(expected, before.opt_state, before.theta)
            wanted = jax.tree.map(lambda a, b: a + b, before.theta, updates_)
            ref.assert_close(new.state.theta, wanted, 1e-8)
            assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(expected)) > 1e-7
            updates += 1
        state = new.state
        params = jax.tree.map(lambda w, g: w - 0.1 * g, params, new.gradient)


def _layers(params):
    rule = {name: jax.tree.map(lambda _, i=i: i, params[name]) for i, name in enumerate(params)}
    return famus_jax.layers_by(params, rule)


def test_cost():
    """By hand, 64 and 16 examples: a forward pass and a product on 4 of 64 are 1/16 of a plain step;
    the meta batch a quarter in every eighth."""
    params, _ = ref.bn_params(jax.random.key(0))
    problem = famus_jax.problem(ref.bn_mlp, METHOD, layers=_layers(params))
    estimator = all_layers(examples=4, renew_every=8, decay=0.5, **HOW)
    assert mean_cost(problem, estimator, 64, 16) == pytest.approx(1 + 1 / 16 + 1 / 32)
    assert renewal_cost(problem, estimator, 64, 16) == pytest.approx(1 / 4)
    always = estimator.replace(renew_every=1)
    assert mean_cost(problem, always, 64, 16) == pytest.approx(1 + 1 / 16 + 1 / 4)


def test_kept_in_bfloat16():
    """Half of the memory; the average is still that of the definition, to three digits."""
    params, model_state = ref.bn_params(jax.random.key(0), dtype=jnp.float32)
    problem = famus_jax.problem(ref.bn_mlp, METHOD, layers=_layers(params))
    key = jax.random.key(1)
    train, trusted = batch(key, N), batch(jax.random.fold_in(key, 1), M)
    inputs = famus_jax.Inputs(params, model_state, None, train, trusted, step_size=ALPHA)
    estimator = all_layers(decay=0.5, carried_dtype="bfloat16", **HOW)
    state = init_state(problem, estimator, key, params, N, M)
    assert {x.dtype for x in state.carried.average} == {jnp.dtype(jnp.bfloat16)}
    step = jax.jit(lambda state, inputs: meta_update(problem, estimator, state, inputs))
    carried = step(state, inputs).state.carried
    expected = jax.grad(meta_loss)(params, model_state, trusted)
    for got, want in zip(carried.average, jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(2 * np.asarray(got, np.float64), want, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: all_layers(renew_every=0, **HOW), r"renew_every must be .*at least 1; got 0"),
        (lambda: all_layers(decay=1.0, **HOW), r"decay.*\[0, 1\); got 1.0"),
        (lambda: all_layers(renew_every=4), r'renew_every.*set virtual_step="carried"'),
        (lambda: all_layers(carried_dtype="float16", **HOW), r"carried_dtype must be.*float16"),
        (lambda: all_layers(through_optimizer=True, **HOW), r"through_optimizer=True"),
        (lambda: famus_jax.second_order(**HOW), r"second_order"),
        (lambda: famus_jax.random_layers(1, **HOW), r"takes no virtual step.*random_layers"),
        (lambda: last_layers(1, control_variate_every=2, **HOW), r"got .*virtual_step='carried'"),
    ],
)
def test_refused(make, message):
    """What can't go together is said before any step."""
    with pytest.raises(ValueError, match=message):
        make()
