"""MLC: the corrected logits, the step of the transition matrix, and where it is plain cross-entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

from famus_jax import Problem, all_layers, default_estimator, layers_by
from famus_jax.core.active_layers import Seen
from famus_jax.core.checks import check_estimator
from famus_jax.methods import mlc, transition_step

LOGITS = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
BATCH = ref.classification_batch(1, 5, dtype=jnp.float32)
MATRIX = jnp.asarray([[0.7, 0.1, 0.3], [0.2, 0.8, 0.0], [0.1, 0.1, 0.7]], jnp.float32)


def test_identity_is_cross_entropy():
    """T, gradient and weights at the matrix that each batch starts from. Fails if the sum is taken."""
    method = mlc(3)
    matrix = method.init(jax.random.key(0), 5)
    np.testing.assert_array_equal(matrix, np.eye(3))
    plain = ref.mean_loss(ref.cross_entropy)
    (value, weights), gradient = jax.value_and_grad(
        lambda f: method.loss(matrix, f, BATCH), has_aux=True
    )(LOGITS)
    assert float(value) == pytest.approx(float(plain(LOGITS, BATCH)), rel=1e-6)
    np.testing.assert_allclose(gradient, jax.grad(plain)(LOGITS, BATCH), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(weights, [0.2] * 5)


def test_orientation_by_hand():
    """Logits (1, 2, 4) and a matrix that moves a fifth of class 1's logit to label 0.

    Fails if the matrix is transposed: the corrected logits would be (1, 1.8, 4) instead of
    (0.8 + 0.4, 2, 4).
    """
    matrix = jnp.asarray([[0.8, 0, 0], [0.2, 1, 0], [0, 0, 1]])
    logits, batch = jnp.asarray([[1.0, 2.0, 4.0]]), {"label": jnp.asarray([0])}
    expected = np.log(np.exp(1.2) + np.exp(2.0) + np.exp(4.0)) - 1.2
    method = mlc(3)
    assert float(method.loss(matrix, logits, batch)[0]) == pytest.approx(expected, rel=1e-6)
    held = {"logits": logits, "features": jnp.zeros((1, 2))}
    assert float(method.loss(matrix, held, batch)[0]) == pytest.approx(expected, rel=1e-6)


def test_against_the_definition():
    """T and its gradients at a matrix that is not I."""
    method, reference = mlc(3), ref.mlc()
    actual = jax.value_and_grad(lambda m, f: method.loss(m, f, BATCH)[0], (0, 1))(MATRIX, LOGITS)
    expected = jax.value_and_grad(lambda m, f: reference(m, f, BATCH), (0, 1))(MATRIX, LOGITS)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), actual, expected
    )


def test_step_by_hand():
    """β = 0.5: clamped at 0, then columns over their sums (1.1, 1.05, 0.7).

    Fails if rows are normalized, or the sign is lost.
    """
    gradient = jnp.asarray([[-0.4, 0.4, 0.0], [0.2, 0.0, 0.2], [0.4, -0.3, 0.0]])
    rule = transition_step(0.5)
    update, _ = rule.update(gradient, rule.init(MATRIX), MATRIX)
    moved = np.array([[0.9, 0.0, 0.3], [0.1, 0.8, 0.0], [0.0, 0.25, 0.7]])
    expected = moved / moved.sum(0, keepdims=True)
    np.testing.assert_allclose(optax.apply_updates(MATRIX, update), expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(expected, ref.transition_step(MATRIX, gradient, 0.5), atol=1e-7)


def test_nothing_left_of_a_column():
    """Such a column stays as it was; a NaN is not hidden. Fails at 0 / 0."""
    gradient = jnp.zeros((3, 3)).at[:, 1].set(10.0)
    rule = transition_step(0.5)
    update, _ = rule.update(gradient, rule.init(MATRIX), MATRIX)
    np.testing.assert_allclose(optax.apply_updates(MATRIX, update)[:, 1], MATRIX[:, 1], rtol=1e-6)
    update, _ = rule.update(gradient.at[0, 0].set(jnp.nan), rule.init(MATRIX), MATRIX)
    assert bool(jnp.isnan(update[:, 0]).all())


def test_scope_of_the_matrix():
    """Per batch as published, or carried; either way its shape does not depend on the batch size, so
    that the meta gradient may be taken on a part. Fails if `check_estimator` takes it for L2R."""
    assert mlc(3).reset_each_batch
    assert not mlc(3).zero_virtual_step
    assert not mlc(3, carry=True).reset_each_batch
    params = ref.mlp_params(jax.random.key(0), dtype=jnp.float32)
    layers = layers_by(params, lambda path: int(path[5]))
    seen = Seen(layers, None)
    for carry in (False, True):
        method = mlc(3, carry=carry)
        assert not method.per_example
        problem = Problem(ref.mlp, method, method.l_val, layers)
        check_estimator(problem, all_layers(examples=3), seen, 6)
        check_estimator(problem, default_estimator(method), seen, 6)
    problem = Problem(ref.mlp, mlc(3), mlc(3).l_val, layers)
    with pytest.raises(ValueError, match="would come a batch too late"):
        check_estimator(problem, all_layers(virtual_step="actual"), seen, 6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mlc(1), "num_classes must be 2 or more; got 1"),
        (lambda: mlc(3, step=0.0), "must be positive; got 0.0"),
        (
            lambda: mlc(4).loss(jnp.eye(4), LOGITS, BATCH),
            r"returns 3 logits.*4 x 4: use mlc\(num_classes=3\)",
        ),
        (
            lambda: transition_step(0.1).update(jnp.eye(3), optax.EmptyState()),
            r"pass it, update\(G, state, matrix\)",
        ),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
