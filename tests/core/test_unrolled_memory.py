"""What looking eight steps ahead may hold at once, on a small Transformer: temporary memory as XLA
counts it on the CPU, in mixed mode over reverse mode over reverse mode."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest

import famus_jax

K, N, M, LENGTH, WIDTH = 8, 64, 16, 32, 64


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(256, WIDTH)(tokens)
        for _ in range(2):
            x = x + nn.MultiHeadDotProductAttention(4)(nn.LayerNorm()(x))
            x = x + nn.Dense(WIDTH)(nn.gelu(nn.Dense(4 * WIDTH)(nn.LayerNorm()(x))))
        return nn.Dense(4)(nn.LayerNorm()(x).mean(1))


def shapes(*leading):
    return {
        "tokens": jax.ShapeDtypeStruct((*leading, LENGTH), jnp.int32),
        "label": jax.ShapeDtypeStruct(leading, jnp.int32),
    }


@pytest.mark.slow
def test_a_fifth_of_naive_unrolling(as_shipped):
    """Fails if the passes of a step are kept until its turn on the way back."""
    del as_shipped
    model = Transformer()
    params, _ = famus_jax.linen_init(model, jax.random.key(0), jnp.ones((1, LENGTH), jnp.int32))
    problem = famus_jax.problem(famus_jax.linen_forward(model, input="tokens"), famus_jax.mwnet())

    def memory(route):
        estimator = famus_jax.look_ahead(K, route=route)
        train = famus_jax.train_step(problem, optax.adam(1e-3), estimator, step_size=1e-3)
        batches = shapes(K, N), shapes(M)
        state = jax.eval_shape(
            lambda params, *batches: train.init(jax.random.key(1), params, {}, *batches),
            params,
            *batches,
        )
        return train.lower(state, *batches).compile().memory_analysis().temp_size_in_bytes

    assert 5 * memory("jvp") <= memory("second_order")
