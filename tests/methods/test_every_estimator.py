"""Every method with every estimator: method and estimator know nothing of each other.

A few meta updates on a small network in float64, against Algorithm 1 with the meta gradient by reverse
mode over reverse mode (reference.py). By default every method
meets two estimators; the rest of the table is marked slow.
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
from famus_jax import Inputs, Problem, layers_by, init_state, meta_update
from famus_jax.core.estimator import Drawn
from famus_jax.gates import queued
from famus_jax.gates import LearnedGates
from famus_jax.core.state import step_keys

pytestmark = pytest.mark.usefixtures("x64")

ALPHA, BETA, N, M, STEPS = 0.4, 0.5, 6, 4, 3
NAMES = ("layer0", "layer1", "layer2")
ONLY = {"virtual_step": "active_only"}
ESTIMATORS = {
    "exact": famus_jax.all_layers(),
    "vjp": famus_jax.all_layers(route="vjp"),
    "finite difference": famus_jax.all_layers(route="finite_difference", epsilon=1e-5),
    "second order": famus_jax.second_order(),
    "one pass": famus_jax.all_layers(virtual_step="actual"),
    "part": famus_jax.all_layers(part=0.5),
    "every": famus_jax.all_layers(update_every=2),
    "top": famus_jax.last_layers(1),
    "top, active only": famus_jax.last_layers(1, **ONLY),
    "chosen": famus_jax.named_layers("layer0", "layer2"),
    "block": famus_jax.named_layers("layer1", **ONLY),
    "corrected": famus_jax.last_layers(1, control_variate_every=2),
    "random groups": famus_jax.random_layers(2),
    "random depth": famus_jax.random_depth(0.5),
    "random depth, active only": famus_jax.random_depth(0.5, **ONLY),
    "gates": famus_jax.learned_gates("paper", target=2, lag=1, lambda_g=0.0),
    "budget gates": famus_jax.learned_gates("budget", target=1.9, lag=1, lambda_g=0.0, **ONLY),
}
ACTIVE = {
    "top": ["layer2"],
    "top, active only": ["layer2"],
    "chosen": ["layer0", "layer2"],
    "block": ["layer1"],
    "corrected": ["layer2"],
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
    """A reference loss or objective that takes logits, on outputs that hold them."""
    return lambda *args: function(*args[:-2], args[-2]["logits"], args[-1])


PLAIN = of_logits(lambda theta, f, b: ref.mean_loss(ref.cross_entropy)(f, b))


def scaled(logits, batch):
    return ref.cross_entropy(3.0 * logits, batch)


class Method(NamedTuple):
    """The library's objective, the reference's T and meta loss, the first θ, and the rule of θ."""

    objective: famus_jax.Method
    reference: object
    meta_loss: object
    theta: object
    rule: object = lambda theta, g: jax.tree.map(lambda t, g: t - BETA * g, theta, g)


@functools.cache
def methods():
    sgd = optax.sgd(BETA)
    plain = ref.mean_loss(ref.cross_entropy)
    mlc = functools.partial(famus_jax.mlc, 3, step=BETA)
    counts = (16, 4, 1)
    margins = famus_jax.ldam(counts, scale=3.0)
    identity = jnp.eye(3, dtype=jnp.float64)

    def projected(m, g):
        return jnp.asarray(ref.transition_step(m, g, BETA))

    return {
        "mwnet": Method(
            famus_jax.mwnet(hidden=7, meta_optimizer=sgd),
            ref.mwnet("sum"),
            plain,
            ref.mwnet_theta(jax.random.key(5)),
        ),
        "mwnet_ldam": Method(
            famus_jax.mwnet(
                margins,
                hidden=7,
                meta_optimizer=sgd,
                meta_loss=famus_jax.mean_of(famus_jax.scaled_cross_entropy(3.0)),
            ),
            ref.mwnet("sum", ref.ldam(counts, 0.5, 3.0)),
            ref.mean_loss(scaled),
            ref.mwnet_theta(jax.random.key(6)),
        ),
        "l2r": Method(
            famus_jax.l2r(),
            ref.l2r(),
            plain,
            None,
            lambda _, g: jnp.asarray(ref.l2r_weights(g)),
        ),
        "mlc": Method(mlc(), ref.mlc(), plain, None, projected),
        "mlc_carried": Method(mlc(carry=True), ref.mlc(), plain, identity, projected),
        "mixmatch": Method(
            famus_jax.mixmatch(hidden=7, meta_optimizer=sgd),
            ref.mixmatch(),
            ref.mixmatch_meta_loss,
            ref.mwnet_theta(jax.random.key(8)),
        ),
        "meta_label_correction": Method(
            famus_jax.meta_label_correction(3, 4, hidden=5, embedding=2, meta_optimizer=sgd),
            None,
            plain,
            ref.label_correction_theta(jax.random.key(7), features=4),
        ),
    }


@functools.cache
def oracle(name):
    """(θ-gradient of L_val, gradient of T at θ), compiled once for all estimators.

    `factors` multiply each group's share of the meta gradient; groups with `moves` 0 stay at w.
    """
    method = methods()[name]
    objective = ref.label_correction() if method.reference is None else of_logits(method.reference)

    def gradient(theta, params, batch):
        return ref.training_gradient(forward, objective, params, theta, (), None, batch)

    def l_val(theta, params, batch, meta_batch, factors, moves):
        w_hat = {}
        for group, g in gradient(theta, params, batch).items():
            constant = jax.lax.stop_gradient(g)
            w_hat[group] = jax.tree.map(
                lambda w, g, c, group=group: (
                    w - ALPHA * moves[group] * c - ALPHA * factors[group] * (g - c)
                ),
                params[group],
                g,
                constant,
            )
        return method.meta_loss(forward(w_hat, (), None, meta_batch)[0]["logits"], meta_batch)

    return jax.jit(jax.grad(l_val)), jax.jit(gradient)


def factors_of(case, state, groups):
    """{group: factor} of this update."""
    spec = ESTIMATORS[case].active
    if not isinstance(spec, Drawn):
        return {name: float(name in ACTIVE.get(case, NAMES)) for name in NAMES}
    if isinstance(spec, LearnedGates):
        drawn = queued(state.gates).factors
    else:
        drawn = spec.draw(step_keys(state).gates, groups).factors
    return dict(zip(NAMES, map(float, drawn), strict=True))


def refused(name, case):
    fresh = name in ("l2r", "mlc")
    return (fresh and case in ("one pass", "corrected")) or (name == "l2r" and case == "part")


USUAL = ("exact", "top, active only")


def cells():
    """The table, methods by estimators."""
    names = (
        "mwnet",
        "mwnet_ldam",
        "l2r",
        "mlc",
        "mlc_carried",
        "meta_label_correction",
        "mixmatch",
    )
    for case in ESTIMATORS:
        for name in names:
            cheap = case in USUAL or refused(name, case)
            yield pytest.param(name, case, marks=[] if cheap else [pytest.mark.slow])


@pytest.mark.parametrize(("name", "case"), list(cells()))
def test_method_with_estimator(name, case):
    """θ' (where it is kept) and the gradient of the actual step, for three updates.

    Fails if an estimator treats a method by its name, drops a part of θ's influence, or if the meta
    loss is another than the method's own.
    """
    method, estimator = methods()[name], ESTIMATORS[case]
    objective = method.objective
    if objective.fresh:  # in float64, to compare
        init = objective.init
        objective = objective._replace(init=lambda key, n: init(key, n).astype(jnp.float64))
    params = ref.mlp_params(jax.random.key(1))
    groups = layers_by(params, lambda path: int(path[5]))
    problem = Problem(forward, objective, objective.l_val, groups)
    if refused(name, case):
        with pytest.raises(ValueError, match=f"{objective.name}.*use"):
            init_state(problem, estimator, jax.random.key(0), params, N, M)
        return
    state = init_state(problem, estimator, jax.random.key(0), params, N, M)
    if not objective.fresh:
        zeros = jax.tree.map(jnp.zeros_like, method.theta)
        state = state._replace(
            theta=method.theta,
            opt_state=objective.meta_optimizer.init(method.theta),
            correction=zeros if estimator.control_variate_every else (),
        )
    theta_gradient, gradient = oracle(name)
    everywhere = dict.fromkeys(NAMES, 1.0)
    theta, correction = method.theta, None
    step = jax.jit(lambda state, point: meta_update(problem, estimator, state, point))
    for t in range(STEPS):
        batch, meta_batch = ref.classification_batch(10 + t, N), ref.classification_batch(20 + t, M)
        if name == "mixmatch":
            batch, meta_batch = ref.mixed(batch, t), ref.mixed(meta_batch, 50 + t)
            del meta_batch["labelled"]  # all are, where nothing is said
        point = Inputs(params, (), jax.random.key(9), batch, meta_batch, ALPHA)
        factors = factors_of(case, state, groups)
        update = step(state, point)
        before = objective.init(None, N) if objective.fresh else theta
        if case == "every" and t == 1:
            if objective.fresh:
                expected = ref.training_gradient(forward, PLAIN, params, None, (), None, batch)
            else:
                expected = gradient(theta, params, batch)
            close(update.gradient, expected)
            state = update.state
            continue
        seen = batch
        if case == "part":
            seen = {k: x[::2] if jnp.ndim(x) else x for k, x in batch.items()}
        only = estimator.virtual_step == "active_only"
        moves = {g: float(r > 0) for g, r in factors.items()} if only else everywhere
        g = theta_gradient(before, params, seen, meta_batch, factors, moves)
        if case == "corrected":
            if t % 2 == 0:
                exact = theta_gradient(before, params, seen, meta_batch, everywhere, everywhere)
                correction = jax.tree.map(jnp.subtract, exact, g)
            g = jax.tree.map(jnp.add, g, correction)
        theta = method.rule(before, g)
        used = before if case == "one pass" else theta
        rtol = 1e-4 if case == "finite difference" else 1e-9
        close(update.gradient, gradient(used, params, batch), rtol)
        if not objective.fresh:
            close(update.state.theta, theta, rtol)
            assert not np.allclose(jax.tree.leaves(theta)[0], jax.tree.leaves(before)[0], rtol=1e-6)
        state = update.state


def close(actual, expected, rtol=1e-9):
    def compare(a, b):
        b = np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max() + 1e-12)

    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(compare, actual, expected)
