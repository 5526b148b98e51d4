"""The meta gradient on a part of the batch, and a cheap gradient with a control variate."""

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
    last_layers,
    layers_by,
    learned_gates,
    named_layers,
    random_depth,
    random_layers,
    second_order,
)
from famus_jax.core.examples import heard_rows
from famus_jax.core.programs import Program
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update

BETA, ALPHA, N = 0.5, 0.4, 6
NAMES = ("layer0", "layer1", "layer2")
EVERYTHING = dict.fromkeys(NAMES, 1.0)
tree_map = jax.tree.map


close = ref.assert_close


def setting():
    params, model_state = ref.bn_params(jax.random.key(1))
    groups = layers_by(params, lambda path: int(path[5]))
    objective = famus_jax.mwnet(
        hidden=7, start="random", monotone=False, meta_optimizer=optax.sgd(BETA)
    )
    meta_loss = famus_jax.mean_of(famus_jax.losses.softmax_cross_entropy)
    problem = Problem(ref.bn_mlp, objective, meta_loss, groups)
    batch, meta_batch = ref.classification_batch(2, N), ref.classification_batch(3, 4)
    return problem, Inputs(params, model_state, jax.random.key(9), batch, meta_batch, ALPHA)


def start(problem, estimator, point):
    theta = ref.mwnet_theta(jax.random.key(5))
    state = init_state(problem, estimator, jax.random.key(0), point.params, N, 4)
    correction = tree_map(jnp.zeros_like, theta) if estimator.control_variate_every else ()
    opt_state = problem.method.meta_optimizer.init(theta)
    return state._replace(theta=theta, opt_state=opt_state, control_variate=correction)


def meta_loss_of(point, rows=slice(None)):
    """(theta, active, kind) -> L_val by definition, the virtual step on some examples."""
    w, state, rng, batch, meta_batch, alpha, *_ = point
    batch = tree_map(lambda x: x[rows], batch)
    args = (ref.bn_mlp, ref.mwnet("sum"), ref.mean_loss(ref.cross_entropy), w, state, rng, batch)
    return lambda theta, active, kind: ref.l_val(theta, *args, meta_batch, alpha, active, kind)


def flags(names):
    return {name: float(name in names) for name in NAMES}


# --- a part of the batch --------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("estimator", "active", "kind", "size"),
    [
        (all_layers(examples=3), NAMES, "full", 3),
        pytest.param(all_layers(examples=4), NAMES, "full", 4, marks=pytest.mark.slow),
        pytest.param(all_layers(examples=3, route="vjp"), NAMES, "full", 3, marks=pytest.mark.slow),
        (second_order(examples=3), NAMES, "full", 3),
        (all_layers(examples=3, route="finite_difference", epsilon=1e-5), NAMES, "full", 3),
        pytest.param(last_layers(1, examples=2), ["layer2"], "full", 2, marks=pytest.mark.slow),
        (last_layers(2, examples=3, virtual_step="active"), ["layer1", "layer2"], "frozen", 3),
        (named_layers("layer0", "layer2", examples=1), ["layer0", "layer2"], "full", 1),
    ],
    ids=lambda x: getattr(x, "label", ""),
)
def test_part(estimator, active, kind, size):
    """θ' is the definition's on the examples that are drawn; weights, gradient and running statistics
    are of the whole batch, under θ'.

    Fails if other examples are taken, if the part is rounded down, if BatchNorm or the weights'
    normalization see the whole batch in the virtual step, or only the part in the actual one.
    """
    problem, point = setting()
    state = start(problem, estimator, point)
    update = jax.jit(lambda s: meta_update(problem, estimator, s, point))(state)
    rows = np.asarray(heard_rows(state.key, state.step, N, size))
    value, gradient = jax.value_and_grad(meta_loss_of(point, rows))(
        state.theta, flags(active), kind
    )
    rtol = 1e-6 if estimator.route == "finite_difference" else 1e-9
    new_theta = tree_map(lambda t, g: t - BETA * g, state.theta, gradient)
    close(update.state.theta, new_theta, rtol)
    close(update.info.meta_loss, value)
    w, model_state, rng, batch = point[:4]
    outputs, new_model_state = ref.bn_mlp(w, model_state, rng, batch)
    losses = ref.cross_entropy(outputs, batch)
    weights = ref.mwnet_weights(new_theta, losses, "sum")
    close(update.info.weights, weights, rtol)
    close(update.info.loss, (weights * losses).sum(), rtol)
    args = (ref.bn_mlp, ref.mwnet("sum"), w, new_theta, model_state, rng, batch)
    close(update.gradient, ref.training_gradient(*args), rtol)
    close(update.model_state, new_model_state)
    close(update.outputs, outputs)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_part_of_what_has_a_batch_axis():
    """Scalars and tables of another length in a batch stay whole. Fails if they are cut as well."""
    problem, point = setting()

    def forward(params, model_state, rng, batch):
        outputs, new_state = ref.bn_mlp(params, model_state, rng, batch)
        return outputs * batch["scale"], new_state

    batch = {**point.batch, "scale": jnp.float64(0.5)}
    halved = point._replace(batch=batch, meta_batch={**point.meta_batch, "scale": jnp.float64(0.5)})
    problem = problem._replace(forward=forward)
    estimator = all_layers(examples=3)
    state = start(problem, estimator, halved)
    update = meta_update(problem, estimator, state, halved)

    def by_definition(theta):
        w, model_state, rng, batch, meta_batch, alpha, *_ = halved
        rows = np.asarray(heard_rows(state.key, state.step, N, 3))
        small = {"x": batch["x"][rows], "label": batch["label"][rows], "scale": batch["scale"]}
        args = (forward, ref.mwnet("sum"), ref.mean_loss(ref.cross_entropy), w, model_state, rng)
        return ref.l_val(theta, *args, small, meta_batch, alpha, EVERYTHING)

    gradient = jax.grad(by_definition)(state.theta)
    close(update.state.theta, tree_map(lambda t, g: t - BETA * g, state.theta, gradient))


@pytest.mark.parametrize(("n", "size"), [(64, 8), (10, 4), (5, 5), (7, 1)])
def test_every_example_is_heard_equally_often(n, size):
    """One of every run of neighbors, each of them as often as its run is short; the numbers by hand.

    Fails if the same rows are heard in every step (a batch whose classes come in turn would have one
    class heard for ever), or a row never.
    """
    steps = 4_000
    rows = np.asarray(
        jax.jit(jax.vmap(lambda t: heard_rows(jax.random.key(1), t, n, size)))(jnp.arange(steps))
    )
    bounds = [i * n // size for i in range(size + 1)]
    run = np.searchsorted(bounds, np.arange(n), side="right") - 1
    np.testing.assert_array_equal(run[rows], np.broadcast_to(np.arange(size), rows.shape))
    expected = steps / np.diff(bounds)[run]
    counts = np.bincount(rows.ravel(), minlength=n)
    assert np.all(np.abs(counts - expected) <= 5 * np.sqrt(expected))  # five sigma and more


def test_heard_rows_of_devices():
    """Four devices draw together what one draws alone. Fails if each draws as if it were the first."""
    key = jax.random.key(3)
    together = np.concatenate(
        [16 * d + np.asarray(heard_rows(key, 7, 16, 2, d, 4)) for d in range(4)]
    )
    np.testing.assert_array_equal(together, heard_rows(key, 7, 64, 8))


# --- the control variate --------------------------------------------------------------------------


CHEAP = {
    "full": (last_layers(1, control_variate_every=2), ["layer2"], "full"),
    "active-only": (
        last_layers(1, virtual_step="active", control_variate_every=2),
        ["layer2"],
        "frozen",
    ),
    "third": (
        named_layers("layer0", "layer2", control_variate_every=3),
        ["layer0", "layer2"],
        "full",
    ),
    "vjp": (last_layers(1, route="vjp", control_variate_every=2), ["layer2"], "full"),
    "second order": (
        last_layers(1, route="second_order", control_variate_every=2),
        ["layer2"],
        "full",
    ),
    "part": (
        last_layers(1, examples=3, virtual_step="active", control_variate_every=2),
        ["layer2"],
        "frozen",
    ),
}


def cases_and_ways():
    """All of both; slow: what another pair of them shows as well."""
    quick = {("full", "in the program"), ("part", "by variants")}
    for case, how in itertools.product(CHEAP, ("in the program", "by variants")):
        kept = (case, how) in quick
        yield pytest.param(case, how, marks=[] if kept else pytest.mark.slow)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("case", "how"), list(cases_and_ways()))
def test_correction(case, how):
    """Four updates at changing batches: exact where the correction is due, elsewhere the cheap
    gradient plus the difference of the last time, by hand.

    Fails if the correction has the wrong sign, is added twice where it is due, is taken at another
    θ, has the cheap look-ahead in its exact gradient, or is not kept.
    """
    estimator, active, kind = CHEAP[case]
    problem, point = setting()
    size = 3 if case == "part" else N
    state = start(problem, estimator, point)
    step = jax.jit(
        lambda s, batch, variant: meta_update(
            problem, estimator, s, point._replace(batch=batch), program=variant
        ),
        static_argnums=2,
    )
    oracle = jax.jit(
        jax.grad(
            lambda theta, batch, rows, active, kind: meta_loss_of(
                point._replace(batch=batch), rows
            )(theta, active, kind)
        ),
        static_argnums=4,
    )
    theta, difference = state.theta, None
    for t in range(4):
        batch = ref.classification_batch(20 + t, N)
        due = t % estimator.control_variate_every == 0
        variant = Program(renews=due) if how == "by variants" else None
        update = step(state, batch, variant)
        rows = heard_rows(state.key, t, N, size)
        cheap = oracle(theta, batch, rows, flags(active), kind)
        if due:
            right = oracle(theta, batch, rows, EVERYTHING, "full")
            difference = tree_map(jnp.subtract, right, cheap)
            used = right
        else:
            used = tree_map(jnp.add, cheap, difference)
        theta = tree_map(lambda w, g: w - BETA * g, theta, used)
        close(update.state.theta, theta)
        close(update.state.control_variate, difference, 1e-8)
        state = update.state
    # The correction is no rounding error: the test could tell without it.
    assert max(float(jnp.abs(d).max()) for d in jax.tree.leaves(difference)) > 1e-4
    assert int(state.updates) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_correction_through_the_optimizer():
    """The exact gradient behind a correction looks ahead by the same optimizer. Fails if by SGD."""
    problem, point = setting()

    def descend(gradient):
        return tree_map(lambda g, w: -0.3 * jnp.tanh(2 * g) - 0.05 * w, gradient, point.params)

    point = point._replace(optimizer_update=descend)
    estimator = last_layers(1, through_optimizer=True, control_variate_every=2)
    state = start(problem, estimator, point)
    update = jax.jit(lambda s: meta_update(problem, estimator, s, point))(state)
    loss = ref.mean_loss(ref.cross_entropy)
    args = (ref.bn_mlp, ref.mwnet("sum"), loss, *point[:5], descend, EVERYTHING)
    gradient = jax.grad(ref.l_val_through)(state.theta, *args)
    close(update.state.theta, tree_map(lambda t, g: t - BETA * g, state.theta, gradient))


# --- refusals -----------------------------------------------------------------------------------------


def refuse(estimator, objective=None, n=N):
    problem, point = setting()
    problem = problem._replace(method=objective or problem.method)
    init_state(problem, estimator, jax.random.key(0), point.params, n, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: all_layers(examples=0), r"examples must be a whole number of at least 1.*got 0"),
        (
            lambda: all_layers(examples=0.5),
            r"examples must be a whole number of at least 1.*got 0.5",
        ),
        (lambda: last_layers(1, examples=-3), r"examples must be a whole number.*got -3"),
        (
            lambda: all_layers(examples=3, virtual_step="actual"),
            r'examples=3.*actual.*use virtual_step="all" or "active"',
        ),
        (
            lambda: refuse(all_layers(examples=3), famus_jax.l2r()),
            r"l2r.*examples=3.*use examples=None",
        ),
        (
            lambda: last_layers(1, control_variate_every=1),
            r"control_variate_every must be 0.*at least 2.*exact.*got 1",
        ),
        (lambda: last_layers(1, control_variate_every=-3), r"at least 2.*got -3"),
        (
            lambda: refuse(all_layers(control_variate_every=2)),
            r"all_layers.*exact already.*control_variate_every=0",
        ),
        (lambda: refuse(second_order(control_variate_every=2)), r"all_layers.*exact already"),
        (
            lambda: random_layers(1, control_variate_every=2),
            r"last_layers\(...\) or named_layers.*random_layers_1",
        ),
        (lambda: random_depth(control_variate_every=2), r"last_layers.*random_depth"),
        (
            lambda: last_layers(1, control_variate_every=2, virtual_step="actual"),
            r'virtual_step="all" or "active"; got last_layers_1 and virtual_step=\'actual\'',
        ),
        (
            lambda: refuse(last_layers(1, control_variate_every=2), famus_jax.l2r()),
            r"l2r starts θ anew.*use control_variate_every=0, or random_depth\(\)",
        ),
        (
            lambda: learned_gates("paper", control_variate_every=2),
            r"last_layers\(...\) or named_layers.*gates_paper",
        ),
    ],
)
@pytest.mark.usefixtures("x64")
def test_refused(make, message):
    """The message names the value and the way out."""
    with pytest.raises(ValueError, match=message):
        make()
