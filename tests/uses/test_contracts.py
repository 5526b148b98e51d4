"""What users get wrong at the border of the library, and what must not leak across it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import famus_jax as famus
from famus_jax.gates import LearnedGates

PARAMS = {"body": jnp.ones((3, 4)) * 0.1, "head": jnp.ones((4, 2)) * 0.2}
BATCH = {"x": jnp.arange(18.0).reshape(6, 3) / 18, "label": jnp.arange(6) % 2}
META = {"x": jnp.arange(12.0).reshape(4, 3) / 12, "label": jnp.arange(4) % 2}
FORWARD = famus.stateless_forward(lambda p, batch: jnp.tanh(batch["x"] @ p["body"]) @ p["head"])
KEY = jax.random.key(0)


def weigh(method=None, estimator=None, forward=FORWARD, batch=BATCH, meta_batch=META, **more):
    problem = famus.problem(forward, method or famus.mwnet(), **more)
    r = famus.reweighter(problem, estimator or famus.all_layers(), step_size=0.1)
    state = r.init(KEY, PARAMS, {}, BATCH, META)
    return jax.eval_shape(lambda: r.update(state, PARAMS, {}, batch, meta_batch))


def training(estimator, method=None, optimizer=None):
    problem = famus.problem(FORWARD, method or famus.mwnet())
    return famus.train_step(problem, optimizer or optax.sgd(0.1), estimator, step_size=0.1)


def per_class(outputs, batch):
    return optax.sigmoid_binary_cross_entropy(outputs, jax.nn.one_hot(batch["label"], 2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": famus.mwnet(per_class)}, r"one number per example.*\(6,\).*\(6, 2\).*mean"),
        ({"method": famus.l2r(lambda o, b: o.mean())}, r"one number per example.*got \(\)"),
        (
            {"meta_loss": lambda outputs, batch: outputs.mean(-1)},
            r"meta_loss must return a scalar; got shape \(4,\)",
        ),
        ({"batch": {"x": BATCH["x"], "y": BATCH["label"]}}, r'batch\["label"\].*\[.x., .y.\]'),
        ({"meta_batch": None}, "mwnet learns from trusted examples, but meta_batch is None"),
    ],
    ids=[
        "loss per class",
        "mean loss",
        "meta loss per example",
        "label by another name",
        "no meta",
    ],
)
def test_wrong_shapes_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        weigh(**arguments)


def test_forward_without_a_state_is_named():
    def forward(params, model_state, rng, batch):
        return batch["x"] @ params["body"] @ params["head"]

    said = r"forward must return \(outputs, model_state\)"
    for layers in (None, famus.layers_by(PARAMS, {"body": 0, "head": 1})):  # to be found, or given
        with pytest.raises(ValueError, match=said):
            weigh(forward=forward, layers=layers)
    with pytest.raises(ValueError, match=said):
        famus.find_layers(forward, PARAMS, (), KEY, BATCH)


@pytest.mark.parametrize("method", ["l2r", famus.l2r])
def test_a_method_by_name_is_refused(method):
    with pytest.raises(ValueError, match=r"method must be a Method.*l2r\(\)"):
        famus.problem(FORWARD, method)


@pytest.mark.parametrize("estimator", ["all_layers", famus.all_layers])
def test_an_estimator_by_name_is_refused(estimator):
    with pytest.raises(ValueError, match=r"estimator must be an Estimator.*all_layers\(.*\)"):
        famus.reweighter(famus.problem(FORWARD, famus.l2r()), estimator, step_size=0.1)


def test_a_forward_is_no_problem():
    """Fails if what is no problem gets as far as a trace."""
    with pytest.raises(
        ValueError, match=r"must be a problem, famus_jax.problem\(forward, method\)"
    ):
        famus.reweighter(FORWARD, famus.all_layers(), step_size=0.1)


def test_leaves_that_share_an_array():
    """Two biases from one `jnp.zeros` are two parameters. Fails if they are refused, or stay tied."""

    def forward(p, x):
        return (jnp.tanh(x @ p["w"] + p["b"][None]) * (1 + p["s"][None])) @ p["head"]

    shared = jnp.zeros(4)
    x = jax.random.normal(KEY, (6, 3))
    params = {"w": jnp.ones((3, 4)), "b": shared, "s": shared, "head": jnp.eye(4)[:, :3]}
    batch = {"x": x, "label": jnp.arange(6) % 3}
    problem = famus.problem(famus.stateless_forward(forward, input="x"), famus.l2r())
    results = []
    for given in (params, {**params, "s": jnp.zeros(4)}):
        train = famus.train_step(problem, optax.sgd(0.5), step_size=0.5)
        results.append(train(train.init(KEY, given, (), batch, batch), batch, batch)[0].params)
    jax.tree.map(np.testing.assert_array_equal, *results)
    assert float(jnp.abs(results[0]["b"] - results[0]["s"]).max()) > 0


def test_a_carried_theta_without_a_virtual_step_is_refused():
    method = famus.mwnet()._replace(zero_virtual_step=True)
    with pytest.raises(ValueError, match="reset_each_batch=True or zero_virtual_step=False"):
        weigh(method)


@pytest.mark.slow
def test_the_optimizer_is_ignored_unless_asked_for():
    """Fails if a virtual step of plain SGD moves by an optimizer's that was passed along."""
    estimator = famus.last_layers(1, virtual_step="active")
    r = famus.reweighter(famus.problem(FORWARD, famus.l2r()), estimator, step_size=0.1)
    state = r.init(KEY, PARAMS, {}, BATCH, META)
    plain, _ = r.update(state, PARAMS, {}, BATCH, META)

    def optimizer_update(gradient):
        return jax.tree.map(lambda x: x + 1.0, PARAMS)

    given, _ = r.update(state, PARAMS, {}, BATCH, META, optimizer_update=optimizer_update)
    np.testing.assert_array_equal(plain, given)


@pytest.mark.parametrize("method", [famus.l2r(), famus.mwnet()], ids=lambda method: method.name)
def test_a_smaller_last_batch_is_welcome_to_the_transformation(method):
    """One state goes through batches of 6, 5 and 6, and each gradient is that of the weights for
    one's own loss. Fails if a size is kept in the state, or sizes the weights of the next batch.
    """
    problem, estimator = famus.problem(FORWARD, method), famus.last_layers(1)
    tx = famus.reweight(problem, estimator, step_size=0.1, key=KEY)
    r = famus.reweighter(problem, estimator, step_size=0.1)
    state, meta = tx.init(PARAMS), r.init(KEY, PARAMS, (), BATCH, META)
    types = jax.eval_shape(lambda: state)
    small = jax.tree.map(lambda x: x[:5], BATCH)
    for batch in (BATCH, small, BATCH):
        updates, state = tx.update(None, state, PARAMS, batch=batch, meta_batch=META)
        assert jax.eval_shape(lambda s=state: s) == types
        weights, meta = r.update(meta, PARAMS, (), batch, META)

        def loss(params, weights=weights, batch=batch):
            outputs, _ = FORWARD(params, (), KEY, batch)
            return weights @ famus.losses.softmax_cross_entropy(outputs, batch)

        chex.assert_trees_all_close(updates, jax.grad(loss)(PARAMS), rtol=1e-5, atol=1e-7)


def test_nothing_of_the_callers_is_donated():
    """θ0 of a warm start and parameters kept by an optimizer survive. Fails if init keeps aliases."""
    start = famus.mwnet().init(KEY, 6)
    method = famus.mwnet()._replace(init=lambda key, n: start)
    anchor = optax.GradientTransformation(lambda params: params, lambda g, s, p=None: (g, s))
    step = training(famus.all_layers(), method, optax.chain(anchor, optax.sgd(0.1)))
    for seed in (0, 1):
        state = step.init(jax.random.key(seed), PARAMS, {}, BATCH, META)
        state, _ = step(state, BATCH, META)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((PARAMS, start)))


@pytest.mark.slow
def test_the_draws_survive_a_failed_step():
    """After an exception, the same state goes on with the program that its draws say."""
    gates = famus.learned_gates("paper", target=1.0, lag=2, hidden=4)
    step = training(gates)
    state = step.init(KEY, PARAMS, {}, BATCH, META)
    state, _ = step(state, BATCH, META)
    with pytest.raises(ValueError, match="leading size"):
        step(state, {**BATCH, "label": BATCH["label"][:3]}, META)
    for _ in range(4):
        expected = int(state.meta.draws.program[0])
        state, info = step(state, BATCH, META)
        assert int(info.program) == expected


def test_exploring_is_in_the_budget():
    """One step in N pays for the lowest start: (1 − 1/N) E + c_0 / N, by hand."""
    layers = famus.layers_by(PARAMS, {"body": 0, "head": 1})
    plain = LearnedGates(penalty="budget", target=2.0, head_open=True)
    some = LearnedGates(penalty="budget", target=2.0, head_open=True, explore_every=4)
    chance = jnp.asarray([0.3, 1.0])
    expected = 2.0 + 0.3 * (3.0 - 2.0)
    np.testing.assert_allclose(plain.expected_cost(chance, layers, (3.0, 2.0)), expected, rtol=1e-6)
    np.testing.assert_allclose(
        some.expected_cost(chance, layers, (3.0, 2.0)), 0.75 * expected + 0.25 * 3.0, rtol=1e-6
    )
