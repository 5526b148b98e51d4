"""Pooled gradients against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref

from famus_jax import layers_by
from famus_jax.gates.pooling import gradient_matching, layer_widths, pool_layers, pool_tensor

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 3, 2, 5)).astype(np.float32)
BIAS = RNG.normal(size=5).astype(np.float32)
HOW = ["mean", "standardized_sum", "rms"]


@pytest.mark.parametrize("out_axis", [-1, 0, 2])
@pytest.mark.parametrize("how", HOW)
def test_pool_tensor(how, out_axis):
    """Fails if the channel axis is pooled too, or the deviation is the biased one."""
    pooled = pool_tensor(jnp.asarray(KERNEL), how, out_axis)
    assert pooled.shape == (KERNEL.shape[out_axis],)
    np.testing.assert_allclose(pooled, ref.pool(KERNEL, how, out_axis), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", HOW)
def test_vectors_stay(how):
    """A bias is its own pooled form; fails if it is averaged to one number."""
    np.testing.assert_allclose(pool_tensor(jnp.asarray(BIAS), how), ref.pool(BIAS, how), rtol=1e-5)
    assert pool_tensor(jnp.float32(3.0), "mean").shape == (1,)


@pytest.mark.parametrize("how", HOW)
def test_pool_layers(how):
    """Rows are the layers' concatenated tensors, zeros elsewhere.

    Fails if a layer's second tensor overwrites the first, if padding enters the root mean square,
    or if a layer outside the part gets a row.
    """
    tree = {
        "a": {"b": BIAS, "w": KERNEL},
        "z": RNG.normal(size=(4, 2)).astype(np.float32),
        "n": BIAS[:3],
    }
    layers = layers_by(tree, {"a": {"b": 1, "w": 1}, "z": 2, "n": 0})
    assert layer_widths(layers, tree) == (3, 10, 2)
    active = (1, 2)
    part = layers.part(jax.tree.map(jnp.asarray, tree), active)
    rows = pool_layers(part, active, layers, 10, how)
    assert rows.shape == (3, 10)
    expected = np.zeros((3, 10))
    expected[1] = ref.pool_group([BIAS, KERNEL], how)
    expected[2, :2] = ref.pool_group([tree["z"]], how)
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", HOW)
def test_zero_gradient_has_no_nan(how):
    """L2R's virtual gradient is zero; fails at 0 / 0 or the slope of a root at 0."""
    layers = layers_by({"w": KERNEL, "b": BIAS}, {"w": 0, "b": 0})

    def total(scale):
        part = (jnp.zeros_like(BIAS) * scale, jnp.zeros_like(KERNEL) * scale)
        return pool_layers(part, (0,), layers, 10, how).sum()

    value, slope = jax.value_and_grad(total)(1.0)
    assert (float(value), float(slope)) == (0.0, 0.0)


def test_matching_by_mean():
    """L_g by hand (Eq. 11): kernel columns' means and the bias; fails if the kernel is not pooled."""
    train = {"w": KERNEL[0, 0], "b": BIAS}
    val = {"w": KERNEL[1, 0], "b": 2 * BIAS}
    value = gradient_matching((train["w"], train["b"]), (val["w"], val["b"]), "mean")
    assert float(value) == pytest.approx(float(ref.matching_mean(train, val)), rel=1e-5)


def test_matching_holds_the_validation_side():
    """Fails if gradients flow into the validation side."""

    def value(train, val, how):
        return gradient_matching(
            (train * jnp.asarray(KERNEL[0, 0]),), (val * jnp.asarray(KERNEL[1, 0]),), how
        )

    for how in ("mean", "mean_std"):
        train, val = jax.grad(value, argnums=(0, 1))(1.0, 1.0, how)
        assert float(train) != 0
        assert float(val) == 0
