"""Learned gates at work: one meta update with them, against the definition; draws that wait."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax
from famus_jax import Inputs, Problem, layers_by, learned_gates, named_layers
from famus_jax.core.active_layers import Draw
from famus_jax.core.programs import Program
from famus_jax.core.state import init_state
from famus_jax.core.update import meta_update

pytestmark = pytest.mark.usefixtures("x64")

BETA, ALPHA, LAMBDA_G = 0.5, 0.4, 0.3
NAMES = ("layer0", "layer1", "layer2")
PATTERNS = list(itertools.product((0, 1), repeat=3))
# The reference pools {"w": [in, out], "b": [out]}; trees sort their keys.
KEYS = ("b", "w")


def gate_key(key, update):
    """The documented key of a meta update's gate noise: the second of three, split from
    `fold_in(key, update)`."""
    return jax.random.split(jax.random.fold_in(key, update), 3)[1]


def setting(method=None):
    params = ref.mlp_params(jax.random.key(1))
    layers = layers_by(params, lambda path: int(path[5]))
    method = method or famus_jax.mwnet(
        hidden=7, start="random", monotone=False, meta_optimizer=optax.sgd(BETA)
    )
    problem = Problem(ref.mlp, method, method.l_val, layers)
    batch, meta_batch = ref.classification_batch(2, 5), ref.classification_batch(3, 4)
    return problem, Inputs(params, {}, jax.random.key(9), batch, meta_batch, ALPHA)


def initial(problem, estimator, inputs):
    state = init_state(problem, estimator, jax.random.key(0), inputs.params, 5, 4)
    if problem.method.reset_each_batch:
        return state
    theta = ref.mwnet_theta(jax.random.key(5))
    return state._replace(theta=theta, opt_state=problem.method.meta_optimizer.init(theta))


def with_draw(state, kind, layers, pattern, pooled=None, uniforms=None):
    """The state whose next draw has given open layers, with the program that is due; with other pooled
    gradients and noise, if given."""
    mask = jnp.asarray(pattern, jnp.float32)
    program = kind.program(mask, jnp.int32(1), layers)
    first_pooled, first_uniforms = (x[0] for x in state.draws.carry)
    carry = (
        first_pooled if pooled is None else jnp.asarray(pooled),
        first_uniforms if uniforms is None else jnp.asarray(uniforms),
    )
    draws = jax.tree.map(
        lambda queue, new: queue.at[0].set(new), state.draws, Draw(mask, program, carry)
    )
    return state._replace(draws=draws), Program(index=int(program))


@functools.cache
def pieces():
    """Compiled by definition: θ-gradients of L_c and of L_g for open layers S, and v and g."""
    _, inputs = setting()
    w, state, rng, batch, meta_batch, alpha, *_ = inputs
    loss, training_loss = ref.mean_loss(ref.cross_entropy), ref.mwnet("sum")
    args = (ref.mlp, training_loss, loss, w, state, rng, batch, meta_batch, alpha)

    def gradient(theta):
        return ref.training_gradient(ref.mlp, training_loss, w, theta, state, rng, batch)

    def all_of(theta, active, kind):
        w_hat = ref.virtual_step(w, gradient(theta), alpha, active, kind)
        v = ref.validation_gradient(ref.mlp, loss, w_hat, state, rng, meta_batch)
        c = jax.grad(ref.l_val)(theta, *args, active, kind)
        g = jax.grad(lambda t: ref.matching_mean(gradient(t)["layer2"], v["layer2"]))(theta)
        return c, g, v, gradient(theta)

    return jax.jit(all_of, static_argnums=2)


def open_set(pattern):
    return {name: float(r) for name, r in zip(NAMES, pattern, strict=True)}


@pytest.mark.parametrize("virtual_step", ["all", "active"])
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_theta_gradient_of_open_layers(pattern, virtual_step):
    """θ' under a given pattern of gates: L_c through the open layers, and λ2 L_g besides.

    Fails if a closed layer keeps its share, if L_g vanishes with a closed head, if the validation
    side of L_g is differentiated, or if L_g is scaled by α.
    """
    problem, inputs = setting()
    estimator = learned_gates(
        "paper", lag=1, target=2, lambda_g=LAMBDA_G, virtual_step=virtual_step
    )
    state = initial(problem, estimator, inputs)
    state, program = with_draw(state, estimator.active, problem.layers, pattern)
    update = meta_update(problem, estimator, state, inputs, program=program)

    kind = "full" if virtual_step == "all" else "frozen"
    l_c, l_g, _, _ = pieces()(state.theta, open_set(pattern), kind)
    expected = jax.tree.map(lambda t, c, g: t - BETA * (c + LAMBDA_G * g), state.theta, l_c, l_g)
    # L_g is computed in float32: it is a heuristic's input.
    ref.assert_close(update.state.theta, expected, rtol=2e-7)
    assert float(update.info.open_layers) == sum(pattern)


@pytest.mark.parametrize("pattern", [p for p in PATTERNS if any(p)], ids=str)
def test_gates_equal_named_layers(pattern):
    """With λ2 = 0, gates of a pattern are `named_layers` of the same set: θ', weights, gradient.

    Fails if a gate multiplies twice, or the program drops an open layer.
    """
    problem, inputs = setting()
    names = [name for name, r in zip(NAMES, pattern, strict=True) if r]
    some = named_layers(*names)
    fixed = meta_update(problem, some, initial(problem, some, inputs), inputs)
    estimator = learned_gates("paper", lag=1, target=2, lambda_g=0.0)
    state = initial(problem, estimator, inputs)
    state, program = with_draw(state, estimator.active, problem.layers, pattern)
    update = meta_update(problem, estimator, state, inputs, program=program)
    ref.assert_close(update.state.theta, fixed.state.theta)
    ref.assert_close(update.gradient, fixed.gradient)
    ref.assert_close(update.info.weights, fixed.info.weights)


def reference_sampler_gradients(spec, eta, rows, uniforms, slopes, r_of):
    """Gradients of Σ s_l r_l and of L_r with respect to η, by one autodiff of their definitions."""

    def gates(eta):
        logits = [ref.sampler_logits(eta, i, row) for i, row in enumerate(rows)]
        soft = [
            ref.soft_gate(x, u, spec.temperature) for x, u in zip(logits, uniforms, strict=True)
        ]
        return jnp.stack([ref.straight_through(s) for s in soft])

    l_c = jax.grad(lambda eta: jnp.vdot(jnp.asarray(slopes, jnp.float32), gates(eta)))(eta)
    return l_c, jax.grad(lambda eta: r_of(gates(eta)))(eta)


@pytest.mark.parametrize("pattern", [(0, 0, 1), (0, 1, 0), (1, 0, 1), (1, 1, 1)], ids=str)
def test_sampler_update(pattern):
    """η' = η − δ ∇_η(Σ s_l r_l + λ1 (Σ r − K)²), s_l = −α⟨v_l, g_l⟩ at or above the start.

    Fails if a slope has the wrong sign or lacks α, if layers below the start get one, if λ1 is
    squared or forgotten, or if the samplers are trained at another draw's inputs or noise.
    """
    problem, inputs = setting()
    estimator = learned_gates(
        "paper", lag=1, target=2.0, lambda_r=0.2, hidden=6, learning_rate=0.25
    )
    spec = estimator.active
    state = initial(problem, estimator, inputs)
    rng = np.random.default_rng(3)
    widths = (10, 8, 6)
    rows = [rng.normal(size=width).astype(np.float32) for width in widths]
    padded = np.stack([np.pad(row, (0, 10 - row.size)) for row in rows])
    # Noise that leads to the pattern, so that the straight-through gates are those in force.
    uniforms = np.asarray([[0.1, 0.9] if r else [0.9, 0.1] for r in pattern], np.float32)
    state, program = with_draw(state, spec, problem.layers, pattern, padded, uniforms)
    update = meta_update(problem, estimator, state, inputs, program=program)

    _, _, v, g = pieces()(state.theta, open_set(pattern), "full")
    start = pattern.index(1)
    slopes = [s if i >= start else 0.0 for i, s in enumerate(ref.gate_slopes(v, g, ALPHA).values())]
    l_c, l_r = reference_sampler_gradients(
        spec, state.active.eta, rows, uniforms, slopes, lambda r: (r.sum() - 2.0) ** 2
    )
    moved = jax.tree.map(lambda a, b: (a - b) / 0.25, state.active.eta, update.state.active.eta)
    expected = jax.tree.map(lambda c, r: c + 0.2 * r, l_c, l_r)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=3e-6), moved, expected
    )
    assert float(update.info.active["gate_norm_c"]) == pytest.approx(
        float(optax.tree.norm(l_c)), rel=1e-4
    )
    assert float(update.info.active["gate_norm_r"]) == pytest.approx(
        0.2 * float(optax.tree.norm(l_r)), rel=1e-4
    )


def test_gates_of_the_step_itself():
    """lag = 0: gates come of this very step's pooled virtual gradient, with the update's key.

    Fails if gradients are pooled over the wrong axis, padded on the wrong side, or of the last step.
    """
    problem, inputs = setting()
    estimator = learned_gates("paper", target=2, lambda_g=0.0, hidden=6)
    state = initial(problem, estimator, inputs)
    # Make the samplers listen: without this, pooled gradients of 1e-2 hardly move a gate.
    eta = state.active.eta
    eta["kernels"][0] = 40 * eta["kernels"][0]
    _, _, _, g = pieces()(state.theta, open_set((1, 1, 1)), "full")
    rows = [ref.pool_group([g[name][k] for k in KEYS], "mean").astype(np.float32) for name in NAMES]
    seen = set()
    run = jax.jit(lambda state: meta_update(problem, estimator, state, inputs))
    for step in range(6):
        at = state._replace(step=jnp.int32(step), updates=jnp.int32(step))
        update = run(at)
        noise = jax.random.uniform(gate_key(state.key, step), (3, 2), jnp.float32)
        soft = [ref.soft_gate(ref.sampler_logits(eta, i, rows[i]), noise[i], 1.0) for i in range(3)]
        pattern = tuple(int(s > 0.5) for s in soft)
        seen.add(pattern)
        l_c = pieces()(state.theta, open_set(pattern), "full")[0]
        ref.assert_close(
            update.state.theta, jax.tree.map(lambda t, c: t - BETA * c, state.theta, l_c), rtol=2e-7
        )
    assert len(seen) > 1


@pytest.mark.slow
def test_draws_wait():
    """Gates of update t were drawn at update t − lag: from that step's gradient, by the samplers just
    trained, into the right place, with the key of update t.

    Fails if the draws are read at the wrong end, or their noise or inputs are of another draw.
    """
    problem, inputs = setting()
    estimator = learned_gates("budget", target=2.6, lag=2, hidden=6)
    spec, layers = estimator.active, problem.layers
    state = initial(problem, estimator, inputs)
    run = jax.jit(
        lambda state, batch: meta_update(problem, estimator, state, inputs._replace(batch=batch))
    )
    promised = state.draws.program.tolist()
    for step in range(6):
        batch = ref.classification_batch(step, 5)
        theta, key = state.theta, state.key
        update = run(state, batch)
        state = update.state
        assert int(update.info.program) == promised[step]
        promised.append(int(state.draws.program[-1]))
        assert state.draws.program.tolist() == promised[-2:]
        g = ref.training_gradient(ref.mlp, ref.mwnet("sum"), inputs.params, theta, {}, None, batch)
        rows = [ref.pool_group([g[name][k] for k in KEYS], "rms") for name in NAMES]
        noise = jax.random.uniform(gate_key(key, step + 2), (3, 2), jnp.float32)
        pooled, uniforms = (x[-1] for x in state.draws.carry)
        np.testing.assert_array_equal(uniforms, noise)
        for i, row in enumerate(rows):
            np.testing.assert_allclose(pooled[i, : row.size], row, rtol=1e-4, atol=1e-5)
            assert not pooled[i, row.size :].any()
            soft = ref.soft_gate(
                ref.sampler_logits(state.active.eta, i, row.astype(np.float32)), noise[i], 1.0
            )
            is_open = float(soft > 0.5) if i < 2 else 1.0  # the head has no gate
            assert float(state.draws.factors[-1, i]) == pytest.approx(is_open, abs=1e-6)
        assert spec.starts(layers)[promised[-1]] <= 2


@pytest.mark.slow
@pytest.mark.parametrize("virtual_step", ["active", pytest.param("actual", marks=pytest.mark.slow)])
def test_static_program_equals_switch(virtual_step):
    """The program that the host chooses and `lax.switch` give the same update, for every start.

    Fails if a program's number means another start on the host than in the switch.
    """
    problem, inputs = setting()
    estimator = learned_gates("paper", target=2, lag=1, hidden=6, virtual_step=virtual_step)
    spec = estimator.active
    state = initial(problem, estimator, inputs)
    step = jax.jit(
        lambda s, program: meta_update(problem, estimator, s, inputs, program=program),
        static_argnums=1,
    )
    for pattern in [(1, 0, 1), (0, 1, 1), (0, 0, 1)]:
        at, program = with_draw(state, spec, problem.layers, pattern)
        switched, static = step(at, None), step(at, program)
        assert jax.tree.structure(switched) == jax.tree.structure(static)
        for a, b in zip(*map(jax.tree.leaves, (switched, static)), strict=True):
            if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_l2r_slopes_come_from_the_actual_gradient():
    """L2R takes no virtual step: s_l = −α⟨v_l, g_l⟩ with g the actual step's gradient, v at w.

    Fails if the slopes are of the zero virtual gradient.
    """
    problem, inputs = setting(famus_jax.l2r()._replace(init=lambda key, n: jnp.zeros(n)))
    estimator = learned_gates(
        "paper", target=2, lag=1, hidden=6, lambda_g=0.0, lambda_r=0.0, learning_rate=1.0
    )
    spec = estimator.active
    state = initial(problem, estimator, inputs)
    uniforms = jnp.asarray([[0.1, 0.9]] * 3, jnp.float32)
    state, program = with_draw(state, spec, problem.layers, (1, 1, 1), uniforms=uniforms)
    assert program == Program(index=0)
    update = meta_update(problem, estimator, state, inputs, program=program)
    loss = ref.mean_loss(ref.cross_entropy)
    v = ref.validation_gradient(ref.mlp, loss, inputs.params, {}, None, inputs.meta_batch)
    slopes = list(ref.gate_slopes(v, update.gradient, ALPHA).values())
    rows = [np.zeros(w, np.float32) for w in (10, 8, 6)]
    expected, _ = reference_sampler_gradients(
        spec, state.active.eta, rows, uniforms, slopes, lambda r: 0.0 * r.sum()
    )
    moved = jax.tree.map(jnp.subtract, state.active.eta, update.state.active.eta)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=3e-6), moved, expected
    )
    assert max(map(abs, slopes)) > 1e-3
