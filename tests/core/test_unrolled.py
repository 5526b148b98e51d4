"""A look-ahead of k steps against its definition in float64: k steps written out, and differentiated by
reverse mode over reverse mode."""

import jax
import jax.numpy as jnp
import optax
import pytest
import reference as ref

import famus_jax
from famus_jax import all_layers, look_ahead
from famus_jax.core.cost import step_cost
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update

N, M, ALPHA, SIZES = 8, 6, 0.3, (3, 4, 3)
META_OPTIMIZER = optax.sgd(1.0)
METHOD = famus_jax.mwnet(hidden=20, start="random", monotone=False, meta_optimizer=META_OPTIMIZER)
# Couples all parameters, has moments, and counts its steps.
OPTIMIZER = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.05, weight_decay=0.1))


@pytest.fixture(scope="module", autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def windows(k):
    batches = [ref.classification_batch(i, N) for i in range(k)]
    return jax.tree.map(lambda *x: jnp.stack(x), *batches), ref.classification_batch(99, M)


def definition(theta, params, model_state, window, meta_batch, opt_state):
    """∇_θ L_val after a step of the optimizer on every batch; SGD without its state."""

    def l_val(theta):
        w, s = params, opt_state
        for j in range(len(window["label"])):
            batch = jax.tree.map(lambda x, j=j: x[j], window)

            def loss(w, batch=batch):
                outputs, _ = ref.bn_mlp(w, model_state, None, batch)
                return METHOD.loss(theta, outputs, batch)[0]

            g = jax.grad(loss)(w)
            if s is None:
                w = jax.tree.map(lambda w, g: w - ALPHA * g, w, g)
            else:
                updates, s = OPTIMIZER.update(g, s, w)
                w = optax.apply_updates(w, updates)
        outputs, _ = ref.bn_mlp(w, model_state, None, meta_batch)
        return ref.mean_loss(ref.cross_entropy)(outputs, meta_batch)

    return jax.value_and_grad(l_val)(theta)


def start(problem, estimator, params):
    state = init_state(problem, estimator, jax.random.key(2), params, N, M)
    theta = jax.tree.map(lambda x: x.astype(jnp.float64), state.theta)
    return state._replace(theta=theta, opt_state=METHOD.meta_optimizer.init(theta))


def moved_opt_state(params):
    """An optimizer's state with something in it."""
    gradient = jax.tree.map(lambda x: 0.1 * jnp.cos(x), params)
    return OPTIMIZER.update(gradient, OPTIMIZER.init(params), params)[1]


ESTIMATORS = {
    "3": look_ahead(3),
    "SGD": look_ahead(2, through_optimizer=False),
    "reverse over reverse": look_ahead(2, route="second_order"),
}


SLOW = pytest.param("reverse over reverse", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", ["3", "SGD", SLOW])
def test_against_k_steps_written_out(name):
    """Fails if a step's curvature, the optimizer's state or its weight decay is left out on the way
    back, if steps come in another order, or if the last one's θ is not heard."""
    estimator = ESTIMATORS[name]
    params, model_state = ref.bn_params(jax.random.key(1), SIZES)
    window, meta_batch = windows(estimator.steps)
    opt_state = jax.jit(moved_opt_state)(params) if estimator.through_optimizer else None
    problem = famus_jax.problem(ref.bn_mlp, METHOD)
    state = start(problem, estimator, params)

    @jax.jit
    def step(state):
        optimizer = (OPTIMIZER.update, opt_state)
        inputs = famus_jax.Inputs(
            params, model_state, None, window, meta_batch, ALPHA, optimizer=optimizer
        )
        return meta_update(problem, estimator, state, inputs)

    new = step(state)
    value, expected = jax.jit(definition)(
        state.theta, params, model_state, window, meta_batch, opt_state
    )
    assert optax.tree.norm(expected) > 1e-6
    moved = jax.tree.map(jnp.subtract, state.theta, new.state.theta)
    ref.assert_close(moved, expected, rtol=1e-8)
    ref.assert_close(new.info.meta_loss, value)
    # The actual step is on the first batch alone, under θ'.
    first = jax.tree.map(lambda x: x[0], window)

    def loss(w):
        outputs, _ = ref.bn_mlp(w, model_state, None, first)
        return METHOD.loss(new.state.theta, outputs, first)[0]

    ref.assert_close(new.gradient, jax.jit(jax.grad(loss))(params))
    assert new.info.weights.shape == (N,)


def test_one_step_is_the_step_through_the_optimizer():
    """With dropout, and part of the parameters, in `train_step`: fails if the first step draws other
    masks than the actual one, or a frozen parameter moves ahead."""
    params = ref.mlp_params(jax.random.key(1), SIZES)
    window, meta_batch = windows(1)
    problem = famus_jax.problem(
        ref.dropout_mlp, METHOD, trainable=lambda path: not path.startswith("layer0")
    )
    optimizer = optax.sgd(
        0.3, momentum=0.9
    )  # Adam's first step hardly depends on the gradient's size
    states = []
    for estimator, batch in (
        (look_ahead(1), window),
        (all_layers(through_optimizer=True), jax.tree.map(lambda x: x[0], window)),
    ):
        train = famus_jax.train_step(problem, optimizer, estimator, step_size=ALPHA)
        state = train.init(jax.random.key(3), params, (), batch, meta_batch)
        states.append(train(state, batch, meta_batch)[0])
    ours, theirs = [(s.params, s.meta.theta, s.opt_state) for s in states]
    ref.assert_close(ours, theirs, rtol=1e-6)
    ref.assert_close(states[0].params["layer0"], params["layer0"], rtol=0, floor=0)


@pytest.mark.slow
def test_a_window_once_in_k_steps():
    """`update_every=k`: one look-ahead for k actual steps, each on the first batch of its window."""
    params, model_state = ref.bn_params(jax.random.key(1), SIZES)
    window, meta_batch = windows(3)
    problem = famus_jax.problem(ref.bn_mlp, METHOD)
    train = famus_jax.train_step(problem, OPTIMIZER, look_ahead(2, update_every=2), step_size=ALPHA)
    shown = [jax.tree.map(lambda x, i=i: x[i : i + 2], window) for i in (0, 1)]
    state = train.init(jax.random.key(3), params, model_state, shown[0], meta_batch)
    infos = []
    for pair in shown:
        state, info = train(state, pair, meta_batch)
        infos.append(info)
    assert [float(i.updated) for i in infos] == [1, 0]
    assert (
        float(infos[0].cost)
        == pytest.approx((7 + 3 * M / N) / 3 + 4)
        == step_cost("unrolled", 1.0, M / N, steps=2)
    )
    assert all(i.weights.shape == (N,) for i in infos)


@pytest.mark.parametrize(
    ("method", "estimator", "k", "how", "says"),
    [
        (METHOD, look_ahead(3), 2, {}, "holds? 3 batches.*lead with 2"),
        (famus_jax.l2r(), look_ahead(2), 2, {}, "starts θ anew for every batch"),
        (METHOD, look_ahead(2), 2, {"micro_batches": 2}, "micro_batches=1"),
    ],
    ids=["window", "l2r", "micro-batches"],
)
def test_refused(method, estimator, k, how, says):
    params, model_state = ref.bn_params(jax.random.key(1), SIZES)
    window, meta_batch = windows(k)
    problem = famus_jax.problem(ref.bn_mlp, method, **how)
    train = famus_jax.train_step(problem, OPTIMIZER, estimator, step_size=ALPHA)
    with pytest.raises(ValueError, match=says):
        train.init(jax.random.key(3), params, model_state, window, meta_batch)


def test_refused_choices():
    with pytest.raises(ValueError, match='set virtual_step="unrolled"'):
        all_layers(steps=2)
    with pytest.raises(ValueError, match="hears all layers and examples"):
        look_ahead(2, examples=4)
    with pytest.raises(ValueError, match="at least 1; got 0"):
        look_ahead(0)
