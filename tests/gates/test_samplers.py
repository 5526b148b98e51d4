"""Gradient samplers: one batched product against one small network per layer; draws and slopes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref

from famus_jax.gates.samplers import init_samplers, sample_gates, sampler_logits

WIDTHS = (3, 7, 1, 4)


def padded(seed):
    rng = np.random.default_rng(seed)
    rows = [rng.normal(size=w).astype(np.float32) for w in WIDTHS]
    return rows, jnp.asarray(np.stack([np.pad(r, (0, max(WIDTHS) - r.size)) for r in rows]))


def uniforms(seed, shape=(4, 2)):
    return jnp.asarray(np.random.default_rng(seed).uniform(0.05, 0.95, shape), jnp.float32)


@pytest.mark.parametrize("depth", [2, 3])
def test_logits(depth):
    """Fails if padding leaks into a narrow layer, if PReLU's slopes are shared, or it also follows
    the last layer."""
    eta = init_samplers(jax.random.key(0), WIDTHS, 6, depth, 0.5)
    eta["slopes"] = [jnp.asarray(uniforms(i, len(WIDTHS))) - 0.5 for i in range(depth - 1)]
    rows, inputs = padded(1)
    logits = sampler_logits(eta, inputs)
    for layer, row in enumerate(rows):
        expected = ref.sampler_logits(eta, layer, row)
        np.testing.assert_allclose(logits[layer], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_gates(temperature):
    """Fails if gate 1 means closed, if the noise is not Gumbel's, or the temperature divides the
    logits alone."""
    eta = init_samplers(jax.random.key(0), WIDTHS, 6, 2, 0.5)
    rows, inputs = padded(2)
    noise = uniforms(3)
    sample = sample_gates(eta, inputs, noise, temperature)
    for layer, row in enumerate(rows):
        logits = ref.sampler_logits(eta, layer, row)
        soft = ref.soft_gate(logits, noise[layer], temperature)
        assert float(sample.soft[layer]) == pytest.approx(float(soft), rel=1e-5)
        assert float(sample.hard[layer]) == pytest.approx(float(soft > 0.5), abs=1e-6)
        odds = float(jnp.exp(logits[1] - logits[0]))
        assert float(sample.probability[layer]) == pytest.approx(odds / (1 + odds), rel=1e-5)


def test_straight_through_gradient():
    """The slope of the hard gates is that of the soft ones, by finite differences.

    Fails if the hard gate's slope is zero (no straight-through) or the temperature is left out.
    """
    eta = init_samplers(jax.random.key(0), WIDTHS, 6, 2, 0.5)
    _, inputs = padded(4)
    noise, weights = uniforms(5), jnp.asarray([1.0, -2.0, 0.5, 3.0])
    slope = jax.grad(lambda eta: jnp.vdot(weights, sample_gates(eta, inputs, noise, 5.0).hard))(eta)
    direction = jax.tree.map(
        lambda x: jnp.asarray(np.random.default_rng(x.size).normal(size=x.shape), x.dtype), eta
    )

    def soft(step):
        moved = jax.tree.map(lambda x, d: x + step * d, eta, direction)
        return float(jnp.vdot(weights, sample_gates(moved, inputs, noise, 5.0).soft))

    h = 1e-2
    expected = (soft(h) - soft(-h)) / (2 * h)
    total = sum(
        jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (slope, direction)), strict=True)
    )
    assert float(total) == pytest.approx(expected, rel=1e-2)


def test_frequency_is_the_stated_probability():
    """Gates open as often as `probability` says: 4,000 draws, 5 standard errors.

    Fails if the noise is on one logit only, or if `probability` contains the temperature.
    """
    eta = init_samplers(jax.random.key(0), WIDTHS, 6, 2, 0.3)
    _, inputs = padded(6)
    noise = jax.random.uniform(jax.random.key(1), (4000, len(WIDTHS), 2))
    draws = jax.jit(jax.vmap(lambda u: sample_gates(eta, inputs, u, 5.0)))(noise)
    frequency, probability = draws.hard.mean(0), draws.probability[0]
    np.testing.assert_allclose(frequency, probability, atol=5 * 0.5 / 4000**0.5)
    assert np.ptp(np.asarray(probability)) > 0.05  # the samplers do differ


def test_start_near_the_open_probability():
    """Fails if the log-odds are added with the wrong sign or twice."""
    eta = init_samplers(jax.random.key(0), (5,) * 200, 64, 2, 0.8)
    probability = sample_gates(eta, jnp.zeros((200, 5)), uniforms(0, (200, 2)), 1.0).probability
    assert float(jnp.median(probability)) == pytest.approx(0.8, abs=0.02)


def test_gates_are_exactly_zero_or_one():
    """Fails if the straight-through trick leaves rounding in the gate: (1 + s) − s need not be 1."""
    eta = init_samplers(jax.random.key(0), (1,) * 500, 4, 2, 0.5)
    inputs = jax.random.normal(jax.random.key(1), (500, 1))
    hard = sample_gates(eta, inputs, uniforms(2, (500, 2)), 1.0).hard
    assert set(np.asarray(hard).tolist()) == {0.0, 1.0}


def test_extreme_noise_is_finite():
    """jax.random.uniform may return 0; fails at log 0."""
    eta = init_samplers(jax.random.key(0), WIDTHS, 6, 2, 0.5)
    _, inputs = padded(7)
    for u in (0.0, 1 - 2**-24):
        noise = jnp.full((len(WIDTHS), 2), u, jnp.float32).at[:, 0].set(0.5)
        value, slope = jax.value_and_grad(
            lambda e, n=noise: sample_gates(e, inputs, n, 1.0).hard.sum()
        )(eta)
        assert bool(jnp.isfinite(value))
        assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(slope))
