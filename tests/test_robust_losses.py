"""Robust losses: numbers worked by hand, slopes by finite differences, and the cases in which one is
another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax import losses, mwnet
from famus_jax.losses import softmax_cross_entropy

DRAW = np.random.default_rng(0)
F = DRAW.normal(size=(6, 4)) * 2
Y = np.array([0, 1, 2, 3, 0, 2])
P = np.exp(F) / np.exp(F).sum(1, keepdims=True)
OF_LABEL = P[np.arange(6), Y]
FLIPS = np.array([[0.7, 0.3, 0, 0], [0, 1, 0, 0], [0, 0.1, 0.6, 0.3], [0.25, 0.25, 0.25, 0.25]])

# Each loss, and its definition in numpy from the probabilities alone.
DEFINED = {
    "gce": (losses.generalized_cross_entropy(0.7), lambda p, y: (1 - p[y] ** 0.7) / 0.7),
    "mae": (losses.mean_absolute_error(), lambda p, y: np.abs(np.eye(4)[y] - p).sum()),
    "rce": (
        losses.reverse_cross_entropy(-4.0),
        lambda p, y: -(p * np.where(np.eye(4)[y] == 1, 0.0, -4.0)).sum(),
    ),
    "sce": (
        losses.symmetric_cross_entropy(6.0, 0.1, log_zero=-9.0),
        lambda p, y: -6 * np.log(p[y]) + 0.1 * 9 * (1 - p[y]),
    ),
    "nce": (losses.normalized_cross_entropy(), lambda p, y: np.log(p[y]) / np.log(p).sum()),
    "nce_rce": (
        losses.nce_rce(10.0, 0.1),
        lambda p, y: 10 * np.log(p[y]) / np.log(p).sum() + 0.4 * (1 - p[y]),
    ),
    "smooth": (
        losses.label_smoothing(0.2),
        lambda p, y: -((0.8 * np.eye(4)[y] + 0.05) * np.log(p)).sum(),
    ),
    "smooth below 0": (
        losses.label_smoothing(-0.4),
        lambda p, y: -((1.4 * np.eye(4)[y] - 0.1) * np.log(p)).sum(),
    ),
    "soft": (
        losses.bootstrapped("soft"),
        lambda p, y: -((0.95 * np.eye(4)[y] + 0.05 * p) * np.log(p)).sum(),
    ),
    "hard": (
        losses.bootstrapped("hard"),
        lambda p, y: -((0.8 * np.eye(4)[y] + 0.2 * np.eye(4)[p.argmax()]) * np.log(p)).sum(),
    ),
    "forward": (losses.forward_corrected(FLIPS.tolist()), lambda p, y: -np.log((p @ FLIPS)[y])),
}


def probabilities(f):
    return np.exp(f - f.max()) / np.exp(f - f.max()).sum()


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", DEFINED)
def test_value_and_slope(name):
    """In float64, the slope by central differences of the definition.

    Fails if a constant is dropped, a derivative stops where the definition has none that stops, or a
    class counts for another. (A definition that is 0 · log 0 is none of these.)
    """
    loss, defined = DEFINED[name]
    f, batch = jnp.asarray(F), {"label": jnp.asarray(Y)}
    values = loss({"logits": f}, batch)
    expected = [defined(p, y) for p, y in zip(P, Y, strict=True)]
    np.testing.assert_allclose(values, expected, rtol=1e-10)
    slope = jax.grad(lambda f: loss(f, batch).sum())(f)
    step = 1e-6
    for i in range(6):
        for c in range(4):
            moved = [F[i] + sign * step * np.eye(4)[c] for sign in (1, -1)]
            up, down = (defined(probabilities(row), Y[i]) for row in moved)
            assert float(slope[i, c]) == pytest.approx((up - down) / (2 * step), abs=1e-7)


def float32(f):
    return jnp.asarray(f, jnp.float32)


def test_gce_between_cross_entropy_and_mae():
    """q → 0 is cross-entropy, to float32's rounding also at q = 1e-6, where 1 − p^q cancels to nothing
    (at p = 0.9, 1 − 0.9^1e-6 is 1e-7, and float32 has it to a part in two); q = 1 is half of MAE."""
    batch = {"label": jnp.asarray(Y)}
    plain = softmax_cross_entropy(float32(F), batch)
    for q in (1e-6, 1e-12, 1e-40):
        near = losses.generalized_cross_entropy(q)(float32(F), batch)
        np.testing.assert_allclose(near, plain, rtol=1e-5)
    at_zero = losses.generalized_cross_entropy(0.0)(float32(F), batch)
    np.testing.assert_array_equal(at_zero, plain)
    half = losses.mean_absolute_error()(float32(F), batch) / 2
    one = losses.generalized_cross_entropy(1.0)(float32(F), batch)
    np.testing.assert_allclose(one, half, rtol=1e-6)
    np.testing.assert_allclose(half, 1 - OF_LABEL, rtol=1e-5)


@pytest.mark.parametrize("name", DEFINED)
def test_extremes_are_finite(name):
    """Logits ±1e4, label right and wrong: finite values and slopes. Fails at 0 · ∞ or 0 / 0."""
    logits = float32([[1e4, -1e4, 0, 0], [-1e4, 1e4, 0, 0]])
    batch = {"label": jnp.asarray([0, 0])}
    value, slope = jax.value_and_grad(lambda f: DEFINED[name][0](f, batch).sum())(logits)
    assert np.isfinite(float(value))
    assert bool(jnp.isfinite(slope).all())


def test_special_cases():
    """β = 0, r = 0, β = 1 and T = I are cross-entropy."""
    batch = {"label": jnp.asarray(Y)}
    plain = softmax_cross_entropy(float32(F), batch)
    for loss in (
        losses.symmetric_cross_entropy(1.0, 0.0),
        losses.label_smoothing(0.0),
        losses.bootstrapped("soft", 1.0),
        losses.bootstrapped("hard", 1.0),
        losses.forward_corrected(np.eye(4).tolist()),
    ):
        np.testing.assert_allclose(loss(float32(F), batch), plain, rtol=1e-5, atol=1e-6)


def test_nce_over_all_labels_sums_to_one():
    """Whatever the scale of the logits: the property it is made for."""
    logits = float32(np.repeat(F[:1], 4, 0))
    for scale in (0.01, 1.0, 30.0):
        values = losses.normalized_cross_entropy()(
            scale * logits, {"label": jnp.arange(4, dtype=jnp.int32)}
        )
        assert float(values.sum()) == pytest.approx(1, rel=1e-5)


def test_a_label_that_is_no_class():
    """NaN where its value is known only when the program runs. Fails if a loss hides it."""
    for name, (loss, _) in DEFINED.items():
        values = jax.jit(loss)(float32(F[:2]), {"label": jnp.asarray([-1, 1])})
        assert np.isnan(float(values[0])), name
        assert np.isfinite(float(values[1])), name


def test_under_any_method():
    """MW-Net weights them, and its meta loss is their mean."""
    batch = {"label": jnp.asarray(Y)}
    method = mwnet(losses.generalized_cross_entropy(0.7), hidden=3)
    expected = losses.generalized_cross_entropy(0.7)(float32(F), batch)
    value, weights = method.loss(method.init(jax.random.key(0), 6), float32(F), batch)
    assert float(value) == pytest.approx(float(weights @ expected), rel=1e-5)
    assert float(method.l_val(float32(F), batch)) == pytest.approx(float(expected.mean()), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: losses.generalized_cross_entropy(1.2), r"q must lie in \[0, 1\]; got 1.2"),
        (lambda: losses.generalized_cross_entropy(float("nan")), "got nan"),
        (lambda: losses.reverse_cross_entropy(0.0), "must be below 0; got 0.0"),
        (lambda: losses.symmetric_cross_entropy(-1.0), "0 or more; got -1.0 and 1.0"),
        (lambda: losses.nce_rce(1.0, -2.0), "0 or more; got 1.0 and -2.0"),
        (lambda: losses.label_smoothing(1.5), "at most 1; got 1.5"),
        (lambda: losses.label_smoothing(-float("inf")), "at most 1; got -inf"),
        (lambda: losses.bootstrapped("both"), '"soft" or "hard"; got .both.'),
        (lambda: losses.bootstrapped("soft", 2.0), r"\[0, 1\]; got 2.0"),
        (lambda: losses.forward_corrected([[1.0]]), r"square matrix.*rows of \[1\]"),
        (lambda: losses.forward_corrected([[0.5, 0.4], [0, 1]]), r"row 0.*sum 0.9"),
        (lambda: losses.forward_corrected([[1.5, -0.5], [0, 1]]), "row 0"),
        (lambda: losses.forward_corrected([[0, 1], [0, 1]]), "ever given label 0"),
        (
            lambda: losses.forward_corrected(FLIPS)(
                jnp.zeros((1, 3)), {"label": jnp.zeros(1, int)}
            ),
            "3 logits, and the matrix .* 4 classes",
        ),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
