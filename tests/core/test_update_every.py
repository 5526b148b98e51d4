"""A meta update every k steps: steps in between, their cost, and who says which is due."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax
from famus_jax import (
    Inputs,
    Problem,
    Program,
    all_layers,
    layers_by,
    init_state,
    learned_gates,
    reweight,
    meta_update,
    random_depth,
    random_layers,
    reweighter,
    last_layers,
    train_step,
)

RATE, BETA, N, M = 0.2, 5.0, 6, 4
PARAMS, MODEL_STATE = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
META = ref.classification_batch(3, M, dtype=jnp.float32)
EVERYTHING = dict.fromkeys(PARAMS, 1.0)
tree_map = jax.tree.map


def batch(i, dtype=jnp.float32):
    return ref.classification_batch(100 + i, N, dtype=dtype)


def close(actual, expected, rtol):
    def compare(a, b):
        b = np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max() + 1e-14)

    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    tree_map(compare, actual, expected)


def floats(tree):
    """The tree without its keys, which have no numbers to compare."""
    leaves = jax.tree.leaves(tree)
    return [x for x in leaves if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)]


def slower(step):
    """Every step for three steps, then every second."""
    return jnp.where(step < 3, 1, 2)


# --- a step in between, by hand ---------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("every", "due", "variants"),
    [
        (2, [1, 0, 1, 0, 1], False),
        (3, [1, 0, 0, 1, 0], True),
        (slower, [1, 1, 1, 0, 1], False),
    ],
    ids=["2, lax.cond", "3, by variants", "schedule, lax.cond"],
)
def test_mwnet(every, due, variants):
    """Five steps written out: θ moves when due; in between the batch is weighed with θ as it is.

    Fails if θ's momentum runs on in between, if the first step is skipped, if weights are uniform
    there, or if the counts of steps and updates are mixed up.
    """
    objective = famus_jax.mwnet(hidden=7, meta_optimizer=optax.sgd(BETA, momentum=0.9))
    params, model_state = ref.bn_params(jax.random.key(1))
    groups = layers_by(params, lambda path: int(path[5]))
    loss = famus_jax.mean_of(famus_jax.softmax_cross_entropy)
    problem = Problem(ref.bn_mlp, objective, loss, groups)
    estimator = all_layers(update_every=every)
    theta = ref.mwnet_theta(jax.random.key(5))
    state = init_state(problem, estimator, jax.random.key(0), params, N, M)
    state = state._replace(theta=theta, opt_state=objective.meta_optimizer.init(theta))
    meta_batch = ref.classification_batch(3, M)

    def run(state, batch, variant):
        point = Inputs(params, model_state, jax.random.key(9), batch, meta_batch, RATE)
        return meta_update(problem, estimator, state, point, variant=variant)

    run = jax.jit(run, static_argnums=2)
    args = (
        ref.bn_mlp,
        ref.mwnet("sum"),
        ref.mean_loss(ref.cross_entropy),
        params,
        model_state,
        None,
    )
    gradient_of = jax.jit(
        jax.grad(lambda t, b: ref.l_val(t, *args, b, meta_batch, RATE, EVERYTHING))
    )
    memory = tree_map(jnp.zeros_like, theta)
    for t in range(5):
        b = batch(t, jnp.float64)
        update = run(state, b, Program(meta=bool(due[t])) if variants else None)
        if due[t]:
            memory = tree_map(lambda m, g: 0.9 * m + g, memory, gradient_of(theta, b))
            theta = tree_map(lambda w, m: w - BETA * m, theta, memory)
        outputs, new_model_state = ref.bn_mlp(params, model_state, None, b)
        losses = ref.cross_entropy(outputs, b)
        weights = ref.mwnet_weights(theta, losses, "sum")
        close(update.state.theta, theta, 1e-9)
        close(update.info.weights, weights, 1e-9)
        close(update.info.loss, (weights * losses).sum(), 1e-9)
        close(update.model_state, new_model_state, 1e-9)
        close(update.outputs, outputs, 1e-9)
        known = (ref.bn_mlp, ref.mwnet("sum"), params, theta, model_state, None, b)
        close(update.gradient, ref.training_gradient(*known), 1e-9)
        assert float(update.info.updated) == due[t]
        state = update.state
        assert (int(state.step), int(state.updates)) == (t + 1, sum(due[: t + 1]))
    assert np.ptp(np.asarray(weights)) > 1e-3  # not uniform


@pytest.mark.usefixtures("x64")
def test_l2r_in_between_is_plain_training():
    """Mean cross-entropy, weights 1/n. Fails if the zero ε of a fresh θ is used, or the last ε."""
    objective = famus_jax.l2r()
    params, model_state = ref.bn_params(jax.random.key(1))
    groups = layers_by(params, lambda path: int(path[5]))
    loss = famus_jax.mean_of(famus_jax.softmax_cross_entropy)
    problem = Problem(ref.bn_mlp, objective, loss, groups)
    estimator = last_layers(1, update_every=2)
    state = init_state(problem, estimator, jax.random.key(0), params, N, M)
    b = batch(0, jnp.float64)
    point = Inputs(params, model_state, jax.random.key(9), b, ref.classification_batch(3, M), RATE)
    state = meta_update(problem, estimator, state, point, variant=Program()).state
    update = meta_update(problem, estimator, state, point, variant=Program(meta=False))
    mean = ref.mean_loss(ref.cross_entropy)
    args = (ref.bn_mlp, lambda theta, o, b: mean(o, b), params, None, model_state, None, b)
    close(update.gradient, ref.training_gradient(*args), 1e-9)
    close(update.info.weights, np.full(N, 1 / N), 1e-9)
    close(update.info.loss, mean(ref.bn_mlp(params, model_state, None, b)[0], b), 1e-9)
    assert (int(update.state.step), int(update.state.updates)) == (2, 1)


# --- three shells, one sequence ----------------------------------------------------------------------


@functools.cache
def method(name):
    if name == "l2r":
        return famus_jax.l2r()
    return famus_jax.mwnet(hidden=7, meta_optimizer=optax.sgd(BETA, momentum=0.9))


@functools.cache
def make(estimator, objective="mwnet"):
    return train_step(
        ref.bn_mlp, method(objective), estimator, optax.sgd(RATE, momentum=0.9),
        learning_rate=RATE, params=PARAMS, model_state=MODEL_STATE, batch=batch(0),
    )  # fmt: skip


def start(step, seed=0):
    return step.init(jax.random.key(seed), PARAMS, MODEL_STATE, batch(0), META)


GATES = {"virtual_step": "active_only", "lag": 2, "hidden": 4, "target": 1.5}
ESTIMATORS = {
    "every 2": last_layers(2, virtual_step="active", update_every=2),
    "schedule": last_layers(1, update_every=slower),
    "groups": random_layers(1, update_every=2),
    "depth": random_depth((0.4, 0.3, 0.3)),
    "corrected": last_layers(1, control_variate_every=2, update_every=2),
    "gates": learned_gates("paper", update_every=2, **GATES),
}


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("every 2", "mwnet"),
        pytest.param("depth", "mwnet", marks=pytest.mark.slow),
        pytest.param("corrected", "mwnet", marks=pytest.mark.slow),
        pytest.param("gates", "mwnet", marks=pytest.mark.slow),
        pytest.param("groups", "mwnet", marks=pytest.mark.slow),  # drawn as depths are
        pytest.param("schedule", "mwnet", marks=pytest.mark.slow),
        pytest.param("every 2", "l2r", marks=pytest.mark.slow),
    ],
)
def test_host_and_program_agree(name, objective):
    """`train_step`, where the host picks a variant, against the program with branches behind
    `reweighter` and `reweight`: states, weights and parameters of five steps, float32.

    Fails if host and program count differently, draw from other keys, or a variant lacks something.
    """
    estimator = ESTIMATORS[name]
    step = make(estimator, objective)
    state = start(step)
    key_meta, key_steps = jax.random.split(jax.random.key(0))
    weigh = reweighter(ref.bn_mlp, method(objective), estimator, learning_rate=RATE)
    tx = optax.chain(
        reweight(
            ref.bn_mlp, method(objective), estimator, learning_rate=RATE, key=key_meta,
            batch=batch(0), meta_batch=META, model_state=MODEL_STATE,
        ),
        optax.sgd(RATE, momentum=0.9),
    )  # fmt: skip
    meta = weigh.init(key_meta, PARAMS, MODEL_STATE, batch(0), META)
    opt_state, params = tx.init(PARAMS), PARAMS

    @jax.jit
    def in_program(meta, opt_state, params, t, b):
        rng = jax.random.fold_in(key_steps, t)
        model_state = opt_state[0].model_state
        weights, meta, info = weigh(meta, params, model_state, b, META, rng=rng)
        updates, opt_state = tx.update(None, opt_state, params, batch=b, meta_batch=META, rng=rng)
        return weights, meta, info, opt_state, optax.apply_updates(params, updates)

    updated = []
    for t in range(5):
        state, info, _ = step(state, batch(t), META)
        weights, meta, other, opt_state, params = in_program(
            meta, opt_state, params, jnp.int32(t), batch(t)
        )
        close(weights, info.weights, 1e-4)
        close(floats(other), floats(info), 1e-4)
        close(floats(meta), floats(state.meta), 1e-4)
        close(floats(opt_state[0].meta), floats(state.meta), 1e-4)
        close(params, state.params, 1e-4)
        updated.append(int(info.updated))
    expected = {"schedule": [1, 1, 1, 0, 1], "depth": [1] * 5}.get(name, [1, 0, 1, 0, 1])
    assert updated == expected
    assert len(step.compiled) > 1 or name == "groups"


@pytest.mark.parametrize("objective", ["mwnet", "l2r"])
def test_half_precision_outputs(objective):
    """A network that returns bfloat16 logits: both branches of the program have one type.

    Fails if the skipped step reports weights or losses in another dtype than the meta step.
    """

    def half(params, model_state, rng, batch):
        outputs, model_state = ref.bn_mlp(params, model_state, rng, batch)
        return outputs.astype(jnp.bfloat16), model_state

    weigh = reweighter(half, method(objective), last_layers(1, update_every=2), learning_rate=RATE)
    state = weigh.init(jax.random.key(0), PARAMS, MODEL_STATE, batch(0), META)
    run = jax.jit(lambda s, b: weigh(s, PARAMS, MODEL_STATE, b, META))
    updated = []
    for t in range(2):
        weights, state, info = run(state, batch(t))
        assert weights.shape == (N,)
        updated.append(float(info.updated))
    assert updated == [1, 0]


# --- what a step in between costs --------------------------------------------------------------------

WIDE = (32, 48, 64, 10)
BIG = 64


@pytest.mark.parametrize("objective", ["mwnet", "l2r"])
def test_flops_of_a_skipped_step(objective):
    """At most 2 % more than a plain step with the same weighting, by XLA's count.

    Fails if the meta batch is run, or the forward pass is run twice.
    """
    params = ref.mlp_params(jax.random.key(0), WIDE, jnp.float32)
    b = ref.classification_batch(1, BIG, WIDE[0], WIDE[-1], jnp.float32)
    tx = optax.sgd(RATE, momentum=0.9)
    step = train_step(
        ref.mlp, method(objective), all_layers(update_every=4), tx, learning_rate=RATE, params=params,
        model_state={}, batch=b,
    )  # fmt: skip
    state = step.init(jax.random.key(0), params, {}, b, b)

    def flops(variant):
        compiled = step.lower(state, b, b, variant=variant).compile()
        return compiled.cost_analysis()["flops"]

    def plain(params, opt_state, theta, b):
        def loss(params):
            losses = ref.cross_entropy(ref.mlp(params, {}, None, b)[0], b)
            if objective == "l2r":
                return losses.sum() / BIG
            return (ref.mwnet_weights(theta, losses, "sum") * losses).sum()

        value, gradient = jax.value_and_grad(loss)(params)
        updates, opt_state = tx.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    compiled = jax.jit(plain).lower(params, tx.init(params), state.meta.theta, b).compile()
    by_hand = compiled.cost_analysis()["flops"]
    assert flops(Program(meta=False)) <= 1.02 * by_hand
    assert flops(Program()) > 2 * by_hand  # what is spared


# --- resuming -----------------------------------------------------------------------------------


RESUMED = {
    "depth every 2": random_depth((0.4, 0.3, 0.3), update_every=2),
    "groups every 3": random_layers(1, update_every=3),
    "corrected every 2": ESTIMATORS["corrected"],
    "gates every 2": ESTIMATORS["gates"],
}


def recorded(step, state, steps):
    """The variants dispatched, and the state after."""
    variants, state, _ = watched(step, state, steps)
    return variants, state


def watched(step, state, steps):
    """As `recorded`, with the last step's info."""
    variants, dispatch = [], step._dispatcher.due

    def due(*args):
        variants.append(dispatch(*args))
        return variants[-1]

    step._dispatcher.due = due
    try:
        for t in steps:
            state, info, _ = step(state, batch(t), META)
    finally:
        step._dispatcher.due = dispatch
    return variants, state, info


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "corrected every 2" else pytest.mark.slow)
        for name in RESUMED
    ],
)
def test_resuming_dispatches_the_same_variants(name):
    """Three steps, a copy, six more; from the copy, after a detour through another run, and with a
    new step object (a twin has the old one's programs, but not its account), the same variants
    and, bit by bit, the same state.

    Fails if counts, random draws or the gates' queue live on the host alone.
    """
    step = make(RESUMED[name])
    _, state = recorded(step, start(step, 3), range(3))
    saved, again = tree_map(jnp.copy, state), tree_map(jnp.copy, state)
    variants, state = recorded(step, state, range(3, 9))
    recorded(step, start(step, 4), range(2))
    resumed, after = recorded(step, saved, range(3, 9))
    assert resumed == variants
    assert recorded(step.twin(), again, range(3, 5))[0] == variants[:2]
    for a, b in zip(floats(after), floats(state), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(set(variants)) > 1


@pytest.mark.parametrize(
    "name",
    [
        "depth every 2",
        pytest.param("groups every 3", marks=pytest.mark.slow),
        pytest.param("gates every 2", marks=pytest.mark.slow),
    ],
)
def test_variants_are_those_of_the_draw(name):
    """`info.branch` is the branch that was dispatched, in every meta step; −1 in between.

    Fails if a program runs with a draw that calls for a lower cut.
    """
    step = make(RESUMED[name])
    state = start(step, 6)
    for t in range(7):
        (variant,), state, info = watched(step, state, [t])
        assert int(info.branch) == (variant.branch if variant.meta else -1)


@pytest.mark.parametrize(
    ("every", "message"),
    [
        (0, r"every must be an int of at least 1, or a function; got 0"),
        (-2, r"got -2"),
        (2.5, r"got 2.5"),
    ],
)
def test_refused(every, message):
    with pytest.raises(ValueError, match=message):
        last_layers(1, update_every=every)
