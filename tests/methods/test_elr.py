"""ELR against numbers worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.losses import softmax_cross_entropy
from famus_jax.methods import cross_entropy, elr

pytestmark = pytest.mark.usefixtures("x64")

KEY = jax.random.key(0)


def logits_of(*rows):
    return jnp.log(jnp.asarray(rows, jnp.float64))


def with_rows(label, rows):
    return {"label": jnp.asarray(label), "memory": jnp.asarray(rows, jnp.float64)}


def test_two_visits_by_hand():
    """β = 0.7, λ = 3. First p = (3/4, 1/4), then (1/4, 3/4):

    t = 0.3 · (3/4, 1/4) = (0.225, 0.075), and then 0.7 · t + 0.3 · (1/4, 3/4) = (0.2325, 0.2775);
    ⟨p, t⟩ = 0.1875 and 0.26625. With label 1: T = log 4 + 3 log 0.8125, log(4/3) + 3 log 0.73375.

    Fails if the loss is given the target of the visit before, β and 1 − β are swapped, or the sign of
    the second term is.
    """
    method = elr(2, 2, weight=3.0, decay=0.7)
    rows = method.memory.init(KEY)[:1].astype(jnp.float64)
    visits = (
        (logits_of((3, 1)), [0.225, 0.075], np.log(4) + 3 * np.log(0.8125)),
        (logits_of((1, 3)), [0.2325, 0.2775], np.log(4 / 3) + 3 * np.log(0.73375)),
    )
    for logits, target, value in visits:
        found, weights = method.loss((), logits, with_rows([1], rows))
        assert float(found) == pytest.approx(value, rel=1e-12)
        assert weights.tolist() == [1.0]
        rows = method.memory.update(rows, logits, None)
        np.testing.assert_allclose(rows, [target], rtol=1e-12)


def test_the_gradient_by_hand():
    """∂T/∂f = [p − y − λ p (t − ⟨p, t⟩) / (1 − ⟨p, t⟩)] / n, t as a number.

    Fails if a derivative flows through the target, which moves with p.
    """
    draw = np.random.default_rng(0)
    f, old, y = draw.normal(size=(5, 3)), draw.dirichlet(np.ones(3), 5), np.arange(5) % 3
    p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
    t = 0.9 * old + 0.1 * p
    pt = (p * t).sum(1, keepdims=True)
    expected = (p - np.eye(3)[y] - 2.0 * p * (t - pt) / (1 - pt)) / 5
    method = elr(9, 3, weight=2.0, decay=0.9)
    slope = jax.grad(lambda f: method.loss((), f, with_rows(y, old))[0])(jnp.asarray(f))
    np.testing.assert_allclose(slope, expected, rtol=1e-9, atol=1e-15)


def test_certain_predictions():
    """Both sides are kept off 0 and 1: p is (1 − 1e-4, 1e-4), over its sum in the target. After many
    visits 1 − ⟨p, t⟩ is no 0, and the loss and its slope are finite. Fails without the bounds."""
    method = elr(1, 2, decay=0.0)
    logits, rows = jnp.asarray([[200.0, -200.0]]), jnp.zeros((1, 2))
    rows = method.memory.update(rows, logits, None)
    np.testing.assert_allclose(rows, [[1 - 1e-4, 1e-4]], rtol=1e-9)
    value, slope = jax.value_and_grad(lambda f: method.loss((), f, with_rows([0], rows))[0])(logits)
    assert float(value) == pytest.approx(3 * np.log(1 - ((1 - 1e-4) ** 2 + 1e-8)), rel=1e-9)
    assert bool(jnp.isfinite(slope).all())


def test_logits_in_bfloat16():
    """Certain, and remembered as such: finite. Fails if the bounds are rounded to 0 and 1."""
    method = elr(1, 2, decay=0.5, dtype="bfloat16")
    logits = jnp.asarray([[200.0, -200.0]], jnp.bfloat16)
    rows = jnp.asarray([[1.0, 0.0]], jnp.float32)
    value, _ = method.loss((), logits, {"label": jnp.asarray([0]), "memory": rows})
    assert np.isfinite(float(value))


def test_without_the_second_term_it_is_cross_entropy():
    """λ = 0: to the bit, and it needs no rows."""
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)), jnp.float32)
    batch = {"label": jnp.asarray([0, 2, 1, 1])}
    for method in (
        elr(4, 3, weight=0.0),
        elr(4, 3, weight=0.0, example_loss=softmax_cross_entropy),
    ):
        found = jax.value_and_grad(lambda f, m=method: m.loss((), f, batch)[0])(logits)
        plain = jax.value_and_grad(lambda f: cross_entropy().loss((), f, batch)[0])(logits)
        jax.tree.map(np.testing.assert_array_equal, found, plain)


def test_another_loss_in_the_place_of_cross_entropy():
    method = elr(1, 2, weight=3.0, example_loss=lambda f, b: jnp.full(f.shape[0], 5.0))
    found, _ = method.loss((), logits_of((3, 1)), with_rows([1], [[0.0, 0.0]]))
    assert float(found) == pytest.approx(5 + 3 * np.log(0.8125), rel=1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: elr(0, 3), "num_examples must be at least 1.*got 0 and 3"),
        (lambda: elr(5, 1), "num_classes at least 2; got 5 and 1"),
        (lambda: elr(5, 3, weight=-1.0), "weight.*0 or more; got -1.0"),
        (lambda: elr(5, 3, decay=1.0), r"decay.*\[0, 1\); got 1.0"),
        (lambda: elr(5, 3, dtype="float16"), '"float32" or "bfloat16"; got "float16".*6e-8'),
        (lambda: elr(5, 3, dtype="int32"), '"float32" or "bfloat16"; got "int32"'),
        (
            lambda: elr(5, 3).loss((), jnp.zeros((1, 4)), with_rows([0], jnp.zeros((1, 3)))),
            r"4 logits, and elr\(5, 3\) is of 3 classes",
        ),
        (
            lambda: elr(5, 3).loss((), jnp.zeros((1, 3)), {"label": jnp.asarray([0])}),
            r'reads batch\["memory"\]',
        ),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
