"""The training batch in micro-batches: the same numbers in less memory."""

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
    all_layers,
    last_layers,
    layers_by,
    learned_gates,
    random_depth,
    reweighter,
    second_order,
    train_step,
)
from famus_jax.core.programs import Program
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update
from famus_jax.differentiate.linearize import linearize
from famus_jax.differentiate.micro_batches import _shuffled, micro_batched

ALPHA, BETA, N, M = 0.4, 0.5, 10, 4
tree_map = jax.tree.map


def layer_number(path):
    return int(path[5])


close = ref.assert_close


METHODS = {
    "sum": (
        famus_jax.mwnet(hidden=7, start="random", monotone=False, meta_optimizer=optax.sgd(BETA)),
        ref.mwnet("sum"),
    ),
    "n": (
        famus_jax.mwnet(
            hidden=7, start="random", monotone=False, normalize="n", meta_optimizer=optax.sgd(BETA)
        ),
        ref.mwnet("n"),
    ),
    "l2r": (famus_jax.l2r()._replace(init=lambda key, n: jnp.zeros(n)), ref.l2r()),
}


def setting(method, micro_batches):
    """(problem, point); call inside x64."""
    params = ref.mlp_params(jax.random.key(1))
    groups = layers_by(params, layer_number)
    meta_loss = famus_jax.mean_of(famus_jax.losses.softmax_cross_entropy)
    problem = Problem(ref.mlp, METHODS[method][0], meta_loss, groups, None, micro_batches)
    batch, meta_batch = ref.classification_batch(2, N), ref.classification_batch(3, M)
    return problem, Inputs(params, {}, jax.random.key(9), batch, meta_batch, ALPHA)


def start(problem, estimator, point):
    state = init_state(problem, estimator, jax.random.key(0), point.params, N, M)
    if problem.method.reset_each_batch:
        return state
    theta = ref.mwnet_theta(jax.random.key(5))
    return state._replace(theta=theta, opt_state=problem.method.meta_optimizer.init(theta))


def updated(method, estimator, micro_batches, variant=None):
    problem, point = setting(method, micro_batches)
    state = start(problem, estimator, point)
    return jax.jit(lambda s: meta_update(problem, estimator, s, point, program=variant))(state)


@functools.cache
def by_definition(method, virtual_step, active):
    """θ', weights and gradient on the whole batch, from the equations."""
    _, point = setting(method, 1)
    objective = METHODS[method][1]
    kind = "frozen" if virtual_step == "active" else "full"
    flags = {f"layer{i}": float(i in active) for i in range(3)}
    loss = ref.mean_loss(ref.cross_entropy)
    args = (ref.mlp, objective, loss, *point[:6], flags, kind)
    theta = jnp.zeros(N) if method == "l2r" else ref.mwnet_theta(jax.random.key(5))
    gradient = jax.grad(ref.l_val)(theta, *args)
    if method == "l2r":
        new = weights = jnp.asarray(ref.l2r_weights(gradient))
    else:
        new = tree_map(lambda t, g: t - BETA * g, theta, gradient)
        used = theta if virtual_step == "actual" else new
        losses = ref.cross_entropy(ref.mlp(point.params, {}, None, point.batch)[0], point.batch)
        weights = ref.mwnet_weights(used, losses, method)
    used = theta if virtual_step == "actual" else new
    step = ref.training_gradient(ref.mlp, objective, point.params, used, {}, None, point.batch)
    return new, weights, step


CASES = [
    *[("sum", virtual_step, k) for virtual_step in ("all", "active", "actual") for k in (1, 3)],
    ("n", "all", 3),
    ("n", "active", 1),
    ("l2r", "all", 3),
    ("l2r", "active", 1),
]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("count", [5, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("method", "virtual_step", "k"), CASES)
def test_equal_to_the_definition_on_the_whole_batch(method, virtual_step, k, count):
    """θ', weights and gradient, float64.

    Fails if weights are normalized per micro-batch, if gradients are averaged instead of summed, or
    if the pieces of J d come back in another order.
    """
    update = updated(method, last_layers(k, virtual_step=virtual_step), count)
    theta, weights, gradient = by_definition(method, virtual_step, tuple(range(3))[3 - k :])
    if method != "l2r":
        close(update.state.theta, theta)
    close(update.info.weights, weights)
    close(update.gradient, gradient)
    _, point = setting(method, 1)
    close(update.outputs, ref.mlp(point.params, {}, None, point.batch)[0])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize(
    ("route", "rtol"), [("vjp", 1e-9), ("finite_difference", 1e-6), ("darts", 1e-6)]
)
def test_routes(route, rtol, count):
    """L2R, on which all routes agree. Fails if each micro-batch takes a difference of its own length,
    or a product per layer is run on the first one only."""
    update = updated("l2r", all_layers(route=route, epsilon=1e-5), count)
    _, weights, gradient = by_definition("l2r", "all", (0, 1, 2))
    close(update.info.weights, weights, rtol)
    close(update.gradient, gradient, rtol)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("estimator", "variant"),
    [
        pytest.param(
            learned_gates("paper", target=2, lag=1, hidden=6), None, marks=pytest.mark.slow
        ),
        pytest.param(
            learned_gates("paper", target=2, lag=1, hidden=6, virtual_step="active"),
            Program(index=0),
            marks=pytest.mark.slow,
        ),
        (random_depth(0.5), Program(index=0)),
        (last_layers(1, update_every=2), Program(meta=False)),
        (last_layers(1, control_variate_every=2), Program(renews=True)),
    ],
    ids=lambda x: getattr(x, "label", ""),
)
def test_other_estimators(estimator, variant):
    """As with one micro-batch, which other tests compare with the definition: state, info, gradient.

    Fails if gates see the pooled gradient of a part, or a variant ignores the micro-batches' order.
    """
    one, five = (updated("sum", estimator, count, variant) for count in (1, 5))

    def floats(tree):
        leaves = jax.tree.leaves(tree)
        return [x for x in leaves if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)]

    close(floats(five.state), floats(one.state), 2e-6)  # samplers are float32
    close(floats(five.info), floats(one.info), 2e-6)
    close(five.gradient, one.gradient)


@pytest.mark.usefixtures("x64")
def test_part_in_micro_batches():
    """Eight of ten examples in two micro-batches of four; fails if the part is cut from the wrong end
    or the refusal looks at the whole batch only."""
    estimator = all_layers(examples=8)
    one, two = (updated("sum", estimator, count) for count in (1, 2))
    close(two.state.theta, one.state.theta)
    close(two.gradient, one.gradient)


@pytest.mark.usefixtures("x64")
def test_running_statistics():
    """BatchNorm's move once per micro-batch, each normalized by itself, as documented; by hand.

    Fails if only the last micro-batch's, or those of the start, are kept.
    """
    params, model_state = ref.bn_params(jax.random.key(1))
    problem, point = setting("sum", 2)
    problem = problem._replace(forward=ref.bn_mlp, layers=layers_by(params, layer_number))
    point = point._replace(params=params, model_state=model_state)
    state = start(problem, all_layers(), point)
    update = jax.jit(lambda s: meta_update(problem, all_layers(), s, point))(state)
    outputs, expected = np.zeros((N, 3)), model_state
    order = np.arange(0, N, 2)[:, None] + np.asarray(_shuffled(N // 2, 2))
    for half in order.T:
        outputs[half], expected = ref.bn_mlp(
            params, expected, None, tree_map(lambda x, h=half: x[h], point.batch)
        )
    close(update.model_state, expected)
    close(update.outputs, outputs)


def test_a_micro_batch_is_no_class():
    """Eight classes in turn, in eight micro-batches: none is of one class alone, as the forward pass
    sees it, and the outputs come back in the batch's order.

    Fails if micro-batch i is every eighth example.
    """
    n, count = 64, 8
    label = jnp.arange(n) % count
    layers = layers_by({"w": jnp.ones(())}, lambda path: 0)

    def forward(params, model_state, rng, batch):
        seen = jax.nn.one_hot(batch["label"], count).sum(0)
        row = model_state["row"]
        state = {"seen": model_state["seen"].at[row].set(seen), "row": row + 1}
        return params["w"] * batch["label"].astype(jnp.float32)[:, None], state

    state = {"seen": jnp.zeros((count, count)), "row": jnp.int32(0)}
    how = micro_batched(linearize, count)
    lin = how(forward, {"w": jnp.ones(())}, state, None, {"label": label}, layers)
    np.testing.assert_array_equal(lin.f[0][:, 0], label)
    seen = np.asarray(lin.model_state["seen"])  # [micro-batch, class]
    np.testing.assert_array_equal(seen.sum(0), [8] * count)
    assert (seen > 0).sum(1).min() >= 3


def products_are_of_the_outputs(at, params, layers):
    """Pull and push along a direction, both against a difference of the outputs."""
    c = [jnp.asarray(np.random.default_rng(0).normal(size=(N, 3)))]
    v = tree_map(lambda w: jnp.asarray(np.random.default_rng(1).normal(size=w.shape)), params)
    h = 1e-6
    plus, minus = (at(tree_map(lambda w, x, s=s: w + s * h * x, params, v)).f[0] for s in (1, -1))
    slope = float(jnp.vdot(c[0], (plus - minus) / (2 * h)))
    lin = at(params)
    pulled = sum(float(jnp.vdot(a, b)) for a, b in zip(*map(jax.tree.leaves, (lin.vjp(c), v))))
    pushed = float(jnp.vdot(c[0], lin.jvp(layers.part(v, layers.all), layers.all)[0]))
    assert pulled == pytest.approx(slope, rel=1e-6)
    assert pushed == pytest.approx(slope, rel=1e-6)


@pytest.mark.usefixtures("x64")
def test_random_state_in_the_model():
    """Dropout whose random stream lives in the model state, as in NNX: the gradient is that of the
    outputs, by a difference of the loss that they give.

    Fails if the products see other masks than the outputs (all of them the first micro-batch's).
    """
    params = ref.mlp_params(jax.random.key(1))
    layers = layers_by(params, layer_number)
    batch = ref.classification_batch(2, N)

    def forward(params, model_state, rng, batch):
        outputs, _ = ref.dropout_mlp(params, {}, jax.random.key(model_state["count"]), batch)
        return outputs, {"count": model_state["count"] + 1}

    how = micro_batched(linearize, 5)

    def at(params):
        return how(forward, params, {"count": jnp.int32(3)}, None, batch, layers)

    products_are_of_the_outputs(at, params, layers)
    assert int(at(params).model_state["count"]) == 3 + 5


@pytest.mark.usefixtures("x64")
def test_dropout_keys_of_the_products():
    """Dropout by the key that the forward pass is given: both products are those of the outputs, by a
    difference of them. Fails if a product's micro-batch has another one's key, hence other masks."""
    params = ref.mlp_params(jax.random.key(1))
    layers = layers_by(params, layer_number)
    batch, key = ref.classification_batch(2, N), jax.random.key(4)
    how = micro_batched(linearize, 5)

    def at(params):
        return how(ref.dropout_mlp, params, {}, key, batch, layers)

    products_are_of_the_outputs(at, params, layers)


# --- memory -------------------------------------------------------------------------------------

WIDTH, WIDE_N = 16, 256
# A bare `lax.scan` over four micro-batches of this network's gradient needs 0.29 of one batch's memory.
BOUND = 0.45


def wide(params, model_state, rng, batch):
    """Narrow parameters and wide activations: memory is all activations."""
    h = batch["x"]
    for name in ("layer0", "layer1", "layer2"):
        h = jnp.tanh(h @ params[name]["w"])
    return h.mean(1) @ params["layer3"]["w"], model_state


@functools.cache
def peak(estimator, micro_batches):
    """Temporary memory of the compiled step in bytes."""
    shapes = {f"layer{i}": (WIDTH, WIDTH) for i in range(3)} | {"layer3": (WIDTH, 3)}
    params = {name: {"w": jnp.ones(shape, jnp.float32)} for name, shape in shapes.items()}

    def examples(n):
        x = jnp.ones((n, 64, WIDTH), jnp.float32)
        return {"x": x, "label": jnp.zeros(n, jnp.int32)}

    batch, meta_batch = examples(WIDE_N), examples(8)
    problem = famus_jax.problem(
        wide,
        famus_jax.mwnet(hidden=3, start="random", monotone=False),
        layers=layers_by(params, layer_number),
        micro_batches=micro_batches,
    )
    step = train_step(problem, optax.sgd(0.1), estimator, step_size=0.1)
    state = step.init(jax.random.key(0), params, (), batch, meta_batch)
    return step.lower(state, batch, meta_batch).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(
    "estimator",
    [all_layers(), last_layers(1, virtual_step="active"), last_layers(2, virtual_step="actual")],
    ids=lambda estimator: estimator.label,
)
def test_memory(estimator):
    """Four micro-batches need less than BOUND of the memory of one, eight less than four.

    Fails if XLA merges the passes, runs two micro-batches at a time or keeps all residuals.
    """
    one, four, eight = (peak(estimator, count) for count in (1, 4, 8))
    assert four < BOUND * one
    assert eight < four


# --- refusals -----------------------------------------------------------------------------------


def refuse(micro_batches, estimator=None, forward=ref.mlp):
    params = ref.mlp_params(jax.random.key(1), dtype=jnp.float32)
    batch = ref.classification_batch(2, N, dtype=jnp.float32)
    meta_batch = ref.classification_batch(3, M, dtype=jnp.float32)
    problem = famus_jax.problem(
        forward,
        famus_jax.mwnet(),
        layers=layers_by(params, layer_number),
        micro_batches=micro_batches,
    )
    weigh = reweighter(problem, estimator or all_layers(), step_size=0.1)
    state = weigh.init(jax.random.key(0), params, {}, batch, meta_batch)
    jax.eval_shape(lambda s: weigh.update(s, params, {}, batch, meta_batch), state)


def scalar_output(params, model_state, rng, batch):
    outputs, model_state = ref.mlp(params, model_state, rng, batch)
    return {"logits": outputs, "penalty": outputs.sum()}, model_state


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: refuse(3), r"micro_batches=3 must divide the batch size 10"),
        (lambda: refuse(0), r"micro_batches must be a whole number of at least 1; got 0"),
        (
            lambda: refuse(2, all_layers(examples=5)),
            r"micro_batches=2 must divide the number of examples.*meta gradient.*5",
        ),
        (
            lambda: refuse(2, second_order()),
            r"micro_batches=2 would spare nothing\. Use all_layers\(\)",
        ),
        (
            lambda: refuse(2, forward=scalar_output),
            r"micro_batches=2 needs outputs with a leading batch axis of 5; got shapes.*\(\)",
        ),
    ],
)
def test_refused(make, message):
    """The message names the value and the way out."""
    with pytest.raises(ValueError, match=message):
        make()
