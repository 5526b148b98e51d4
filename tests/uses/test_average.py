"""The moving average of a network, against a loop in float64 over what the steps made."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

from famus_jax import parallel, problem, train_step
from famus_jax.losses import softmax_cross_entropy
from famus_jax.methods import cross_entropy
from famus_jax.uses.average import first_average, updated_average

RATE, N, STEPS = 0.5, 8, 7
PARAMS, MODEL_STATE = ref.bn_params(jax.random.key(1), dtype=jnp.float32)


def batch(i):
    return ref.classification_batch(100 + i, N, dtype=jnp.float32)


def trained(ema=0.0, batches=None, place=lambda state, batch: (state, batch), **options):
    """The states after each step, as numpy arrays, and the last one."""
    step = train_step(
        problem(ref.bn_mlp, cross_entropy()),
        optax.sgd(RATE, momentum=0.9),
        step_size=RATE,
        ema=ema,
        **options,
    )
    state = step.init(jax.random.key(0), PARAMS, MODEL_STATE, batch(0))
    states = []
    for i in range(STEPS):
        state, given = place(state, batches[i] if batches else batch(i))
        state, _ = step(state, given)
        states.append(jax.device_get(state._replace(key=(), meta=state.meta._replace(key=()))))
    return states


def close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.mark.parametrize("decay", [0.3, 0.75, 0.999])
def test_the_weights_of_the_steps(decay):
    """w_1 whole, then each step's share s_t = max(1 − d, 1/t): written out as weights of the steps.

    Fails if the start is in the average, the parameters of before the step are, the running statistics
    are not, or the mean of the first steps does not end at 1 / (1 − d).
    """
    states = trained(decay)
    shares = [max(1 - decay, 1 / t) for t in range(1, STEPS + 1)]
    weights = np.array([s * np.prod(1 - np.array(shares[t + 1 :])) for t, s in enumerate(shares)])
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    if decay == 0.999:
        np.testing.assert_allclose(weights, np.full(STEPS, 1 / STEPS), rtol=1e-9)
    networks = [(state.params, state.model_state) for state in states]
    expected = jax.tree.map(
        lambda *x: sum(w * np.asarray(a, np.float64) for w, a in zip(weights, x)), *networks
    )
    close(states[-1].average, expected, rtol=2e-6, atol=2e-7)


def test_training_does_not_depend_on_it():
    """The same parameters with and without; without, nothing is carried and nothing is compiled.

    Fails if the average is trained on, or a run without one has a part for it in its checkpoints.
    """
    plain, averaged = trained()[-1], trained(0.9)[-1]
    close(plain.params, averaged.params, rtol=2e-5, atol=1e-6)
    assert plain.average == ()
    assert len(jax.tree.leaves(plain)) < len(jax.tree.leaves(averaged))


def test_a_skipped_step_is_not_averaged():
    """Fails if an infinity gets into the average, where it would stay for ever."""
    batches = [batch(i) for i in range(STEPS)]
    batches[3] = {**batches[3], "x": batches[3]["x"].at[0, 0].set(jnp.inf)}
    states = trained(0.5, batches, skip_nonfinite=True)
    close(states[3].average, states[2].average, rtol=0)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(states[-1].average))


@pytest.mark.parametrize("spread", [parallel.replicated, parallel.sharded])
def test_on_many_devices(spread):
    """Four devices as one, with the state copied or spread. Fails if devices average apart."""
    mesh = parallel.data_mesh(jax.devices()[:4])

    def place(state, given):
        return parallel.place(state, spread(state, mesh)), parallel.shard_batch(given, mesh)

    many = trained(0.6, place=place, compile_with=parallel.global_view(mesh))
    close(many[-1].average, trained(0.6)[-1].average, rtol=2e-5, atol=2e-6)


def test_what_is_no_number_of_its_own():
    """Counts and keys are the last ones; bfloat16 is averaged in float32, where 0.001 of it counts."""
    network = {
        "w": jnp.ones((), jnp.bfloat16),
        "count": jnp.int32(3),
        "key": jax.random.key(7),
    }
    average = first_average(network, 0.999)
    later = {"w": jnp.bfloat16(2), "count": jnp.int32(5), "key": jax.random.key(8)}
    average = updated_average(average, later, jnp.int32(5000), 0.999)
    assert float(average["w"]) == pytest.approx(1.001, abs=1e-6)
    assert int(average["count"]) == 5
    assert jnp.array_equal(jax.random.key_data(average["key"]), jax.random.key_data(later["key"]))


@pytest.mark.parametrize("decay", [1.0, -0.1, 1.5])
def test_decays_that_cannot_be(decay):
    with pytest.raises(ValueError, match=rf"ema.*must lie in \[0, 1\).*got {decay}"):
        train_step(
            problem(ref.bn_mlp, cross_entropy(softmax_cross_entropy)),
            optax.sgd(RATE),
            step_size=RATE,
            ema=decay,
        )
