"""The compiled training step: executables, donation, resuming, vanishing weights."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
import reference as ref

from famus_jax import (
    all_layers,
    find_layers,
    l2r,
    last_layers,
    learned_gates,
    mwnet,
    problem,
    train_step,
)
from famus_jax.core.programs import Program
from famus_jax.core.state import empty_info
from famus_jax.methods import cross_entropy
from famus_jax.uses.dispatch import check_program

RATE, N, M = 0.2, 6, 4
PARAMS, MODEL_STATE = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
META = ref.classification_batch(3, M, dtype=jnp.float32)
HEAD = last_layers(1, virtual_step="active")
GATES = learned_gates("budget", target=1.9, virtual_step="active", lag=2, hidden=4)


def batch(i):
    return ref.classification_batch(100 + i, N, dtype=jnp.float32)


def make(estimator=HEAD, method=None, optimizer=None, **options):
    optimizer = optimizer or optax.sgd(RATE, momentum=0.9)
    what = problem(ref.bn_mlp, method or mwnet(hidden=7, start="random", monotone=False))
    return train_step(what, optimizer, estimator, step_size=RATE, **options)


def start(step, seed=0):
    return step.init(jax.random.key(seed), PARAMS, MODEL_STATE, batch(0), META)


def cache_size(step):
    return sum(program._cache_size() for program in step._programs.values())


def copy(state):
    return jax.tree.map(jnp.copy, state)


@pytest.fixture(scope="module")
def head():
    return make()


@pytest.fixture(scope="module")
def gated():
    return make(GATES)


def test_one_executable(head):
    """Steps and seeds share it. Fails if a key, a count or a Python number is baked in."""
    for seed in (0, 1):
        state = start(head, seed)
        for i in range(3):
            state, _ = head(state, batch(i), META)
    assert cache_size(head) <= 1
    assert int(state.step) == 3


def test_state_is_donated(head):
    """The old buffers are gone, the caller's parameters are not. Fails if nothing is donated."""
    state = start(head)
    new, _ = head(state, batch(0), META)
    assert all(x.is_deleted() for x in jax.tree.leaves((state.params, state.opt_state)))
    assert not any(x.is_deleted() for x in jax.tree.leaves((PARAMS, MODEL_STATE, new)))


def test_no_host_transfer(head):
    """With a fixed set the host reads and sends nothing. Fails if a step number is fetched."""
    state, device_batch, meta = start(head), jax.device_put(batch(0)), jax.device_put(META)
    state, _ = head(state, device_batch, meta)
    with jax.transfer_guard("disallow"):
        state, _ = head(state, device_batch, meta)


def gates_programs():
    layers = find_layers(ref.bn_mlp, PARAMS, MODEL_STATE, jax.random.key(0), batch(0))
    return len(GATES.active.programs(layers))


@pytest.mark.slow
def test_bounded_programs(gated):
    """At most one executable per program, whatever the gates do; fails if masks are static."""
    programs = gates_programs()
    for seed in range(3):
        state = start(gated, seed)
        for i in range(5):
            state, info = gated(state, batch(i), META)
            assert 0 <= int(info.program) < programs
    assert cache_size(gated) <= programs


def test_gates_were_drawn_lag_steps_ago(gated):
    """Fails if the host's account runs ahead of or behind the state's draws."""
    state = start(gated, 5)
    promised = state.meta.draws.program.tolist()
    for i in range(6):
        state, info = gated(state, batch(i), META)
        promised.append(int(state.meta.draws.program[-1]))
        assert int(info.program) == promised[i]
    assert state.meta.draws.program.tolist() == promised[-2:]


@pytest.mark.parametrize("kind", ["head", "gated"])
def test_resume_bit_by_bit(kind, request):
    """Two steps, a copy, three more; the copy continues alike, also after a detour of the step
    object through another run. Fails if the draws to come live on the host alone.
    """
    step = request.getfixturevalue(kind)
    state = start(step, 3)
    for i in range(2):
        state, _ = step(state, batch(i), META)
    saved = copy(state)
    for i in range(2, 5):
        state, info = step(state, batch(i), META)
    other = start(step, 4)
    step(other, batch(0), META)
    resumed = saved
    for i in range(2, 5):
        resumed, resumed_info = step(resumed, batch(i), META)
    chex.assert_trees_all_equal(resumed, state)
    chex.assert_trees_all_equal(resumed_info, info)


def test_interleaved_runs(gated):
    """Two runs that share one step object; fails if one gets the other's gates."""
    alone = start(gated, 8)
    for i in range(3):
        alone, _ = gated(alone, batch(i), META)
    a, b = start(gated, 8), start(gated, 9)
    for i in range(3):
        a, _ = gated(a, batch(i), META)
        b, _ = gated(b, batch(i + 7), META)
    chex.assert_trees_all_equal(a, alone)


@pytest.mark.parametrize(
    "method",
    [l2r(), mwnet(hidden=7, start="random", monotone=False)],
    ids=["l2r where nothing helps", "mwnet saturated"],
)
def test_all_zero_weights(method):
    """Parameters stay, nothing is NaN. Fails at 0 / 0 in weights, gradient or diagnostics."""
    # A meta loss that every useful step makes worse, on a batch of one kind of example.
    one = {"x": jnp.ones((N, 3)), "label": jnp.zeros(N, jnp.int32)}
    params = ref.mlp_params(jax.random.key(0), dtype=jnp.float32)

    def worse(outputs, batch):
        return -ref.cross_entropy(outputs, batch).sum() / N

    what = problem(ref.mlp, method, meta_loss=worse)
    step = train_step(what, optax.sgd(RATE), all_layers(), step_size=RATE)
    state = step.init(jax.random.key(0), params, {}, one, one)
    if method.name == "mwnet":
        theta = {**state.meta.theta, "bias_2": jnp.full((1,), -1e4, jnp.float32)}
        state = state._replace(meta=state.meta._replace(theta=theta))
    for _ in range(2):
        state, info = step(state, one, one)
    assert info.weights.tolist() == [0.0] * N
    chex.assert_trees_all_equal(state.params, params)
    numbers = [x for x in jax.tree.leaves((state, info)) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert all(bool(jnp.isfinite(x).all()) for x in numbers)


def test_metrics_and_plain_training():
    """Cross-entropy through the same door: w − η ∇ mean ℓ, metrics of the training outputs."""
    sums = {"metrics": lambda outputs, batch: {"sum": outputs.sum()}}
    step = make(all_layers(), cross_entropy(), optax.sgd(RATE), **sums)
    state = step.init(jax.random.key(0), PARAMS, MODEL_STATE, batch(0))
    state, info = step(state, batch(1))

    def loss(w):
        outputs, new_state = ref.bn_mlp(w, MODEL_STATE, None, batch(1))
        return ref.cross_entropy(outputs, batch(1)).sum() / N, (outputs, new_state)

    (value, (outputs, new_state)), gradient = jax.value_and_grad(loss, has_aux=True)(PARAMS)
    expected = jax.tree.map(lambda w, g: w - RATE * g, PARAMS, gradient)
    chex.assert_trees_all_close(
        (state.params, state.model_state), (expected, new_state), rtol=1e-5, atol=1e-6
    )
    assert float(info.loss) == pytest.approx(float(value), rel=1e-5)
    assert float(info.metrics["sum"]) == pytest.approx(float(outputs.sum()), rel=1e-5)


def test_gates_must_be_known_before_dispatch():
    with pytest.raises(ValueError, match=r"use learned_gates\(\.\.\., lag=2\)"):
        make(learned_gates("budget"))


def test_the_step_size_is_that_of_this_step():
    """α₀ = 0.2, then 0: the first step's θ is that of the constant 0.2, in the second the meta gradient
    is 0. Fails if the virtual step looks one step ahead in the schedule."""
    rates = jnp.asarray([RATE, 0.0, 0.7])
    norms = {}
    for name, step_size in (("schedule", lambda t: rates[t]), ("constant", RATE)):
        train = train_step(
            problem(ref.bn_mlp, mwnet(hidden=4, start="random", monotone=False)),
            optax.sgd(RATE),
            all_layers(),
            step_size=step_size,
        )
        state = train.init(jax.random.key(0), PARAMS, MODEL_STATE, batch(0), META)
        norms[name] = []
        for i in range(2):
            state, info = train(state, batch(i), META)
            norms[name].append(float(info.theta_norm))
    assert norms["schedule"][0] == norms["constant"][0] > 0
    assert norms["schedule"][1] == 0 < norms["constant"][1]


@pytest.mark.parametrize(
    ("program", "drawn", "updated"),
    [(Program(index=1), 0, 1.0), (Program(meta=False), -1, 1.0), (Program(), -1, 0.0)],
)
def test_a_program_that_was_not_called_for_is_noticed(program, drawn, updated):
    """In debug mode, which these tests run in. Fails if a step that ran another program than its state
    called for goes unnoticed."""
    info = empty_info(all_layers(), jnp.float32)
    info = info._replace(program=jnp.int32(drawn), updated=jnp.float32(updated))
    with pytest.raises(RuntimeError, match="its state called for"):
        check_program(program, info)
    check_program(Program(index=2), info._replace(program=jnp.int32(2), updated=jnp.float32(1)))
