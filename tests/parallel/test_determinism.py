"""Same seed, same machine, same bits; and no PRNG key is used twice."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref
from jax.errors import KeyReuseError

from famus_jax import (
    all_layers,
    last_layers,
    learned_gates,
    mwnet,
    problem,
    random_depth,
    train_step,
)

N, M = 8, 4
PARAMS = ref.mlp_params(jax.random.key(1), dtype=jnp.float32)
BATCH = ref.classification_batch(2, N, dtype=jnp.float32)
META = ref.classification_batch(3, M, dtype=jnp.float32)
PART = all_layers(examples=4)
ESTIMATORS = [
    PART,
    pytest.param(random_depth(0.5), marks=pytest.mark.slow),
    pytest.param(
        learned_gates("paper", target=2, lag=1, hidden=4, max_programs=2), marks=pytest.mark.slow
    ),
]


def consuming(params, model_state, rng, batch):
    """Dropout whose masks use up the very key that is handed in."""
    h = batch["x"]
    keep = jax.random.bernoulli(rng, 0.7, h.shape)
    return ref.mlp(params, model_state, None, {"x": jnp.where(keep, h / 0.7, 0)})


def twice(params, model_state, rng, batch):
    outputs, model_state = consuming(params, model_state, rng, batch)
    return outputs + jax.random.normal(rng, outputs.shape), model_state


def make(estimator, forward=ref.dropout_mlp, **options):
    named = problem(
        forward, mwnet(hidden=4, start="random", monotone=False), axis=options.pop("axis", None)
    )
    optimizer = optax.sgd(0.1, momentum=0.9)
    return train_step(named, optimizer, estimator, step_size=0.1, **options)


def two_steps(step):
    state = step.init(jax.random.key(0), PARAMS, {}, BATCH, META)
    for _ in range(2):
        state, info = step(state, BATCH, META)
    return jax.tree.map(plain, (state, info))


def plain(x):
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    return np.asarray(x)


@pytest.fixture
def key_reuse_checked():
    with jax.debug_key_reuse(True):
        yield


@pytest.mark.usefixtures("key_reuse_checked")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.label)
def test_no_key_is_used_twice(estimator):
    """By JAX's own checker, which follows typed keys through a compiled program, two steps of it.

    Fails if the forward passes of training batch, its part and meta batch share a key, if a draw and a
    forward pass do, or if a step does not move on to a new one.
    """
    two_steps(make(estimator, consuming))


@pytest.mark.usefixtures("key_reuse_checked")
def test_the_checker_looks_inside():
    """Fails if the test above could not fail: a forward that uses its key twice must be found."""
    with pytest.raises(KeyReuseError):
        two_steps(make(last_layers(1), twice))


def test_same_bits(as_shipped):
    """Compiled anew, the state donated or kept. Fails if anything but the seed enters."""

    def kept(step):
        return jax.jit(step, compiler_options=as_shipped)

    first = two_steps(make(PART))
    for other in (make(PART), make(PART, compile_with=kept)):
        jax.tree.map(np.testing.assert_array_equal, two_steps(other), first)


@pytest.mark.slow
def test_not_compiled():
    """Operation by operation the numbers agree to rounding only: fused operations round differently."""

    def eager(step):
        return step

    pairs = zip(
        jax.tree.leaves(two_steps(make(last_layers(1), compile_with=eager))),
        jax.tree.leaves(two_steps(make(last_layers(1)))),
        strict=True,
    )
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
