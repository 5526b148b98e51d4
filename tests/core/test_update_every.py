"""A meta update every k steps: steps in between, their cost, and who says which is due."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

from famus_jax import (
    Inputs,
    all_layers,
    find_layers,
    l2r,
    last_layers,
    layers_by,
    learned_gates,
    mwnet,
    problem,
    random_depth,
    random_layers,
    reweight,
    reweighter,
    train_step,
)
from famus_jax.core.programs import Program
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update

RATE, BETA, N, M = 0.2, 5.0, 6, 4
PARAMS, MODEL_STATE = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
META = ref.classification_batch(3, M, dtype=jnp.float32)
EVERYTHING = dict.fromkeys(PARAMS, 1.0)
tree_map = jax.tree.map


def batch(i, dtype=jnp.float32):
    return ref.classification_batch(100 + i, N, dtype=dtype)


def floats(tree):
    """The tree without its keys, which have no numbers to compare."""
    leaves = jax.tree.leaves(tree)
    return [x for x in leaves if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)]


def by_number(params):
    return layers_by(params, lambda path: int(path[5]))


@functools.cache
def method(name):
    if name == "l2r":
        return l2r()
    return mwnet(
        hidden=7, start="random", monotone=False, meta_optimizer=optax.sgd(BETA, momentum=0.9)
    )


# --- a step in between, by hand ---------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("every", "due", "by_host"),
    [
        pytest.param(2, [1, 0, 1, 0, 1], False, id="2, lax.cond", marks=pytest.mark.slow),
        pytest.param(3, [1, 0, 0, 1, 0], True, id="3, by programs"),
    ],
)
def test_mwnet(every, due, by_host):
    """Five steps written out: θ moves when due; in between the batch is reweighted with θ as it is.

    Fails if θ's momentum runs on in between, if the first step is skipped, if weights are uniform
    there, or if the counts of steps and updates are mixed up.
    """
    params, model_state = ref.bn_params(jax.random.key(1))
    what = problem(ref.bn_mlp, method("mwnet"), layers=by_number(params))
    estimator = all_layers(update_every=every)
    theta = ref.mwnet_theta(jax.random.key(5))
    state = init_state(what, estimator, jax.random.key(0), params, N, M)
    state = state._replace(theta=theta, opt_state=what.method.meta_optimizer.init(theta))
    meta_batch = ref.classification_batch(3, M)

    def run(state, batch, program):
        inputs = Inputs(params, model_state, jax.random.key(9), batch, meta_batch, RATE)
        return meta_update(what, estimator, state, inputs, program=program)

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
        update = run(state, b, Program(meta=bool(due[t])) if by_host else None)
        if due[t]:
            memory = tree_map(lambda m, g: 0.9 * m + g, memory, gradient_of(theta, b))
            theta = tree_map(lambda w, m: w - BETA * m, theta, memory)
        outputs, new_model_state = ref.bn_mlp(params, model_state, None, b)
        losses = ref.cross_entropy(outputs, b)
        weights = ref.mwnet_weights(theta, losses, "sum")
        ref.assert_close(update.state.theta, theta, 1e-9)
        ref.assert_close(update.info.weights, weights, 1e-9)
        ref.assert_close(update.info.loss, (weights * losses).sum(), 1e-9)
        ref.assert_close(update.model_state, new_model_state, 1e-9)
        ref.assert_close(update.outputs, outputs, 1e-9)
        known = (ref.bn_mlp, ref.mwnet("sum"), params, theta, model_state, None, b)
        ref.assert_close(update.gradient, ref.training_gradient(*known), 1e-9)
        assert float(update.info.updated) == due[t]
        state = update.state
        assert (int(state.step), int(state.updates)) == (t + 1, sum(due[: t + 1]))
    assert np.ptp(np.asarray(weights)) > 1e-3  # not uniform


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_l2r_in_between_is_plain_training():
    """Mean cross-entropy, weights 1/n. Fails if the zero ε of a fresh θ is used, or the last ε."""
    params, model_state = ref.bn_params(jax.random.key(1))
    what = problem(ref.bn_mlp, l2r(), layers=by_number(params))
    estimator = last_layers(1, update_every=2)
    state = init_state(what, estimator, jax.random.key(0), params, N, M)
    b = batch(0, jnp.float64)
    inputs = Inputs(params, model_state, jax.random.key(9), b, ref.classification_batch(3, M), RATE)
    state = meta_update(what, estimator, state, inputs, program=Program()).state
    update = meta_update(what, estimator, state, inputs, program=Program(meta=False))
    mean = ref.mean_loss(ref.cross_entropy)
    args = (ref.bn_mlp, lambda theta, o, b: mean(o, b), params, None, model_state, None, b)
    ref.assert_close(update.gradient, ref.training_gradient(*args), 1e-9)
    ref.assert_close(update.info.weights, np.full(N, 1 / N), 1e-9)
    ref.assert_close(update.info.loss, mean(ref.bn_mlp(params, model_state, None, b)[0], b), 1e-9)
    assert (int(update.state.step), int(update.state.updates)) == (2, 1)


# --- three shells, one sequence ----------------------------------------------------------------------


@functools.cache
def make(estimator, name="mwnet"):
    what = problem(ref.bn_mlp, method(name))
    return train_step(what, optax.sgd(RATE, momentum=0.9), estimator, step_size=RATE)


def start(step, seed=0):
    return step.init(jax.random.key(seed), PARAMS, MODEL_STATE, batch(0), META)


GATES = {"virtual_step": "active", "lag": 2, "hidden": 4, "target": 1.5}
ESTIMATORS = {
    "every 2": last_layers(2, virtual_step="active", update_every=2),
    "layers": random_layers(1, update_every=2),
    "depth": random_depth((0.4, 0.3, 0.3)),
    "control variate": last_layers(1, control_variate_every=2, update_every=2),
    "gates": learned_gates("paper", update_every=2, **GATES),
}


@pytest.mark.parametrize(
    ("name", "method_name"),
    [
        ("every 2", "mwnet"),
        pytest.param("depth", "mwnet", marks=pytest.mark.slow),
        pytest.param("control variate", "mwnet", marks=pytest.mark.slow),
        pytest.param("gates", "mwnet", marks=pytest.mark.slow),
        pytest.param("layers", "mwnet", marks=pytest.mark.slow),  # drawn as depths are
        pytest.param("every 2", "l2r", marks=pytest.mark.slow),
    ],
)
def test_host_and_program_agree(name, method_name):
    """`train_step`, where the host picks a program, against the program with branches behind
    `reweighter` and `reweight`: states, weights and parameters of five steps, float32.

    Fails if host and program count differently, draw from other keys, or a program lacks something.
    """
    estimator = ESTIMATORS[name]
    step = make(estimator, method_name)
    state = start(step)
    key_meta, key_steps = jax.random.split(jax.random.key(0))
    what = problem(ref.bn_mlp, method(method_name))
    weigh = reweighter(what, estimator, step_size=RATE)
    layers = find_layers(ref.bn_mlp, PARAMS, MODEL_STATE, key_meta, batch(0))
    tx = optax.chain(
        reweight(
            what, estimator, step_size=RATE, key=key_meta, model_state=MODEL_STATE, layers=layers,
            num_examples=N, num_meta_examples=M,
        ),
        optax.sgd(RATE, momentum=0.9),
    )  # fmt: skip
    meta = weigh.init(key_meta, PARAMS, MODEL_STATE, batch(0), META)
    opt_state, params = tx.init(PARAMS), PARAMS

    @jax.jit
    def in_program(meta, opt_state, params, t, b):
        rng = jax.random.fold_in(key_steps, t)
        model_state = opt_state[0].model_state
        weights, meta = weigh.update(meta, params, model_state, b, META, rng=rng)
        updates, opt_state = tx.update(None, opt_state, params, batch=b, meta_batch=META, rng=rng)
        return weights, meta, opt_state, optax.apply_updates(params, updates)

    updated = []
    for t in range(5):
        state, info = step(state, batch(t), META)
        weights, meta, opt_state, params = in_program(
            meta, opt_state, params, jnp.int32(t), batch(t)
        )
        ref.assert_close(weights, info.weights, 1e-4)
        ref.assert_close(floats(meta.info), floats(info._replace(weights=())), 1e-4)
        ref.assert_close(floats(meta), floats(state.meta), 1e-4)
        ref.assert_close(floats(opt_state[0].meta), floats(state.meta), 1e-4)
        ref.assert_close(params, state.params, 1e-4)
        updated.append(int(info.updated))
    assert updated == ([1] * 5 if name == "depth" else [1, 0, 1, 0, 1])
    assert len(step.compiled) > 1 or name == "layers"


@pytest.mark.parametrize("name", ["mwnet", "l2r"])
def test_half_precision_outputs(name):
    """A network that returns bfloat16 logits: both branches of the program have one type.

    Fails if the skipped step reports weights or losses in another dtype than the meta step.
    """

    def half(params, model_state, rng, batch):
        outputs, model_state = ref.bn_mlp(params, model_state, rng, batch)
        return outputs.astype(jnp.bfloat16), model_state

    weigh = reweighter(problem(half, method(name)), last_layers(1, update_every=2), step_size=RATE)
    state = weigh.init(jax.random.key(0), PARAMS, MODEL_STATE, batch(0), META)
    run = jax.jit(lambda s, b: weigh.update(s, PARAMS, MODEL_STATE, b, META))
    updated = []
    for t in range(2):
        weights, state = run(state, batch(t))
        assert weights.shape == (N,)
        updated.append(float(state.info.updated))
    assert updated == [1, 0]


# --- what a step in between costs --------------------------------------------------------------------

WIDE = (32, 48, 64, 10)
BIG = 64


@pytest.mark.parametrize("name", ["mwnet", "l2r"])
def test_flops_of_a_skipped_step(name):
    """At most 2 % more than a plain step with the same weighting, by XLA's count.

    Fails if the meta batch is run, or the forward pass is run twice.
    """
    params = ref.mlp_params(jax.random.key(0), WIDE, jnp.float32)
    b = ref.classification_batch(1, BIG, WIDE[0], WIDE[-1], jnp.float32)
    tx = optax.sgd(RATE, momentum=0.9)
    what = problem(ref.mlp, method(name))
    step = train_step(what, tx, all_layers(update_every=4), step_size=RATE)
    state = step.init(jax.random.key(0), params, {}, b, b)

    def flops(program):
        compiled = step.lower(state, b, b, program=program).compile()
        return compiled.cost_analysis()["flops"]

    def plain(params, opt_state, theta, b):
        def loss(params):
            losses = ref.cross_entropy(ref.mlp(params, {}, None, b)[0], b)
            if name == "l2r":
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
    "layers every 3": random_layers(1, update_every=3),
    "control variate every 2": ESTIMATORS["control variate"],
    "gates every 2": ESTIMATORS["gates"],
}


def recorded(step, state, steps):
    """The programs dispatched, and the state after."""
    programs, state, _ = watched(step, state, steps)
    return programs, state


def watched(step, state, steps):
    """As `recorded`, with the last step's info."""
    programs, dispatch = [], step._dispatch.due

    def due(*args):
        programs.append(dispatch(*args))
        return programs[-1]

    step._dispatch.due = due
    try:
        for t in steps:
            state, info = step(state, batch(t), META)
    finally:
        step._dispatch.due = dispatch
    return programs, state, info


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "control variate every 2" else pytest.mark.slow)
        for name in RESUMED
    ],
)
def test_resuming_dispatches_the_same_programs(name):
    """Three steps, a copy, six more; from the copy, after a detour through another run, and with a
    new step object (a twin has the old one's programs, but not its account), the same programs
    and, bit by bit, the same state.

    Fails if counts, random draws or the gates' draws live on the host alone.
    """
    step = make(RESUMED[name])
    _, state = recorded(step, start(step, 3), range(3))
    saved, again = tree_map(jnp.copy, state), tree_map(jnp.copy, state)
    programs, state = recorded(step, state, range(3, 9))
    recorded(step, start(step, 4), range(2))
    resumed, after = recorded(step, saved, range(3, 9))
    assert resumed == programs
    assert recorded(step.twin(), again, range(3, 5))[0] == programs[:2]
    chex.assert_trees_all_equal(floats(after), floats(state), strict=True)
    assert len(set(programs)) > 1


@pytest.mark.parametrize(
    "name",
    [
        "depth every 2",
        pytest.param("layers every 3", marks=pytest.mark.slow),
        pytest.param("gates every 2", marks=pytest.mark.slow),
    ],
)
def test_programs_are_those_of_the_draw(name):
    """`info.program` is the one that was dispatched, in every meta step; −1 in between.

    Fails if a program runs with a draw that calls for a lower start.
    """
    step = make(RESUMED[name])
    state = start(step, 6)
    for t in range(7):
        (program,), state, info = watched(step, state, [t])
        assert int(info.program) == (program.index if program.meta else -1)


@pytest.mark.parametrize(
    ("every", "message"),
    [
        (0, r"update_every must be an int of at least 1; got 0"),
        (-2, r"got -2"),
        (2.5, r"got 2.5"),
        (lambda step: 2, r"update_every must be an int of at least 1; got <function"),
    ],
)
def test_refused(every, message):
    with pytest.raises(ValueError, match=message):
        last_layers(1, update_every=every)
