"""`reweight` keeps optax's contracts."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

from famus_jax import find_layers, l2r, last_layers, learned_gates, mwnet, problem, reweight

RATE, N, M = 0.2, 6, 4
PARAMS, MODEL_STATE = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
BATCH = ref.classification_batch(2, N, dtype=jnp.float32)
META = ref.classification_batch(3, M, dtype=jnp.float32)
DATA = {"batch": BATCH, "meta_batch": META}
HEAD = last_layers(1, virtual_step="active")


def transform(estimator=HEAD, method=None, step_size=RATE, **options):
    options = {"model_state": MODEL_STATE, "key": jax.random.key(0), **options}
    what = problem(ref.bn_mlp, method or mwnet(hidden=7, start="random", monotone=False))
    return reweight(what, estimator, step_size=step_size, **options)


def found_layers():
    return find_layers(ref.bn_mlp, PARAMS, MODEL_STATE, jax.random.key(0), BATCH)


def assert_same(a, b):
    """Alike, but for keys, which are no numbers."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    chex.assert_trees_all_close(*map(numbers, (a, b)), rtol=1e-6, atol=1e-7)


def numbers(tree):
    leaves = jax.tree.leaves(tree)
    return [x for x in leaves if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)]


def types(tree):
    return jax.tree.structure(tree), [
        (x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(tree)
    ]


def test_incoming_updates_and_unknown_extras_are_ignored():
    """None, a gradient, NaN: the same result. Fails if the incoming updates are read or added."""
    tx = transform()
    state = tx.init(PARAMS)
    update = jax.jit(lambda u, s, **extra: tx.update(u, s, PARAMS, **DATA, **extra))
    expected = update(None, state)
    nan = jax.tree.map(lambda w: jnp.full_like(w, jnp.nan), PARAMS)
    assert_same(update(nan, state), expected)
    assert_same(update(None, state, value=1.0, loss_fn=None), expected)


@pytest.mark.parametrize("missing", ["params", "batch", "meta_batch"])
def test_missing_arguments_are_named(missing):
    tx = transform()
    state = jax.eval_shape(tx.init, PARAMS)
    given = {"params": PARAMS, **DATA}
    del given[missing]
    with pytest.raises(
        ValueError,
        match=rf"needs {missing}: call optimizer.update\(None, opt_state, params, batch=",
    ):
        tx.update(None, state, **given)


def test_bfloat16_parameters_keep_their_dtype():
    """Updates and state in the parameters' dtype; fails if α or the weights promote them."""
    params = jax.tree.map(
        lambda w: w.astype(jnp.bfloat16), ref.mlp_params(jax.random.key(0), dtype=jnp.float32)
    )

    def forward(p, s, r, b):
        logits, s = ref.mlp(p, s, r, {"x": b["x"].astype(jnp.bfloat16)})
        return logits.astype(jnp.float32), s

    what = problem(forward, mwnet(hidden=7, start="random", monotone=False))
    for estimator in (HEAD, last_layers(2), last_layers(3, route="vjp")):
        tx = reweight(what, estimator, step_size=jnp.float32(RATE), key=jax.random.key(0))
        state = jax.eval_shape(tx.init, params)
        updates, new = jax.eval_shape(lambda s, t=tx: t.update(None, s, params, **DATA), state)
        assert {x.dtype for x in jax.tree.leaves(updates)} == {jnp.dtype(jnp.bfloat16)}
        assert jax.tree.structure(new) == jax.tree.structure(state)
        assert [x.dtype for x in jax.tree.leaves(new)] == [x.dtype for x in jax.tree.leaves(state)]


ESTIMATORS = {
    "mwnet": (HEAD, mwnet(hidden=7, start="random", monotone=False)),
    "l2r": (last_layers(2), l2r()),
    "gates": (
        learned_gates("budget", target=2.9, hidden=4, max_programs=2),
        mwnet(hidden=7, start="random", monotone=False),
    ),
}


@pytest.mark.parametrize("name", ["mwnet", "l2r", pytest.param("gates", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:an estimator that chooses anew from step to step")
def test_state_is_stable_under_scan(name):
    """Structure, shapes, dtypes and weak types: init's are update's; scan equals a loop.

    Fails if the first update changes the state's type (scan then refuses it), or if a step depends
    on anything but the state.
    """
    sizes = {"num_examples": N, "num_meta_examples": M, "layers": found_layers()}
    tx = transform(*ESTIMATORS[name], **(sizes if name == "gates" else {}))
    state = tx.init(PARAMS)

    def step(carry, batch):
        params, state = carry
        updates, state = tx.update(None, state, params, batch=batch, meta_batch=META)
        return (jax.tree.map(lambda w, u: w - RATE * u, params, updates), state), state.info.loss

    one = jax.jit(step)
    assert types(jax.eval_shape(step, (PARAMS, state), BATCH)[0][1]) == types(
        jax.eval_shape(lambda s: s, state)
    )
    batches = [ref.classification_batch(i, N, dtype=jnp.float32) for i in range(3)]
    carry, losses = (PARAMS, state), []
    for batch in batches:
        carry, loss = one(carry, batch)
        losses.append(loss)
    assert one._cache_size() <= 1  # nothing recompiles: by shape, by weak type, or by identity
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    scanned, scanned_losses = jax.jit(lambda c, b: jax.lax.scan(step, c, b))(
        (PARAMS, state), stacked
    )
    np.testing.assert_allclose(scanned_losses, jnp.stack(losses), rtol=1e-4)
    for a, b in zip(*map(jax.tree.leaves, (scanned[0], carry[0])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_warns_of_a_switch_on_cpu():
    sizes = {"num_examples": N, "num_meta_examples": M, "layers": found_layers()}
    with pytest.warns(UserWarning, match="use famus_jax.train_step"):
        transform(*ESTIMATORS["gates"], **sizes).init(PARAMS)


def test_chain_is_manual_application():
    """Fails if the chain's decay or momentum is applied before the meta update."""
    first, rest = transform(), (optax.add_decayed_weights(0.1), optax.sgd(RATE, momentum=0.9))
    chain = optax.chain(first, *rest)

    def manual(states):
        updates, new = first.update(None, states[0], PARAMS, **DATA)
        states = [new, *states[1:]]
        for i, tx in enumerate(rest, 1):
            updates, states[i] = tx.update(updates, states[i], PARAMS)
        return updates, tuple(states)

    chained = jax.jit(lambda s: chain.update(None, s, PARAMS, **DATA))
    by_hand = jax.jit(manual)
    a, b = chain.init(PARAMS), chain.init(PARAMS)
    for _ in range(2):
        (updates, a), (expected, b) = chained(a), by_hand(b)
        assert_same(updates, expected)
        assert_same(a, b)


def test_schedule_is_read_at_the_step():
    """Fails if the schedule is evaluated once, or a step late."""
    rates = jnp.asarray([0.5, 0.1, 0.02])
    scheduled, state = transform(step_size=lambda step: rates[step]), transform().init(PARAMS)
    step = jax.jit(lambda s: scheduled.update(None, s, PARAMS, **DATA))
    for i in range(3):
        fixed = transform(step_size=float(rates[i]))
        expected = jax.jit(lambda s, t=fixed: t.update(None, s, PARAMS, **DATA))(state)
        updates, new = step(state)
        assert_same((updates, new), expected)
        state = new


def test_inject_hyperparams():
    """The step size as a hyperparameter in the state. Fails if it is read at construction."""
    static = ("problem", "estimator", "key", "model_state", "layers")
    layers = found_layers()
    injected = optax.inject_hyperparams(reweight, static_args=static)(
        problem=problem(ref.bn_mlp, mwnet(hidden=7, start="random", monotone=False)),
        estimator=HEAD, step_size=0.9,
        key=jax.random.key(0), model_state=MODEL_STATE, layers=layers,
    )  # fmt: skip
    state = injected.init(PARAMS)
    state.hyperparams["step_size"] = jnp.float32(RATE)
    updates, state = jax.jit(lambda s: injected.update(None, s, PARAMS, **DATA))(state)
    tx = transform(layers=layers)
    expected, plain = jax.jit(lambda s: tx.update(None, s, PARAMS, **DATA))(tx.init(PARAMS))
    assert_same(updates, expected)
    assert_same(state.inner_state, plain)


@pytest.mark.slow
def test_multi_steps_behind_it():
    """`MultiSteps` behind it averages the reweighted gradients. Fails if a micro-batch is skipped."""
    first = transform()
    chain = optax.chain(first, optax.MultiSteps(optax.sgd(RATE), 2).gradient_transformation())
    state = chain.init(PARAMS)
    batches = [ref.classification_batch(i, N, dtype=jnp.float32) for i in (5, 6)]
    step = jax.jit(lambda s, b: chain.update(None, s, PARAMS, batch=b, meta_batch=META))
    alone = jax.jit(lambda s, b: first.update(None, s, PARAMS, batch=b, meta_batch=META))
    inner, gradients = first.init(PARAMS), []
    for batch in batches:
        gradient, inner = alone(inner, batch)
        gradients.append(gradient)
        updates, state = step(state, batch)
    expected = jax.tree.map(lambda a, b: -RATE * (a + b) / 2, *gradients)
    assert_same(updates, expected)


@pytest.mark.slow
def test_discarded_gradient_costs_nothing():
    """An incoming `jax.grad` is eliminated under jit. Fails if the updates are touched at all."""
    tx = transform()
    state = tx.init(PARAMS)

    def loss(params):
        return ref.cross_entropy(ref.bn_mlp(params, MODEL_STATE, None, BATCH)[0], BATCH).sum()

    def with_gradient(params, state):
        return tx.update(jax.grad(loss)(params), state, params, **DATA)

    def without(params, state):
        return tx.update(None, state, params, **DATA)

    flops = [
        jax.jit(f).lower(PARAMS, state).compile().cost_analysis()["flops"]
        for f in (with_gradient, without)
    ]
    assert flops[0] == flops[1]


def test_model_state_is_carried_or_given():
    """Its own running statistics by default, the user's where given; fails if they are thrown away."""
    tx = transform()
    step = jax.jit(lambda s, m: tx.update(None, s, PARAMS, model_state=m, **DATA)[1])
    once = ref.bn_mlp(PARAMS, MODEL_STATE, None, BATCH)[1]
    twice = ref.bn_mlp(PARAMS, once, None, BATCH)[1]
    first = step(tx.init(PARAMS), None)
    assert_same(first.model_state, once)
    assert_same(step(first, None).model_state, twice)
    assert_same(step(first, MODEL_STATE).model_state, once)
