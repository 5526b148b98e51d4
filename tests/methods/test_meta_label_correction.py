"""Meta label correction: soft labels against their definition, and where it is cross-entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref

from famus_jax import last_layers, problem, reweighter
from famus_jax.methods import meta_label_correction, mlc
from famus_jax.methods.meta_label_correction import soft_labels

RNG = np.random.default_rng(0)
OUTPUTS = {
    "logits": jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32),
    "features": jnp.asarray(RNG.normal(size=(5, 4)), jnp.float32),
}
BATCH = ref.classification_batch(1, 5, dtype=jnp.float32)
THETA = ref.label_correction_theta(jax.random.key(0), features=4, dtype=jnp.float32)


def test_against_the_definition():
    """T and its gradients. Fails if a derivative flows through the features, or if embedding and
    features change places (they have different sizes)."""
    method, reference = (
        meta_label_correction(3, 4, hidden=5, embedding=2),
        ref.label_correction(),
    )
    shapes = jax.tree.map(jnp.shape, method.init(jax.random.key(0), 5))
    assert shapes == jax.tree.map(jnp.shape, THETA)
    (value, believed), gradients = jax.value_and_grad(
        lambda theta, outputs: method.loss(theta, outputs, BATCH), (0, 1), has_aux=True
    )(THETA, OUTPUTS)
    assert float(value) == pytest.approx(float(reference(THETA, OUTPUTS, BATCH)), rel=1e-5)
    expected = jax.grad(lambda t, o: reference(t, o, BATCH), (0, 1))(THETA, OUTPUTS)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), gradients, expected
    )
    assert not gradients[1]["features"].any()
    soft = ref.soft_labels(THETA, OUTPUTS["features"], BATCH["label"])
    np.testing.assert_allclose(believed, soft[np.arange(5), BATCH["label"]] / 5, rtol=1e-5)


def test_one_hot_is_cross_entropy():
    """A MetaNet that returns the given label: embedding, tanh layers and head pass it on, scaled up.

    Fails if the soft label is made from the prediction, or T is a sum.
    """
    one_hot = {
        "embedding": jnp.eye(3),
        "dense_1": {"kernel": jnp.zeros((7, 3)).at[4:].set(100 * jnp.eye(3)), "bias": jnp.zeros(3)},
        "dense_2": {"kernel": 100 * jnp.eye(3), "bias": jnp.zeros(3)},
        "dense_3": {"kernel": 100 * jnp.eye(3), "bias": jnp.zeros(3)},
    }
    method = meta_label_correction(3, 4, hidden=3, embedding=3)
    value, believed = method.loss(one_hot, OUTPUTS, BATCH)
    plain = ref.mean_loss(ref.cross_entropy)(OUTPUTS["logits"], BATCH)
    assert float(value) == pytest.approx(float(plain), rel=1e-6)
    np.testing.assert_allclose(believed, [0.2] * 5)
    assert float(method.l_val(OUTPUTS, BATCH)) == pytest.approx(float(plain), rel=1e-6)


def test_published_sizes():
    """128 everywhere, embeddings included; soft labels are distributions."""
    theta = meta_label_correction(10, 64).init(jax.random.key(0), 5)
    assert jax.tree.map(jnp.shape, theta) == {
        "embedding": (10, 128),
        "dense_1": {"kernel": (192, 128), "bias": (128,)},
        "dense_2": {"kernel": (128, 128), "bias": (128,)},
        "dense_3": {"kernel": (128, 10), "bias": (10,)},
    }
    soft = soft_labels(theta, jnp.ones((5, 64)), jnp.arange(5))
    np.testing.assert_allclose(soft.sum(1), np.ones(5), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: meta_label_correction(3, 0), "feature_size must be at least 1; got 0"),
        (
            lambda: meta_label_correction(3, 4).loss(THETA, OUTPUTS["logits"], BATCH),
            r"linen_forward\(model, features=True\)",
        ),
        (
            lambda: meta_label_correction(3, 9).loss(THETA, OUTPUTS, BATCH),
            r"shape \(5, 4\), not \[n, 9\].*feature_size=4",
        ),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("method", [mlc(3), meta_label_correction(3, 4)], ids=lambda o: o.name)
def test_no_weights_for_your_own_loss(method):
    """Fails if `reweighter` hands out weights that would be plain training in disguise."""
    weights_for = reweighter(problem(ref.mlp, method), last_layers(1), step_size=0.1)
    with pytest.raises(ValueError, match=f"{method.name} does not reweight.*train_step"):
        weights_for.update(None, {}, (), BATCH, BATCH)
