"""The compiled training step: executables, donation, resuming, vanishing weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

from famus_jax import cross_entropy, all_layers, l2r, learned_gates, mwnet, last_layers, train_step
from famus_jax.core.problem import Inputs

RATE, N, M = 0.2, 6, 4
PARAMS, MODEL_STATE = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
META = ref.classification_batch(3, M, dtype=jnp.float32)
HEAD = last_layers(1, virtual_step="active")
GATES = learned_gates("budget", target=1.9, virtual_step="active", lag=2, hidden=4)


def batch(i):
    return ref.classification_batch(100 + i, N, dtype=jnp.float32)


def make(estimator=HEAD, objective=None, optimizer=None, **options):
    optimizer = optimizer or optax.sgd(RATE, momentum=0.9)
    return train_step(
        ref.bn_mlp, objective or mwnet(hidden=7), estimator, optimizer, learning_rate=RATE,
        params=PARAMS, model_state=MODEL_STATE, batch=batch(0), **options,
    )  # fmt: skip


def start(step, seed=0):
    return step.init(jax.random.key(seed), PARAMS, MODEL_STATE, batch(0), META)


def cache_size(step):
    return sum(program._cache_size() for program in step._programs.values())


def copy(state):
    return jax.tree.map(jnp.copy, state)


def assert_bits_equal(a, b):
    def bits(x):
        return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x

    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True):
        np.testing.assert_array_equal(bits(x), bits(y))


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
            state, _, _ = head(state, batch(i), META)
    assert cache_size(head) <= 1
    assert int(state.step) == 3


def test_state_is_donated(head):
    """The old buffers are gone, the caller's parameters are not. Fails if nothing is donated."""
    state = start(head)
    new, _, _ = head(state, batch(0), META)
    assert all(x.is_deleted() for x in jax.tree.leaves((state.params, state.opt_state)))
    assert not any(x.is_deleted() for x in jax.tree.leaves((PARAMS, MODEL_STATE, new)))


def test_no_host_transfer(head):
    """With a fixed set the host reads and sends nothing. Fails if a step number is fetched."""
    state, device_batch, meta = start(head), jax.device_put(batch(0)), jax.device_put(META)
    state, _, _ = head(state, device_batch, meta)
    with jax.transfer_guard("disallow"):
        state, _, _ = head(state, device_batch, meta)


@pytest.mark.slow
def test_bounded_variants(gated):
    """At most one executable per cut, whatever the gates do; fails if masks are static."""
    for seed in range(3):
        state = start(gated, seed)
        for i in range(5):
            state, info, _ = gated(state, batch(i), META)
            assert 0 <= int(info.branch) < len(GATES.active.cuts(gated.problem.groups))
    assert cache_size(gated) <= len(GATES.active.cuts(gated.problem.groups))


def test_gates_were_drawn_lag_steps_ago(gated):
    """Fails if the host's queue runs ahead of or behind the state's."""
    state = start(gated, 5)
    promised = state.meta.gates.branches.tolist()
    for i in range(6):
        state, info, _ = gated(state, batch(i), META)
        promised.append(int(info.next_branch))
        assert int(info.branch) == promised[i]
    assert state.meta.gates.branches.tolist() == promised[-2:]


@pytest.mark.parametrize("kind", ["head", "gated"])
def test_resume_bit_by_bit(kind, request):
    """Two steps, a copy, three more; the copy continues alike, also after a detour of the step
    object through another run. Fails if the gates' queue lives on the host alone.
    """
    step = request.getfixturevalue(kind)
    state = start(step, 3)
    for i in range(2):
        state, _, _ = step(state, batch(i), META)
    saved = copy(state)
    for i in range(2, 5):
        state, info, _ = step(state, batch(i), META)
    other = start(step, 4)
    step(other, batch(0), META)
    resumed = saved
    for i in range(2, 5):
        resumed, resumed_info, _ = step(resumed, batch(i), META)
    assert_bits_equal(resumed, state)
    assert_bits_equal(resumed_info, info)


def test_interleaved_runs(gated):
    """Two runs that share one step object; fails if one gets the other's gates."""
    alone = start(gated, 8)
    for i in range(3):
        alone, _, _ = gated(alone, batch(i), META)
    a, b = start(gated, 8), start(gated, 9)
    for i in range(3):
        a, _, _ = gated(a, batch(i), META)
        b, _, _ = gated(b, batch(i + 7), META)
    assert_bits_equal(a, alone)


@pytest.mark.parametrize(
    "objective",
    [l2r(), mwnet(hidden=7)],
    ids=["l2r where nothing helps", "mwnet saturated"],
)
def test_all_zero_weights(objective):
    """Parameters stay, nothing is NaN. Fails at 0 / 0 in weights, gradient or diagnostics."""
    # A meta loss that every useful step makes worse, on a batch of one kind of example.
    one = {"x": jnp.ones((N, 3)), "label": jnp.zeros(N, jnp.int32)}
    params = ref.mlp_params(jax.random.key(0), dtype=jnp.float32)

    def worse(outputs, batch):
        return -ref.cross_entropy(outputs, batch).sum() / N

    step = train_step(
        ref.mlp, objective, all_layers(), optax.sgd(RATE), learning_rate=RATE,
        params=params, model_state={}, batch=one, meta_loss=worse,
    )  # fmt: skip
    state = step.init(jax.random.key(0), params, {}, one, one)
    if objective.name == "mwnet":
        theta = {**state.meta.theta, "bias_2": jnp.full((1,), -1e4, jnp.float32)}
        state = state._replace(meta=state.meta._replace(theta=theta))
    for _ in range(2):
        state, info, _ = step(state, one, one)
    assert info.weights.tolist() == [0.0] * N
    for a, b in zip(*map(jax.tree.leaves, (state.params, params)), strict=True):
        np.testing.assert_array_equal(a, b)
    numbers = [x for x in jax.tree.leaves((state, info)) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert all(bool(jnp.isfinite(x).all()) for x in numbers)


def test_coast_is_the_optimiser_at_zero_gradient():
    """θ' with closed groups coasting by momentum and decay; fails if they coast by the last update
    (with its gradient), or stay.
    """
    tx = optax.chain(optax.add_decayed_weights(0.3), optax.sgd(RATE, momentum=0.9))
    beta = 1e3  # so that θ's move is far above float32's rounding of θ itself
    objective = mwnet(hidden=7, meta_optimizer=optax.sgd(beta))
    step = make(last_layers(1, virtual_step="active", closed="coast"), objective, tx)
    state = start(step)
    state, _, _ = step(state, batch(0), META)
    before = copy(state)
    state, info, _ = step(state, batch(1), META)

    zeros = jax.tree.map(jnp.zeros_like, before.params)
    coast, _ = tx.update(zeros, before.opt_state, before.params)
    by_hand = jax.tree.map(
        lambda w, m: -RATE * (0.9 * m + 0.3 * w),
        before.params,
        optax.tree.get(before.opt_state, "trace"),
    )
    for a, b in zip(*map(jax.tree.leaves, (coast, by_hand)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    point = Inputs(before.params, before.model_state, None, batch(1), META, RATE, by_hand)
    w, model_state, rng, training, meta, alpha, _ = point
    args = (ref.bn_mlp, ref.mwnet("sum"), ref.mean_loss(ref.cross_entropy), w, model_state, rng)
    value, gradient = jax.value_and_grad(ref.l_val)(
        before.meta.theta, *args, training, meta, alpha, {"layer2"}, "coast", by_hand
    )
    assert float(info.meta_loss) == pytest.approx(float(value), rel=1e-5)
    for new, old, g in zip(
        *map(jax.tree.leaves, (state.meta.theta, before.meta.theta, gradient)), strict=True
    ):
        scale = float(jnp.abs(beta * g).max()) + 1e-6
        np.testing.assert_allclose(new, old - beta * g, atol=1e-2 * scale)


def test_metrics_and_plain_training():
    """Cross-entropy through the same door: w − η ∇ mean ℓ, metrics of the training outputs."""
    step = make(all_layers(), cross_entropy(), optax.sgd(RATE), metrics=lambda o, b: {"sum": o.sum()})
    state = step.init(jax.random.key(0), PARAMS, MODEL_STATE, batch(0))
    state, info, metrics = step(state, batch(1))

    def loss(w):
        outputs, new_state = ref.bn_mlp(w, MODEL_STATE, None, batch(1))
        return ref.cross_entropy(outputs, batch(1)).sum() / N, (outputs, new_state)

    (value, (outputs, new_state)), gradient = jax.value_and_grad(loss, has_aux=True)(PARAMS)
    expected = jax.tree.map(lambda w, g: w - RATE * g, PARAMS, gradient)
    for a, b in zip(
        *map(jax.tree.leaves, ((state.params, state.model_state), (expected, new_state))),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert float(info.loss) == pytest.approx(float(value), rel=1e-5)
    assert float(metrics["sum"]) == pytest.approx(float(outputs.sum()), rel=1e-5)


def test_gates_must_be_known_before_dispatch():
    with pytest.raises(ValueError, match=r"use learned_gates\(\.\.\., lag=2\)"):
        make(learned_gates("budget"))
