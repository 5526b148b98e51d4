"""What memory per example, robust losses and an average cost: next to nothing, in FLOPs of the compiled
step; and what two networks as one do: two."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest

from famus_jax import linen_forward, losses, methods, problem, train_step
from famus_jax.benchmark.measure import loop_free_flops
from famus_jax.forward import pair
from famus_jax.losses import softmax_cross_entropy
from famus_jax.models import build_model

pytestmark = pytest.mark.usefixtures("as_shipped")

COUNT, CLASSES, RATE = 50_000, 10, 0.1
METHODS = {
    "elr": methods.elr(COUNT, CLASSES),
    "sop": methods.sop(COUNT, CLASSES),
    **{
        loss.__name__: methods.cross_entropy(loss(), name=loss.__name__)
        for loss in (
            losses.generalized_cross_entropy,
            losses.symmetric_cross_entropy,
            losses.nce_rce,
            losses.mean_absolute_error,
            losses.label_smoothing,
            losses.bootstrapped,
        )
    },
    "forward_corrected": methods.cross_entropy(losses.forward_corrected([[0.1] * 10] * 10)),
}
CELLS = [
    pytest.param(
        method,
        *network,
        marks=[]
        if network[0] == "cnn" and method in ("elr", "sop", "nce_rce")
        else pytest.mark.slow,
    )
    for network in (("cnn", 12, 32), ("wrn_28_2", 32, 32))
    for method in METHODS
]


def shapes(n, size):
    return {
        "image": jax.ShapeDtypeStruct((n, size, size, 3), jnp.float32),
        "label": jax.ShapeDtypeStruct((n,), jnp.int32),
        "index": jax.ShapeDtypeStruct((n,), jnp.int32),
    }


def optimizer():
    return optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(RATE, momentum=0.9))


@functools.cache
def network(name, size):
    model = build_model(name, CLASSES)
    image = jnp.zeros((1, size, size, 3), jnp.float32)
    variables = dict(jax.eval_shape(lambda key: model.init(key, image), jax.random.key(0)))
    return linen_forward(model), variables.pop("params"), variables


@functools.cache
def plain(name, size, n):
    """Mean cross-entropy, BatchNorm's statistics, the same optimizer, without this library."""
    forward, params, model_state = network(name, size)
    tx, batch = optimizer(), shapes(n, size)

    def step(params, model_state, opt_state, key, batch):
        def loss(params):
            logits, new_state = forward(params, model_state, key, batch)
            return softmax_cross_entropy(logits, batch).mean(), new_state

        (value, new_state), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt_state = tx.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), new_state, opt_state, value

    key, opt_state = jax.eval_shape(jax.random.key, 0), jax.eval_shape(tx.init, params)
    lowered = jax.jit(step).lower(params, model_state, opt_state, key, batch)
    return loop_free_flops(lowered.compile())


def compiled(method, forward, params, model_state, batch, **options):
    step = train_step(problem(forward, method), optimizer(), step_size=RATE, **options)
    state = jax.eval_shape(
        lambda params, state, batch: step.init(jax.random.key(0), params, state, batch),
        params,
        model_state,
        batch,
    )
    return step.lower(state, batch).compile()


@pytest.mark.parametrize("make", [methods.elr, methods.sop])
def test_no_copy_of_the_memory(make):
    """A step's temporary memory is the same for a hundred examples and for a hundred thousand.

    Fails if the arrays are copied where their rows could be written in place.
    """
    forward, params, model_state = network("mlp", 8)
    batch = shapes(16, 8)
    few, many = (
        compiled(make(count, CLASSES), forward, params, model_state, batch).memory_analysis()
        for count in (100, 100_000)
    )
    assert many.alias_size_in_bytes > 4_000_000  # the memory is donated, and comes back in place
    assert many.temp_size_in_bytes <= few.temp_size_in_bytes + 1024


@pytest.mark.parametrize(("method", "name", "size", "n"), CELLS)
def test_flops(method, name, size, n):
    """At most 1.03 of a plain step.

    Fails if a method runs another forward pass, or goes through all N rows of its memory in a step.
    """
    forward, params, model_state = network(name, size)
    batch = shapes(n, size)
    step = compiled(METHODS[method], forward, params, model_state, batch)
    assert loop_free_flops(step) <= 1.03 * plain(name, size, n)


@pytest.mark.parametrize(
    "ema", [0.0, pytest.param(0.999, marks=pytest.mark.slow)], ids=["plain", "averaged"]
)
def test_two_networks_cost_two(ema):
    """At most 1.03 of two plain steps. Fails if the losses by which the networks choose for each other
    take forward passes of their own, or the average does."""
    forward, params, model_state = network("cnn", 12)
    batch = {**shapes(32, 12), "step": jax.ShapeDtypeStruct((), jnp.int32)}
    both = [(one, one) for one in (params, model_state)]
    step = compiled(methods.co_teaching(0.4), pair(forward), *both, batch, ema=ema)
    assert loop_free_flops(step) <= 1.03 * 2 * plain("cnn", 12, 32)
