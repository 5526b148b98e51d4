"""The look-ahead through the real optimizer, against its update written out by hand and differentiated
as defined; and which optimizers couple layer groups."""

import itertools

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
    fused_meta_gradient,
    last_layers,
    layers_by,
    layerwise_meta_gradient,
    named_layers,
    second_order,
    second_order_meta_gradient,
    train_step,
)
from famus_jax.core.dependence import coupled_layers
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update

RATE, BETA, N = 0.1, 0.5, 5
NAMES = ("layer0", "layer1", "layer2")
tree_map = jax.tree.map


def layer_number(path):
    return int(path[5])


close = ref.assert_close


# --- optimizers by hand: rule(g, w, memory, t) -> (update, memory), leaf by leaf, t = 1, 2, ... ---


def momentum(g, w, memory, t):
    (m,) = memory
    m = 0.9 * m + g + 0.05 * w
    return -RATE * m, (m,)


def nesterov(g, w, memory, t):
    (m,) = memory
    m = 0.9 * m + g
    return -RATE * (g + 0.9 * m), (m,)


def adam(g, w, memory, t, decay=0.0):
    m, s = memory
    m, s = 0.9 * m + 0.1 * g, 0.99 * s + 0.01 * g**2
    m_hat, s_hat = m / (1 - 0.9**t), s / (1 - 0.99**t)
    return -RATE * (m_hat / (jnp.sqrt(s_hat + 1e-4) + 1e-3) + decay * w), (m, s)


def adamw(g, w, memory, t):
    return adam(g, w, memory, t, decay=0.3)


def rmsprop(g, w, memory, t):
    (s,) = memory
    s = 0.8 * s + 0.2 * g**2
    return -RATE * g / jnp.sqrt(s + 1e-3), (s,)


ADAM = {"b1": 0.9, "b2": 0.99, "eps": 1e-3, "eps_root": 1e-4}
OPTIMIZERS = {
    "momentum": (
        optax.chain(optax.add_decayed_weights(0.05), optax.sgd(RATE, momentum=0.9)),
        momentum,
        1,
    ),
    "nesterov": (optax.sgd(RATE, momentum=0.9, nesterov=True), nesterov, 1),
    "adam": (optax.adam(RATE, **ADAM), adam, 2),
    "adamw": (optax.adamw(RATE, **ADAM, weight_decay=0.3), adamw, 2),
    "rmsprop": (optax.rmsprop(RATE, decay=0.8, eps=1e-3), rmsprop, 1),
}


def by_hand(rule, slots, params, history):
    """`gradient -> update` after the steps of `history`, and the parameters they led to."""
    leaves, treedef = jax.tree.flatten(params)
    memory = [(jnp.zeros_like(w),) * slots for w in leaves]
    for t, gradient in enumerate(history, 1):
        steps = [
            rule(g, w, m, t)
            for g, w, m in zip(jax.tree.leaves(gradient), leaves, memory, strict=True)
        ]
        leaves = [w + update for w, (update, _) in zip(leaves, steps, strict=True)]
        memory = [m for _, m in steps]

    def descend(gradient):
        triples = zip(jax.tree.leaves(gradient), leaves, memory, strict=True)
        updates = [rule(g, w, m, len(history) + 1)[0] for g, w, m in triples]
        return jax.tree.unflatten(treedef, updates)

    return descend, jax.tree.unflatten(treedef, leaves)


def steps_of(tx, params, history):
    """The same by optax."""
    state = tx.init(params)
    for gradient in history:
        updates, state = tx.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return (lambda gradient: tx.update(gradient, state, params)[0]), params


def setting(optimizer, method="mwnet", network="batchnorm"):
    """(problem, theta, point, arguments of the reference), three real steps into training."""
    start, model_state = ref.bn_params(jax.random.key(1))
    forward = ref.bn_mlp
    if network == "mlp":
        forward, start, model_state = ref.mlp, ref.mlp_params(jax.random.key(1)), {}
    rng = np.random.default_rng(8)
    history = [tree_map(lambda w: jnp.asarray(rng.normal(size=w.shape)), start) for _ in range(3)]
    tx, rule, slots = OPTIMIZERS[optimizer]
    descend, params = steps_of(tx, start, history)
    definition, expected_params = by_hand(rule, slots, start, history)
    close(params, expected_params)
    if method == "mwnet":
        objective, reference_objective = (
            famus_jax.mwnet(hidden=7, start="random", monotone=False),
            ref.mwnet("sum"),
        )
        theta = ref.mwnet_theta(jax.random.key(5))
    else:
        objective, reference_objective = famus_jax.l2r(), ref.l2r()
        objective = objective._replace(init=lambda key, n: jnp.zeros(n))
        theta = jnp.zeros(N)
    objective = objective._replace(meta_optimizer=optax.sgd(BETA))
    meta_loss = famus_jax.mean_of(famus_jax.losses.softmax_cross_entropy)
    problem = Problem(forward, objective, meta_loss, layers_by(params, layer_number))
    batch, meta_batch = ref.classification_batch(2, N), ref.classification_batch(3, 4)
    # α is no part of this look-ahead: a wrong one must not matter.
    point = Inputs(params, model_state, jax.random.key(9), batch, meta_batch, 77.0, descend)
    args = (forward, reference_objective, ref.mean_loss(ref.cross_entropy), params, model_state)
    return problem, theta, point, (*args, point.rng, batch, meta_batch, definition)


HOW = {
    "full": {"virtual_step": "all"},
    "frozen": {"virtual_step": "active"},
}


def flags(active):
    return {name: float(i in active) for i, name in enumerate(NAMES)}


def optimizers_and_kinds():
    """All of both; slow: all but one that keeps two moments and decays."""
    for optimizer, kind in itertools.product(OPTIMIZERS, HOW):
        quick = (optimizer, kind) in (("adamw", "frozen"),)
        yield pytest.param(optimizer, kind, marks=[] if quick else pytest.mark.slow)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("optimizer", "kind"), list(optimizers_and_kinds()))
def test_three_forms_equal_the_definition(optimizer, kind):
    """Layerwise, fused and second order for subsets of groups, in the middle of training, BatchNorm.

    Fails if the way back is taken at zero gradient or at a fresh state, if the optimizer's sign or
    rate is applied twice, if decay is lost, or if a closed layer moves.
    """
    problem, theta, point, args = setting(optimizer)
    oracle = jax.jit(
        jax.value_and_grad(lambda theta, active: ref.l_val_through(theta, *args, active, kind))
    )
    how = {**HOW[kind], "through_optimizer": True}
    for active in [(2,), (0, 1, 2)] if kind == "full" else [(0, 2)]:

        def forms(theta, active=active):
            parts = layerwise_meta_gradient(problem, theta, point, active=active, **how)
            fused = fused_meta_gradient(problem, theta, point, active=active, **how)
            second = second_order_meta_gradient(problem, theta, point, active=active, **how)
            return parts, fused, second

        parts, fused, (value, second) = jax.jit(forms)(theta)
        expected_value, expected = oracle(theta, flags(active))
        assert list(parts) == [NAMES[i] for i in active]
        close(tree_map(lambda *x: sum(x), *parts.values()), expected)
        close(fused, expected)
        close(second, expected)
        close(value, expected_value)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_each_part_is_its_group_alone(optimizer):
    """Part l is the gradient through group l alone. Fails if the way back mixes up groups."""
    problem, theta, point, args = setting(optimizer)
    parts = jax.jit(lambda t: layerwise_meta_gradient(problem, t, point, through_optimizer=True))(
        theta
    )
    oracle = jax.jit(jax.grad(lambda theta, active: ref.l_val_through(theta, *args, active)))
    for i, name in enumerate(NAMES):
        close(parts[name], oracle(theta, flags([i])))


ESTIMATORS = [
    (last_layers(1, through_optimizer=True), (2,), "full"),
    (named_layers("layer0", "layer2", through_optimizer=True, route="vjp"), (0, 2), "full"),
    (all_layers(through_optimizer=True, virtual_step="actual"), (0, 1, 2), "full"),
    (last_layers(2, through_optimizer=True, virtual_step="actual"), (1, 2), "full"),
    (named_layers("layer1", through_optimizer=True, virtual_step="active"), (1,), "frozen"),
    (last_layers(1, through_optimizer=True, route="second_order"), (2,), "full"),
]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("estimator", "active", "kind"),
    [
        pytest.param(*case, marks=[] if i in (1, 4) else pytest.mark.slow)
        for i, case in enumerate(ESTIMATORS)
    ],
    ids=lambda x: str(x)[:0],
)
def test_mwnet_update(estimator, active, kind):
    """One whole update: θ', weights, L_val, and the actual gradient (which the optimizer has not
    touched). Fails if the actual step gets the optimizer's update, or one-pass uses the new θ."""
    problem, theta, point, args = setting("adam")
    state = init_state(problem, estimator, jax.random.key(0), point.params, N, 4)
    state = state._replace(theta=theta, opt_state=problem.method.meta_optimizer.init(theta))
    update = jax.jit(lambda s: meta_update(problem, estimator, s, point))(state)
    value, gradient = jax.jit(
        jax.value_and_grad(lambda theta: ref.l_val_through(theta, *args, flags(active), kind))
    )(theta)
    new_theta = tree_map(lambda t, g: t - BETA * g, theta, gradient)
    close(update.state.theta, new_theta)
    close(update.info.meta_loss, value)
    used = theta if estimator.virtual_step == "actual" else new_theta
    w, model_state, rng, batch = point[:4]
    outputs, _ = ref.bn_mlp(w, model_state, rng, batch)
    close(update.info.weights, ref.mwnet_weights(used, ref.cross_entropy(outputs, batch), "sum"))
    close(
        update.gradient,
        ref.training_gradient(ref.bn_mlp, ref.mwnet("sum"), w, used, model_state, rng, batch),
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", HOW)
@pytest.mark.parametrize("optimizer", [pytest.param("momentum", marks=pytest.mark.slow), "adamw"])
def test_l2r(optimizer, kind):
    """At ε = 0 the optimizer still moves by momentum and decay: L2R is judged there.

    Fails if the look-ahead stays at w because T is 0, or the way back is α v.
    """
    problem, theta, point, args = setting(optimizer, "l2r")
    estimator = last_layers(2, through_optimizer=True, **HOW[kind])
    state = init_state(problem, estimator, jax.random.key(0), point.params, N, 4)
    update = jax.jit(lambda s: meta_update(problem, estimator, s, point))(state)
    value, gradient = jax.jit(
        jax.value_and_grad(lambda e: ref.l_val_through(e, *args, flags((1, 2)), kind))
    )(theta)
    close(update.info.meta_loss, value)
    close(update.info.weights, -BETA * gradient)


@pytest.mark.slow
def test_train_step_hands_the_state_on():
    """`train_step` looks ahead with the momentum that it has by then, float32.

    Fails if `descend` sees the optimizer's first state, or the updated one.
    """
    params = ref.mlp_params(jax.random.key(1), dtype=jnp.float32)
    tx = optax.sgd(RATE, momentum=0.9)
    batch = ref.classification_batch(2, N, dtype=jnp.float32)
    meta_batch = ref.classification_batch(3, 4, dtype=jnp.float32)
    # A step of θ in the third update that is far above float32's rounding of θ itself.
    beta = 1e3
    meta_optimizer = optax.sgd(lambda t: jnp.where(t < 2, 1e-3, beta))
    objective = famus_jax.mwnet(
        hidden=7, start="random", monotone=False, meta_optimizer=meta_optimizer
    )
    problem = famus_jax.problem(ref.mlp, objective)
    step = train_step(problem, tx, all_layers(through_optimizer=True), step_size=RATE)
    state = step.init(jax.random.key(0), params, {}, batch, meta_batch)
    for _ in range(2):
        state, _ = step(state, batch, meta_batch)
    before = tree_map(jnp.copy, state)
    state, info = step(state, batch, meta_batch)
    trace = optax.tree.get(before.opt_state, "trace")

    def descend(gradient):
        return tree_map(lambda g, m: -RATE * (0.9 * m + g), gradient, trace)

    assert max(float(jnp.abs(m).max()) for m in jax.tree.leaves(trace)) > 0.1
    args = (ref.mlp, ref.mwnet("sum"), ref.mean_loss(ref.cross_entropy), before.params, {}, None)
    value, gradient = jax.value_and_grad(ref.l_val_through)(
        before.meta.theta, *args, batch, meta_batch, descend, flags((0, 1, 2))
    )
    assert float(info.meta_loss) == pytest.approx(float(value), rel=1e-5)
    for new, old, g in zip(
        *map(jax.tree.leaves, (state.meta.theta, before.meta.theta, gradient)), strict=True
    ):
        np.testing.assert_allclose(old - new, beta * g, atol=2e-3 * float(jnp.abs(beta * g).max()))


# --- coupling ------------------------------------------------------------------------------------


COUPLING = {
    "sgd": (optax.sgd(RATE, momentum=0.9, nesterov=True), False),
    "adamw": (optax.adamw(RATE), False),
    "clip": (optax.chain(optax.clip(0.1), optax.sgd(RATE)), False),
    "lamb": (optax.lamb(RATE), False),
    "lars": (optax.lars(RATE), False),
    "block_rms": (optax.chain(optax.clip_by_block_rms(0.1), optax.sgd(RATE)), False),
    "adaptive_clip": (optax.chain(optax.adaptive_grad_clip(0.01), optax.sgd(RATE)), False),
    "adafactor": (optax.adafactor(RATE, min_dim_size_to_factor=2), False),
    "lion": (optax.lion(RATE), False),
    "schedule": (optax.adam(optax.cosine_decay_schedule(RATE, 10)), False),
    "masked": (optax.masked(optax.sgd(RATE), lambda w: tree_map(lambda x: x.ndim > 1, w)), False),
    "norm": (optax.chain(optax.normalize_by_update_norm(), optax.sgd(RATE)), True),
    "global_norm": (optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(RATE)), True),
    "adam_then_norm": (
        optax.chain(optax.scale_by_adam(), optax.clip_by_global_norm(0.1), optax.scale(-RATE)),
        True,
    ),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", COUPLING)
def test_coupled_groups(name):
    """Against the numbers: whether changing one group's gradient changes another group's update.

    Fails if per-leaf trust ratios are taken for coupled, or a norm inside a jitted helper is missed.
    """
    tx, expected = COUPLING[name]
    params = ref.mlp_params(jax.random.key(1))
    groups = layers_by(params, layer_number)
    rng = np.random.default_rng(3)
    gradient = tree_map(lambda w: jnp.asarray(rng.normal(size=w.shape)), params)
    _, opt_state = tx.update(gradient, tx.init(params), params)

    def descend(gradient):
        return tx.update(gradient, opt_state, params)[0]

    compiled = jax.jit(descend)
    base, pairs = compiled(gradient), set()
    for source, target in itertools.permutations(NAMES, 2):
        changed = compiled({**gradient, source: tree_map(lambda g: 1.5 * g, gradient[source])})
        same = tree_map(lambda a, b: bool((a == b).all()), changed[target], base[target])
        if not all(jax.tree.leaves(same)):
            pairs.add((target, source))
    assert bool(pairs) == expected  # the test's own premise
    found = coupled_layers(descend, params, groups)
    assert found in pairs if expected else found is None


def test_coupling_names_the_pair():
    """A rule that couples two of three groups; fails if the direction is turned round."""
    params = ref.mlp_params(jax.random.key(1), dtype=jnp.float32)
    groups = layers_by(params, layer_number)

    def descend(g):
        return {**g, "layer1": tree_map(lambda x: x * g["layer2"]["w"].sum(), g["layer1"])}

    assert coupled_layers(descend, params, groups) == ("layer1", "layer2")
    assert coupled_layers(lambda g: tree_map(jnp.zeros_like, g), params, groups) is None

    def compiled(g):  # the same inside jit and remat
        return jax.jit(jax.checkpoint(descend))(g)

    assert coupled_layers(compiled, params, groups) == ("layer1", "layer2")

    def harmless(g):
        return jax.jit(jax.checkpoint(lambda g: tree_map(jnp.tanh, g)))(g)

    assert coupled_layers(harmless, params, groups) is None


def clipped(point, largest):
    """Clipping by the global norm, by optax and by hand, at a norm that it clips."""
    tx = optax.chain(optax.clip_by_global_norm(largest), optax.sgd(RATE))

    def descend(gradient):
        norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradient)))
        return tree_map(
            lambda g: -RATE * g * jnp.where(norm < largest, 1.0, largest / norm), gradient
        )

    return (lambda g: tx.update(g, tx.init(point.params), point.params)[0]), descend


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "largest",
    [
        pytest.param(0.05, id="clips"),
        pytest.param(50.0, id="does not clip", marks=pytest.mark.slow),
    ],
)
def test_exact_through_clipping(largest):
    """With every group, clipping by the global norm is covered: three forms and `meta_update`.

    Fails if the way back takes the norm for a constant.
    """
    problem, theta, point, args = setting("momentum")
    descend, definition = clipped(point, largest)
    point = point._replace(optimizer_update=descend)
    gradient = jax.jit(
        jax.grad(lambda t: ref.l_val_through(t, *args[:-1], definition, flags((0, 1, 2))))
    )(theta)
    how = {"through_optimizer": True}
    parts = jax.jit(lambda t: layerwise_meta_gradient(problem, t, point, **how))(theta)
    close(tree_map(lambda *x: sum(x), *parts.values()), gradient)
    close(jax.jit(lambda t: fused_meta_gradient(problem, t, point, **how))(theta), gradient)
    close(
        jax.jit(lambda t: second_order_meta_gradient(problem, t, point, **how))(theta)[1], gradient
    )
    for estimator in (all_layers(**how), last_layers(3, **how)):
        state = init_state(problem, estimator, jax.random.key(0), point.params, N, 4)
        state = state._replace(theta=theta, opt_state=problem.method.meta_optimizer.init(theta))
        update = jax.jit(lambda s, e=estimator: meta_update(problem, e, s, point))(state)
        close(update.state.theta, tree_map(lambda t, g: t - BETA * g, theta, gradient))


def shapes_of_update(estimator, objective=None, descend=None, find=True):
    params = ref.mlp_params(jax.random.key(1), dtype=jnp.float32)
    batch = ref.classification_batch(2, N, dtype=jnp.float32)
    meta_batch = ref.classification_batch(3, 4, dtype=jnp.float32)
    meta_loss = famus_jax.mean_of(famus_jax.losses.softmax_cross_entropy)
    objective = objective or famus_jax.mwnet(hidden=7, start="random", monotone=False)
    problem = Problem(ref.mlp, objective, meta_loss, layers_by(params, layer_number))
    point = Inputs(params, {}, jax.random.key(0), batch, meta_batch, 0.1)
    if find:
        descend = clipped(point, 0.05)[0]
    state = init_state(problem, estimator, jax.random.key(0), params, N, 4)
    point = point._replace(optimizer_update=descend)
    return jax.eval_shape(lambda s: meta_update(problem, estimator, s, point), state)


@pytest.mark.parametrize(
    "estimator",
    [
        last_layers(1, through_optimizer=True),
        last_layers(2, through_optimizer=True, virtual_step="active"),
        named_layers("layer0", through_optimizer=True, virtual_step="actual"),
        named_layers("layer1", through_optimizer=True, route="second_order"),
        famus_jax.random_layers(2, through_optimizer=True),
        famus_jax.random_depth(through_optimizer=True),
        famus_jax.learned_gates("paper", target=2, lag=1, through_optimizer=True),
    ],
    ids=lambda estimator: estimator.label,
)
def test_subsets_refuse_coupling(estimator):
    """Fails if a subset's way back silently ignores what clipping does between groups."""
    message = (
        r"update of 'layer\d' depends on the gradient of 'layer\d'.*clipping by the global norm"
        r".*use all_layers\(through_optimizer=True\), or through_optimizer=False"
    )
    with pytest.raises(ValueError, match=message):
        shapes_of_update(estimator)


def test_coupling_does_not_matter_elsewhere():
    """Plain SGD virtual steps go with clipping; fails if they are refused as well."""
    for estimator in (last_layers(1), last_layers(1, virtual_step="active")):
        assert shapes_of_update(estimator).info.loss.shape == ()


@pytest.mark.parametrize(
    "estimator",
    [
        all_layers(through_optimizer=True),
        last_layers(1, through_optimizer=True, virtual_step="actual"),
        last_layers(1, through_optimizer=True, route="second_order"),
    ],
    ids=lambda estimator: estimator.label,
)
@pytest.mark.parametrize(
    "objective", [famus_jax.mwnet(hidden=7, start="random", monotone=False), famus_jax.l2r()]
)
def test_missing_descend(estimator, objective):
    """The message says what to pass. Fails if an SGD step is taken instead."""
    if objective.reset_each_batch and estimator.virtual_step == "actual":
        pytest.skip("refused for another reason")
    with pytest.raises(ValueError, match=r"pass optimizer_update=lambda g: optimizer\.update\("):
        shapes_of_update(estimator, objective, find=False)


def test_unknown_virtual_step():
    with pytest.raises(ValueError, match=r"virtual_step must be one of.*'adam'"):
        all_layers(virtual_step="adam")


# --- where an optimizer's formula has no derivative that automatic differentiation finds -------------


def black_corner(forward=None, width=4):
    """Batches whose last input is always 0, or without that input; the same network otherwise."""
    keys = jax.random.split(jax.random.key(0), 4)
    x, meta_x = (jax.random.normal(k, (n, 4)).at[:, 3].set(0) for k, n in zip(keys, (8, 4)))
    params = {
        "a": jax.random.normal(keys[2], (4, 6))[:width],
        "b": jax.random.normal(keys[3], (6, 3)),
    }
    batch = {"x": x[:, :width], "label": jnp.arange(8) % 3}
    meta_batch = {"x": meta_x[:, :width], "label": jnp.arange(4) % 3}
    return params, batch, meta_batch


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "dtype", "route"),
    [
        ("adam", "float32", "jvp"),
        ("rmsprop", "float64", "second_order"),
        *(
            pytest.param(name, dtype, route, marks=pytest.mark.slow)
            for name, dtype, route in (
                ("adam", "float64", "second_order"),
                ("adamw", "float32", "jvp"),
                ("adamw", "float64", "second_order"),
                ("rmsprop", "float32", "jvp"),
            )
        ),
    ],
)
def test_an_input_that_is_always_zero(name, dtype, route):
    """Adam with ε_root = 0 at the first step: θ's gradient is that of the network without the input.

    Fails if 0 · d√v/dv at v = 0 makes it NaN.
    """
    optimizer = getattr(optax, name)(1e-2, eps=1e-2)
    estimator = (second_order if route == "second_order" else all_layers)(through_optimizer=True)
    found = []
    for width in (4, 3):
        params, batch, meta_batch = black_corner(width=width)
        arrays = tree_map(
            lambda x: x.astype(dtype) if x.dtype == jnp.float64 else x, (params, batch, meta_batch)
        )
        params, batch, meta_batch = arrays
        forward = famus_jax.stateless_forward(lambda p, x: jnp.tanh(x @ p["a"]) @ p["b"], input="x")
        problem = famus_jax.problem(
            forward, famus_jax.mwnet(hidden=5, start="random", monotone=False)
        )
        weights_for = famus_jax.reweighter(problem, estimator, step_size=1e-2)
        state = weights_for.init(jax.random.key(1), params, (), batch, meta_batch)
        opt_state = optimizer.init(params)
        inputs = Inputs(
            params, (), None, batch, meta_batch, 1e-2,
            lambda g, o=opt_state, p=params: optimizer.update(g, o, p)[0],
        )  # fmt: skip
        info = jax.jit(lambda s, i=inputs, p=problem: meta_update(p, estimator, s, i).info)(state)
        found.append((float(info.theta_norm), np.asarray(info.weights)))
    (norm, weights), (norm_without, weights_without) = found
    assert norm > 0
    assert norm == pytest.approx(norm_without, rel=1e-3)
    np.testing.assert_allclose(weights, weights_without, rtol=1e-4)


@pytest.mark.usefixtures("x64")
def test_clipping_a_zero_gradient():
    """L2R's virtual gradient is 0, which clipping by the global norm leaves alone: its weights are
    those without clipping. Fails if the norm's derivative at 0 makes them NaN."""
    params, batch, meta_batch = black_corner()
    forward = famus_jax.stateless_forward(lambda p, x: jnp.tanh(x @ p["a"]) @ p["b"], input="x")
    problem = famus_jax.problem(forward, famus_jax.l2r())
    weights = []
    for optimizer in (
        optax.sgd(0.1),
        optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1)),
    ):
        train = famus_jax.train_step(
            problem, optimizer, all_layers(through_optimizer=True), step_size=0.1
        )
        state = train.init(jax.random.key(1), params, (), batch, meta_batch)
        weights.append(np.asarray(train(state, batch, meta_batch)[1].weights))
    assert weights[0].sum() == pytest.approx(1)
    np.testing.assert_allclose(weights[1], weights[0], rtol=1e-6)
