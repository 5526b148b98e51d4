"""Every method with every estimator: method and estimator know nothing of each other.

A few meta updates on a small network in float64, against Algorithm 1 with the meta gradient by reverse
mode over reverse mode (reference.py). By default every method meets two estimators; the rest of the
table is marked slow.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax
from famus_jax import Inputs, Problem, layers_by, losses, methods
from famus_jax.core.examples import heard_rows
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update

pytestmark = pytest.mark.usefixtures("x64")

ALPHA, BETA, N, M, STEPS = 0.4, 0.5, 6, 4, 3
FLOOR = 1e-12  # what may differ where all are 0
NAMES = ("layer0", "layer1", "layer2")
ONLY = {"virtual_step": "active"}
ESTIMATORS = {
    "all": famus_jax.all_layers(),
    "vjp": famus_jax.all_layers(route="vjp"),
    "finite difference": famus_jax.all_layers(route="finite_difference", epsilon=1e-5),
    "second order": famus_jax.second_order(),
    "actual step": famus_jax.all_layers(virtual_step="actual"),
    "examples": famus_jax.all_layers(examples=3),
    "update every": famus_jax.all_layers(update_every=2),
    "last": famus_jax.last_layers(1),
    "last, active step": famus_jax.last_layers(1, **ONLY),
    "named": famus_jax.named_layers("layer0", "layer2"),
    "named, active step": famus_jax.named_layers("layer1", **ONLY),
    "control variate": famus_jax.last_layers(1, control_variate_every=2),
    "random layers": famus_jax.random_layers(2),
    "random depth": famus_jax.random_depth(0.5),
    "random depth, active step": famus_jax.random_depth(0.5, **ONLY),
    "gates": famus_jax.learned_gates("paper", target=2, lag=1, lambda_g=0.0),
    "budget gates": famus_jax.learned_gates("budget", target=1.9, lag=1, lambda_g=0.0, **ONLY),
}
ACTIVE = {
    "last": ["layer2"],
    "last, active step": ["layer2"],
    "named": ["layer0", "layer2"],
    "named, active step": ["layer1"],
    "control variate": ["layer2"],
}


def forward(params, model_state, rng, batch):
    """`ref.mlp`, with the input of its last layer."""
    del rng
    h = batch["x"]
    for name in NAMES[:-1]:
        h = jnp.tanh(h @ params[name]["w"] + params[name]["b"][None, :])
    logits = h @ params["layer2"]["w"] + params["layer2"]["b"][None, :]
    return {"logits": logits, "features": h}, model_state


def of_logits(function):
    """A reference loss or T that takes logits, on outputs that hold them."""
    return lambda *args: function(*args[:-2], args[-2]["logits"], args[-1])


PLAIN = of_logits(lambda theta, f, b: ref.mean_loss(ref.cross_entropy)(f, b))


def scaled(logits, batch):
    return ref.cross_entropy(3.0 * logits, batch)


class Case(NamedTuple):
    """The library's method, the reference's T and meta loss, the first θ, and the rule of θ."""

    method: famus_jax.Method
    reference: object
    meta_loss: object
    theta: object
    rule: object = lambda theta, g: jax.tree.map(lambda t, g: t - BETA * g, theta, g)


def with_heads(theta):
    """θ with a second head."""
    second = {"kernel_2": -0.7 * theta["kernel_2"], "bias_2": theta["bias_2"] + 0.2}
    return {
        **theta, **{k: jnp.concatenate([theta[k], x], -1) for k, x in second.items()}
    }  # fmt: skip


def with_columns(theta):
    """θ with weights of four features and a column."""
    rng = np.random.default_rng(0)
    sizes = {"column_features": (4, 7), "column_quality": (1, 7)}
    return {**theta, **{k: jnp.asarray(rng.normal(size=s)) for k, s in sizes.items()}}


@functools.cache
def cases():
    sgd = optax.sgd(BETA)
    plain = ref.mean_loss(ref.cross_entropy)
    mlc = functools.partial(methods.mlc, 3, step=BETA)
    counts = (16, 4, 1)
    margins = losses.ldam(counts, scale=3.0)
    identity = jnp.eye(3, dtype=jnp.float64)

    def projected(m, g):
        return jnp.asarray(ref.transition_step(m, g, BETA))

    return {
        "mwnet": Case(
            methods.mwnet(hidden=7, start="random", monotone=False, meta_optimizer=sgd),
            ref.mwnet("sum"),
            plain,
            ref.mwnet_theta(jax.random.key(5)),
        ),
        "mwnet_monotone": Case(
            methods.mwnet(hidden=7, monotone=True, meta_optimizer=sgd),
            ref.mwnet("sum"),
            plain,
            ref.falling(ref.mwnet_theta(jax.random.key(5))),
            lambda theta, g: ref.falling(jax.tree.map(lambda t, g: t - BETA * g, theta, g)),
        ),
        "mwnet_ldam": Case(
            methods.mwnet(
                margins,
                hidden=7,
                start="random",
                monotone=False,
                meta_optimizer=sgd,
                meta_loss=famus_jax.mean_of(losses.scaled_cross_entropy(3.0)),
            ),
            ref.mwnet("sum", ref.ldam(counts, 0.5, 3.0)),
            ref.mean_loss(scaled),
            ref.mwnet_theta(jax.random.key(6)),
        ),
        "cmwnet": Case(
            methods.class_aware_mwnet(
                counts, groups=2, hidden=7, start="random", monotone=False, meta_optimizer=sgd
            ),
            ref.class_aware((1, 0, 0)),
            plain,
            with_heads(ref.mwnet_theta(jax.random.key(9))),
        ),
        "scored": Case(
            methods.scored({"loss": 1, "features": 4, "quality": 1}, hidden=7, meta_optimizer=sgd),
            ref.scored,
            plain,
            with_columns(ref.falling(ref.mwnet_theta(jax.random.key(11)))),
            lambda theta, g: ref.falling(jax.tree.map(lambda t, g: t - BETA * g, theta, g)),
        ),
        "source_weights": Case(
            methods.source_weights(3, meta_optimizer=sgd),
            ref.source_weights,
            plain,
            jnp.array([0.3, -0.2, 0.1], jnp.float64),
        ),
        "l2r": Case(
            methods.l2r(),
            ref.l2r(),
            plain,
            None,
            lambda _, g: jnp.asarray(ref.l2r_weights(g)),
        ),
        "mlc": Case(mlc(), ref.mlc(), plain, None, projected),
        "mlc_carried": Case(mlc(carry=True), ref.mlc(), plain, identity, projected),
        "mixmatch": Case(
            methods.mixmatch(hidden=7, meta_optimizer=sgd),
            ref.mixmatch(),
            ref.mixmatch_meta_loss,
            ref.mwnet_theta(jax.random.key(8)),
        ),
        "meta_label_correction": Case(
            methods.meta_label_correction(3, 4, hidden=5, embedding=2, meta_optimizer=sgd),
            None,
            plain,
            ref.label_correction_theta(jax.random.key(7), features=4),
        ),
    }


@functools.cache
def oracle(name):
    """(θ-gradient of L_val, gradient of T at θ), compiled once for all estimators.

    `factors` multiply each layer's share of the meta gradient; layers with `moves` 0 stay at w.
    """
    case = cases()[name]
    loss = ref.label_correction() if case.reference is None else of_logits(case.reference)
    if name == "scored":
        loss = case.reference

    def gradient(theta, params, batch):
        return ref.training_gradient(forward, loss, params, theta, (), None, batch)

    def l_val(theta, params, batch, meta_batch, factors, moves):
        w_hat = {}
        for layer, g in gradient(theta, params, batch).items():
            constant = jax.lax.stop_gradient(g)
            w_hat[layer] = jax.tree.map(
                lambda w, g, c, layer=layer: (
                    w - ALPHA * moves[layer] * c - ALPHA * factors[layer] * (g - c)
                ),
                params[layer],
                g,
                constant,
            )
        return case.meta_loss(forward(w_hat, (), None, meta_batch)[0]["logits"], meta_batch)

    return jax.jit(jax.grad(l_val)), jax.jit(gradient)


def factors_of(name, state):
    """{layer: factor} of this update."""
    if not ESTIMATORS[name].active.drawn:
        return {layer: float(layer in ACTIVE.get(name, NAMES)) for layer in NAMES}
    return dict(zip(NAMES, map(float, state.draws.factors[0]), strict=True))


def refused(name, estimator):
    reset = name in ("l2r", "mlc")
    return (reset and estimator in ("actual step", "control variate")) or (
        name == "l2r" and estimator == "examples"
    )


USUAL = ("all", "last, active step")


def cells():
    """The table, methods by estimators."""
    names = (
        "mwnet",
        "mwnet_monotone",
        "cmwnet",
        "scored",
        "source_weights",
        "mwnet_ldam",
        "l2r",
        "mlc",
        "mlc_carried",
        "meta_label_correction",
        "mixmatch",
    )
    for estimator in ESTIMATORS:
        for name in names:
            cheap = estimator in USUAL or refused(name, estimator)
            yield pytest.param(name, estimator, marks=[] if cheap else [pytest.mark.slow])


@pytest.mark.parametrize(("name", "how"), list(cells()))
def test_method_with_estimator(name, how):
    """θ' (where it is kept) and the gradient of the actual step, for three updates.

    Fails if an estimator treats a method by its name, drops a part of θ's influence, or if the meta
    loss is another than the method's own.
    """
    case, estimator = cases()[name], ESTIMATORS[how]
    method, reset = case.method, case.method.reset_each_batch
    if reset:  # in float64, to compare
        init = method.init
        method = method._replace(init=lambda key, n: init(key, n).astype(jnp.float64))
    params = ref.mlp_params(jax.random.key(1))
    layers = layers_by(params, lambda path: int(path[5]))
    problem = Problem(forward, method, method.l_val, layers)
    if refused(name, how):
        with pytest.raises(ValueError, match=f"{method.name}.*use"):
            init_state(problem, estimator, jax.random.key(0), params, N, M)
        return
    state = init_state(problem, estimator, jax.random.key(0), params, N, M)
    if not reset:
        zeros = jax.tree.map(jnp.zeros_like, case.theta)
        state = state._replace(
            theta=case.theta,
            opt_state=method.meta_optimizer.init(case.theta),
            control_variate=zeros if estimator.control_variate_every else (),
        )
    theta_gradient, gradient = oracle(name)
    everywhere = dict.fromkeys(NAMES, 1.0)
    theta, variate = case.theta, None
    step = jax.jit(lambda state, inputs: meta_update(problem, estimator, state, inputs))
    for t in range(STEPS):
        batch, meta_batch = ref.classification_batch(10 + t, N), ref.classification_batch(20 + t, M)
        if name == "mixmatch":
            batch, meta_batch = ref.mixed(batch, t), ref.mixed(meta_batch, 50 + t)
            del meta_batch["labeled"]  # all are, where nothing is said
        batch["source"] = jnp.arange(N) % 3 if name == "source_weights" else batch["label"]
        batch["quality"] = jnp.linspace(-1.0, 1.0, N)[::-1]
        inputs = Inputs(params, (), jax.random.key(9), batch, meta_batch, ALPHA)
        factors = factors_of(how, state)
        update = step(state, inputs)
        before = method.init(None, N) if reset else theta
        if how == "update every" and t == 1:
            if reset:
                expected = ref.training_gradient(forward, PLAIN, params, None, (), None, batch)
            else:
                expected = gradient(theta, params, batch)
            ref.assert_close(update.gradient, expected, floor=FLOOR)
            state = update.state
            continue
        heard = batch
        if how == "examples":
            rows = heard_rows(state.key, state.step, N, 3)
            heard = {k: x[rows] if jnp.ndim(x) else x for k, x in batch.items()}
        only = estimator.virtual_step == "active"
        moves = {g: float(r > 0) for g, r in factors.items()} if only else everywhere
        g = theta_gradient(before, params, heard, meta_batch, factors, moves)
        if how == "control variate":
            if t % 2 == 0:
                exact = theta_gradient(before, params, heard, meta_batch, everywhere, everywhere)
                variate = jax.tree.map(jnp.subtract, exact, g)
            g = jax.tree.map(jnp.add, g, variate)
        theta = case.rule(before, g)
        used = before if how == "actual step" else theta
        rtol = 1e-4 if how == "finite difference" else 1e-9
        ref.assert_close(update.gradient, gradient(used, params, batch), rtol, FLOOR)
        if not reset:
            ref.assert_close(update.state.theta, theta, rtol, FLOOR)
            assert not np.allclose(jax.tree.leaves(theta)[0], jax.tree.leaves(before)[0], rtol=1e-6)
        state = update.state
