"""What users get wrong at the border of the library, and what must not leak across it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import famus_jax as famus

PARAMS = {"body": jnp.ones((3, 4)) * 0.1, "head": jnp.ones((4, 2)) * 0.2}
BATCH = {"x": jnp.arange(18.0).reshape(6, 3) / 18, "label": jnp.arange(6) % 2}
META = {"x": jnp.arange(12.0).reshape(4, 3) / 12, "label": jnp.arange(4) % 2}
FORWARD = famus.stateless_forward(lambda p, batch: jnp.tanh(batch["x"] @ p["body"]) @ p["head"])
KEY = jax.random.key(0)


def weigh(objective=None, estimator=None, forward=FORWARD, batch=BATCH, meta_batch=META, **more):
    objective, estimator = objective or famus.mwnet(), estimator or famus.all_layers()
    r = famus.reweighter(forward, objective, estimator, learning_rate=0.1, **more)
    state = r.init(KEY, PARAMS, {}, BATCH, META)
    return jax.eval_shape(lambda: r(state, PARAMS, {}, batch, meta_batch))


def training(estimator, objective=None, optimizer=None):
    return famus.train_step(
        FORWARD,
        objective or famus.mwnet(),
        estimator,
        optimizer or optax.sgd(0.1),
        learning_rate=0.1,
        params=PARAMS,
        model_state={},
        batch=BATCH,
    )


def per_class(outputs, batch):
    return optax.sigmoid_binary_cross_entropy(outputs, jax.nn.one_hot(batch["label"], 2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"objective": famus.mwnet(per_class)}, r"one number per example.*\(6,\).*\(6, 2\).*mean"),
        ({"objective": famus.l2r(lambda o, b: o.mean())}, r"one number per example.*got \(\)"),
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

    groups = famus.layers_by(PARAMS, {"body": 0, "head": 1})
    with pytest.raises(ValueError, match=r"forward must return \(outputs, model_state\)"):
        weigh(forward=forward, groups=groups)


@pytest.mark.parametrize("objective", ["l2r", famus.l2r])
def test_a_method_by_name_is_refused(objective):
    with pytest.raises(ValueError, match=r"objective must be an Method.*l2r\(\)"):
        famus.reweighter(FORWARD, objective, famus.all_layers(), learning_rate=0.1)


@pytest.mark.parametrize("estimator", ["exact", famus.exact])
def test_an_estimator_by_name_is_refused(estimator):
    with pytest.raises(ValueError, match=r"estimator must be an Estimator.*exact\(\)"):
        famus.reweighter(FORWARD, famus.l2r(), estimator, learning_rate=0.1)


def test_one_group_may_be_a_string():
    assert famus.named_layers("head") == famus.named_layers(("head",))


def test_shared_numpy_leaves_are_refused():
    shared = np.ones((3, 3), np.float32)
    groups = famus.layers_by({"a": shared, "b": shared}, {"a": 0, "b": 1})
    problem = famus.Problem(FORWARD, famus.mwnet(), lambda o, b: o.mean(), groups)
    with pytest.raises(ValueError, match="'a' and 'b' are the same array"):
        famus.init_state(problem, famus.all_layers(), KEY, {"a": shared, "b": shared}, 6, 4)


def test_a_carried_stationary_objective_is_refused():
    objective = famus.mwnet()._replace(zero_virtual_step=True)
    with pytest.raises(ValueError, match="fresh=True or zero_virtual_step=False"):
        weigh(objective)


@pytest.mark.slow
def test_coast_is_ignored_unless_asked_for():
    """Fails if a frozen look-ahead moves by a coast that was passed along."""
    estimator = famus.last_layers(1, virtual_step="active")
    r = famus.reweighter(FORWARD, famus.l2r(), estimator, learning_rate=0.1)
    state = r.init(KEY, PARAMS, {}, BATCH, META)
    plain, _, _ = r(state, PARAMS, {}, BATCH, META)
    given, _, _ = r(
        state, PARAMS, {}, BATCH, META, descend=lambda g: jax.tree.map(lambda x: x + 1.0, PARAMS)
    )
    np.testing.assert_array_equal(plain, given)


def test_another_batch_size_is_refused_by_the_transformation():
    """Its state holds a weight per example, whose shape must not change."""
    tx = famus.reweight(
        FORWARD,
        famus.l2r(),
        famus.last_layers(1),
        learning_rate=0.1,
        key=KEY,
        batch=BATCH,
        meta_batch=META,
    )
    state = tx.init(PARAMS)
    small = jax.tree.map(lambda x: x[:5], BATCH)
    with pytest.raises(ValueError, match=r"sizes \(6, 4\); got \(5, 4\).*smaller batch"):
        tx.update(None, state, PARAMS, batch=small, meta_batch=META)


def test_nothing_of_the_callers_is_donated():
    """θ0 of a warm start and parameters kept by an optimiser survive. Fails if init keeps aliases."""
    start = famus.mwnet().init(KEY, 6)
    objective = famus.mwnet()._replace(init=lambda key, n: start)
    anchor = optax.GradientTransformation(lambda params: params, lambda g, s, p=None: (g, s))
    step = training(famus.all_layers(), objective, optax.chain(anchor, optax.sgd(0.1)))
    for seed in (0, 1):
        state = step.init(jax.random.key(seed), PARAMS, {}, BATCH, META)
        state, _, _ = step(state, BATCH, META)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((PARAMS, start)))


@pytest.mark.slow
def test_the_queue_survives_a_failed_step():
    """After an exception, the same state goes on with the cut that its queue says."""
    gates = famus.learned_gates("paper", target=1.0, lag=2, hidden=4)
    step = training(gates)
    state = step.init(KEY, PARAMS, {}, BATCH, META)
    state, _, _ = step(state, BATCH, META)
    with pytest.raises(ValueError, match="leading size"):
        step(state, {**BATCH, "label": BATCH["label"][:3]}, META)
    for _ in range(4):
        expected = int(state.meta.gates.branches[0])
        state, info, _ = step(state, BATCH, META)
        assert int(info.branch) == expected


def test_exploring_is_in_the_budget():
    """One step in N pays for the lowest cut: (1 − 1/N) E + c_0 / N, by hand."""
    groups = famus.layers_by(PARAMS, {"body": 0, "head": 1})
    plain = famus.LearnedGates(penalty="budget", target=2.0, head_open=True)
    some = famus.LearnedGates(penalty="budget", target=2.0, head_open=True, explore_every=4)
    chance = jnp.asarray([0.3, 1.0])
    expected = 2.0 + 0.3 * (3.0 - 2.0)
    np.testing.assert_allclose(plain.expected_cost(chance, groups, (3.0, 2.0)), expected, rtol=1e-6)
    np.testing.assert_allclose(
        some.expected_cost(chance, groups, (3.0, 2.0)), 0.75 * expected + 0.25 * 3.0, rtol=1e-6
    )
