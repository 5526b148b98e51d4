"""Methods against their definitions, and where their weights vanish."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

from famus_jax.losses import normalize_by_sum
from famus_jax.methods import cross_entropy, l2r, mwnet, mwnet_weight

LOGITS = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
BATCH = ref.classification_batch(1, 5, dtype=jnp.float32)
THETA = ref.mwnet_theta(jax.random.key(0), dtype=jnp.float32)


@pytest.mark.parametrize("normalize", ["sum", "n"])
def test_mwnet(normalize):
    """T, weights and both gradients; fails if the loss is differentiated inside the weighting net."""
    method = mwnet(hidden=7, start="random", monotone=False, normalize=normalize)
    reference = ref.mwnet(normalize)

    def value(theta, logits):
        return method.loss(theta, logits, BATCH)[0]

    loss, weights = method.loss(THETA, LOGITS, BATCH)
    losses = ref.cross_entropy(LOGITS, BATCH)
    np.testing.assert_allclose(weights, ref.mwnet_weights(THETA, losses, normalize), rtol=1e-5)
    assert float(loss) == pytest.approx(float(reference(THETA, LOGITS, BATCH)), rel=1e-5)
    actual = jax.grad(value, argnums=(0, 1))(THETA, LOGITS)
    expected = jax.grad(reference, argnums=(0, 1))(THETA, LOGITS, BATCH)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), actual, expected
    )


def test_mwnet_start():
    """Shapes 1-100-1 and weights strictly inside (0, 1)."""
    theta = mwnet().init(jax.random.key(0), 5)
    assert {k: v.shape for k, v in theta.items()} == {
        "kernel_1": (1, 100), "bias_1": (100,), "kernel_2": (100, 1), "bias_2": (1,),
    }  # fmt: skip
    weights = mwnet_weight(theta, jnp.linspace(0, 5, 7))
    assert weights.shape == (7,)
    assert bool(((weights > 0) & (weights < 1)).all())


@pytest.mark.parametrize("normalize", ["sum", "n"])
def test_mwnet_saturated_at_zero(normalize):
    """All weights 0: T = 0 and finite gradients everywhere; fails at 0 / 0 in value or slope."""
    method = mwnet(hidden=7, start="random", monotone=False, normalize=normalize)
    dead = {**THETA, "bias_2": jnp.full((1,), -1e4, jnp.float32)}
    (value, weights), gradients = jax.value_and_grad(
        lambda theta, logits: method.loss(theta, logits, BATCH), argnums=(0, 1), has_aux=True
    )(dead, LOGITS)
    assert float(value) == 0
    assert weights.tolist() == [0.0] * 5
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(gradients))


def test_l2r():
    """T = Σ ε ℓ at given ε; the rule max(−g, 0) / Σ; fails if negative parts survive."""
    method = l2r()
    epsilon = jnp.asarray([0.5, -0.1, 0.0, 2.0, 1.0])
    value, weights = method.loss(epsilon, LOGITS, BATCH)
    assert float(value) == pytest.approx(float(ref.l2r()(epsilon, LOGITS, BATCH)), rel=1e-5)
    np.testing.assert_array_equal(weights, epsilon)
    gradient = jnp.asarray([-1.0, 3.0, -4.0, 0.0, 2.0])
    update, _ = method.meta_optimizer.update(gradient, method.meta_optimizer.init(epsilon))
    np.testing.assert_allclose(update, ref.l2r_weights(gradient))
    np.testing.assert_allclose(update, [0.2, 0, 0.8, 0, 0])
    update, _ = method.meta_optimizer.update(jnp.ones(5), method.meta_optimizer.init(epsilon))
    assert update.tolist() == [0.0] * 5


def test_cross_entropy():
    """Mean, not sum."""
    value, weights = cross_entropy().loss((), LOGITS, BATCH)
    assert float(value) == pytest.approx(
        float(ref.cross_entropy(LOGITS, BATCH).sum()) / 5, rel=1e-6
    )
    np.testing.assert_allclose(weights, [0.2] * 5)
    assert not cross_entropy().has_theta
    assert mwnet().has_theta
    assert l2r().has_theta


def test_normalize_by_sum():
    """Slope of x / Σx by finite differences, and none of NaN at zero."""
    x = jnp.asarray([0.5, 1.5, 2.0])
    slope = jax.jacobian(normalize_by_sum)(x)
    expected = np.eye(3) / 4 - np.outer(x, np.ones(3)) / 16
    np.testing.assert_allclose(slope, expected, rtol=1e-5)
    assert bool(jnp.isfinite(jax.jacobian(normalize_by_sum)(jnp.zeros(3))).all())


@pytest.mark.parametrize("size", [1e-8, 1e-20, 1e-30, 1e-36])
def test_normalize_tiny_values(size):
    """Weights that have all but vanished, in float32, against the formula in float64. Fails if Σ² is 0
    where Σ is not: one NaN in θ would end the training."""
    x = np.asarray([1.0, 3.0]) * size
    given = jnp.asarray(x, jnp.float32)
    np.testing.assert_allclose(normalize_by_sum(given), [0.25, 0.75], rtol=1e-6)
    slope = np.asarray(jax.jacobian(normalize_by_sum)(given), np.float64)
    expected = np.eye(2) / x.sum() - np.outer(x, np.ones(2)) / x.sum() ** 2
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_normalize_zeros_of_any_width(dtype):
    """Fails if what makes tiny values larger is infinite in a narrow dtype: 0 times that is NaN."""
    assert normalize_by_sum(jnp.zeros(3, dtype)).tolist() == [0, 0, 0]
    np.testing.assert_allclose(
        normalize_by_sum(jnp.asarray([1e-3, 3e-3], dtype)), [0.25, 0.75], rtol=1e-2
    )


@pytest.mark.parametrize("normalize", ["sum", "n"])
def test_mwnet_when_all_weights_vanish(normalize):
    """V of e^-60 to e^-80 for every example that is heard: θ still has a gradient, and it is finite."""
    method = mwnet(hidden=4, normalize=normalize)
    theta = method.init(jax.random.key(0), 2)
    theta = {**theta, "bias_2": jnp.full_like(theta["bias_2"], -60.0)}
    logits, batch = jnp.asarray([[0.0, 3.0], [0.0, 9.0]]), {"label": jnp.asarray([0, 0])}
    slope = jax.grad(lambda theta: method.loss(theta, logits, batch)[0])(theta)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(slope))


def test_unknown_normalization():
    with pytest.raises(ValueError, match='normalize must be "sum" or "n"; got .mean.'):
        mwnet(normalize="mean")


def test_nan_is_not_hidden():
    """A NaN among the weights stays visible. Fails if it is taken for "nothing helps": training would
    stand still at a finite loss, and no check for non-finite losses could tell."""
    assert bool(jnp.isnan(normalize_by_sum(jnp.asarray([1.0, jnp.nan, 2.0]))).any())
    method = l2r()
    update, _ = method.meta_optimizer.update(jnp.asarray([-1.0, jnp.nan]), optax.EmptyState())
    assert bool(jnp.isnan(update).any())
