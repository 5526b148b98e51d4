"""What a step on part of the parameters may hold at once: LoRA on a small Transformer.

Temporary memory as XLA counts it on the CPU, over that of a plain step with the same frozen parameters.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest

import famus_jax
from famus_jax import all_layers
from famus_jax.core.programs import Program
from famus_jax.losses import softmax_cross_entropy

pytestmark = pytest.mark.usefixtures("as_shipped")

N, LENGTH, WIDTH, CLASSES = 64, 16, 32, 4
WORDS = 40_000  # a copy of the frozen embedding would be as large as all that a plain step holds


class LoRADense(nn.Module):
    """A dense layer and a product of two thin ones beside it."""

    width: int

    @nn.compact
    def __call__(self, x):
        low = nn.Dense(2, use_bias=False, name="lora_a")(x)
        return nn.Dense(self.width)(x) + nn.Dense(self.width, use_bias=False, name="lora_b")(low)


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(WORDS, WIDTH)(tokens)
        h = nn.LayerNorm()(x)
        q, k, v = (LoRADense(WIDTH)(h) for _ in range(3))
        x = x + nn.Dense(WIDTH)(jax.nn.softmax(q @ k.swapaxes(1, 2) / WIDTH**0.5) @ v)
        x = x + LoRADense(WIDTH)(jax.nn.gelu(LoRADense(4 * WIDTH)(nn.LayerNorm()(x))))
        return nn.Dense(CLASSES)(nn.LayerNorm()(x).mean(1))


def batch_of(n):
    return {
        "tokens": jax.ShapeDtypeStruct((n, LENGTH), jnp.int32),
        "label": jax.ShapeDtypeStruct((n,), jnp.int32),
    }


def is_lora(path):
    return "lora" in path


@pytest.fixture(scope="module")
def network():
    model = Transformer()
    params, _ = famus_jax.linen_init(model, jax.random.key(0), jnp.ones((1, LENGTH), jnp.int32))
    return famus_jax.linen_forward(model, input="tokens"), params


def optimizer():
    return optax.adam(1e-3)


@pytest.fixture(scope="module")
def plain(network):
    """Temporary bytes of a step that differentiates the trained parameters alone, by hand."""
    forward, params = network
    flat, treedef = jax.tree_util.tree_flatten_with_path(params)
    on = ["lora" in jax.tree_util.keystr(path) for path, _ in flat]
    tx = optimizer()

    def step(some, frozen, opt_state, batch):
        def loss(some):
            new, still = iter(some), iter(frozen)
            whole = jax.tree.unflatten(treedef, [next(new if x else still) for x in on])
            logits, _ = forward(whole, {}, None, batch)
            return softmax_cross_entropy(logits, batch).mean()

        value, gradient = jax.value_and_grad(loss)(some)
        updates, opt_state = tx.update(gradient, opt_state, some)
        return optax.apply_updates(some, updates), frozen, opt_state, value

    some = [x for (_, x), keep in zip(flat, on, strict=True) if keep]
    frozen = [x for (_, x), keep in zip(flat, on, strict=True) if not keep]
    lowered = jax.jit(step, donate_argnums=(0, 1, 2)).lower(
        some, frozen, tx.init(some), batch_of(N)
    )
    return lowered.compile().memory_analysis().temp_size_in_bytes


CARRIED = all_layers(examples=4, virtual_step="carried", renew_every=8, decay=0.5)
STEPS = {
    "eight examples": (famus_jax.mwnet(), None, 8, None),
    "carried": (famus_jax.mwnet(), CARRIED, 16, Program(renews=True)),
    "L2R's default": (famus_jax.l2r(), None, 16, None),
}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in STEPS if name != "eight examples"]


@pytest.mark.parametrize("name", ["eight examples", *SLOW])
def test_no_more_memory_than_plain(network, plain, name):
    """Fails if a copy or a gradient of the frozen parameters is held, or the whole batch twice."""
    (forward, params), (method, estimator, m, program) = network, STEPS[name]
    problem = famus_jax.problem(forward, method, trainable=is_lora)
    train = famus_jax.train_step(problem, optimizer(), estimator, step_size=1e-3)
    shapes = {"tokens": jnp.ones((N, LENGTH), jnp.int32), "label": jnp.zeros(N, jnp.int32)}
    state = train.init(jax.random.key(1), params, {}, shapes)
    lowered = train.lower(state, batch_of(N), batch_of(m), program=program)
    memory = lowered.compile().memory_analysis()
    assert memory.temp_size_in_bytes <= 1.1 * plain
