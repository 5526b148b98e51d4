"""Losses of the long tail: numbers worked by hand, and the cases in which they are cross-entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref

from famus_jax import mwnet
from famus_jax.losses import (
    class_weighted,
    deferred,
    effective_number_weights,
    focal,
    ldam,
    ldam_margins,
    scaled_cross_entropy,
    softmax_cross_entropy,
)
from famus_jax.methods import cross_entropy

LOGITS = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
BATCH = {"label": jnp.asarray([0, 1, 2, 1, 0])}
PLAIN = ref.cross_entropy(LOGITS, BATCH)
COUNTS = (16, 4, 1)


def test_focal():
    """Two logits that differ by log 3: p = 3/4, so the loss is (1/4)^γ log(4/3).

    Fails if the power is of p, or γ multiplies.
    """
    logits, batch = jnp.asarray([[np.log(3.0), 0.0]]), {"label": jnp.asarray([0])}
    for gamma in (0.0, 0.5, 1.0, 2.0):
        expected = 0.25**gamma * np.log(4 / 3)
        assert float(focal(gamma)(logits, batch)[0]) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(focal(0)(LOGITS, BATCH), softmax_cross_entropy(LOGITS, BATCH))


def test_focal_of_what_is_certain():
    """p = 1 exactly: value and slope 0 for any γ. Fails at 0 to a power below one."""
    certain = jnp.asarray([[200.0, 0.0, 0.0]])
    batch = {"label": jnp.asarray([0])}
    for gamma in (0.5, 1.0, 2.0):
        loss = focal(gamma)
        value, slope = jax.value_and_grad(lambda f, loss=loss: loss(f, batch)[0])(certain)
        assert float(value) == 0
        assert bool(jnp.isfinite(slope).all())


def test_effective_number_by_hand():
    """β = 1/2 and counts 1, 2, 3: w ∝ 1 / (1/2), 1 / (3/4), 1 / (7/8) = 2, 4/3, 8/7, summing to 3.

    Fails if they sum to one, or are the inverse.
    """
    raw = np.array([2, 4 / 3, 8 / 7])
    np.testing.assert_allclose(effective_number_weights((1, 2, 3), 0.5), 3 * raw / raw.sum())
    np.testing.assert_allclose(effective_number_weights((7, 7, 7)), [1, 1, 1])
    np.testing.assert_allclose(effective_number_weights((5, 1, 9), 0.0), [1, 1, 1])
    many = effective_number_weights((5000, 50), 0.9999)
    raw = 1 / (1 - 0.9999 ** np.array([5000.0, 50.0]))
    np.testing.assert_allclose(many, 2 * raw / raw.sum(), rtol=1e-9)


def test_class_weighted():
    """w_y ℓ; over the mean weight of the batch on request. Equal weights change nothing."""
    weights = (3.0, 1.0, 0.5)
    own = np.array([3, 1, 0.5, 1, 3])
    loss = class_weighted(softmax_cross_entropy, weights)
    np.testing.assert_allclose(loss(LOGITS, BATCH), own * PLAIN, rtol=1e-5)
    loss = class_weighted(softmax_cross_entropy, weights, normalize="sum")
    expected = (own * PLAIN).sum() / own.sum()
    assert float(loss(LOGITS, BATCH).mean()) == pytest.approx(float(expected), rel=1e-5)
    for normalize in ("n", "sum"):
        same = class_weighted(softmax_cross_entropy, (1.0,) * 3, normalize=normalize)
        np.testing.assert_allclose(same(LOGITS, BATCH), PLAIN, rtol=1e-5)


def test_ldam_by_hand():
    """Counts 16, 4, 1 and margins up to 1/2: 1/4, 1/(2√2), 1/2. Fails if Δ grows with the count."""
    np.testing.assert_allclose(ldam_margins(COUNTS), [0.25, 0.5 * 0.5**0.5, 0.5])
    logits, batch = jnp.asarray([[0.5, 0.0, 0.0]]), {"label": jnp.asarray([0])}
    expected = np.log(1 + 2 * np.exp(-2.0 * 0.25))  # 2 (0.5 − 0.25) against 0 and 0
    loss = ldam(COUNTS, scale=2.0)
    assert float(loss(logits, batch)[0]) == pytest.approx(expected, rel=1e-5)
    assert float(ldam(COUNTS)({"logits": logits}, batch)[0]) == pytest.approx(
        np.log(1 + 2 * np.exp(-7.5)), abs=1e-6
    )


def test_ldam_of_equal_counts_is_shifted_cross_entropy():
    """s = 1 and equal counts: cross-entropy with 1/2 off the label's logit. Margin 0: scaled CE."""
    shifted = LOGITS - 0.5 * jax.nn.one_hot(BATCH["label"], 3)
    loss = ldam((9, 9, 9), scale=1.0)
    np.testing.assert_allclose(loss(LOGITS, BATCH), ref.cross_entropy(shifted, BATCH), rtol=1e-5)
    no_margin = ldam(COUNTS, max_margin=0.0, scale=3.0)(LOGITS, BATCH)
    np.testing.assert_allclose(no_margin, ref.cross_entropy(3 * LOGITS, BATCH), rtol=1e-5)
    np.testing.assert_allclose(no_margin, scaled_cross_entropy(3.0)(LOGITS, BATCH), rtol=1e-6)


def test_deferred():
    """Plain before step 160, weighted from it on, by one compiled program.

    Fails if the switch comes a step late, or the step is baked into the program.
    """
    weights = (3.0, 1.0, 0.5)
    traced = []
    whole = deferred(softmax_cross_entropy, weights, after=160)
    loss = jax.jit(lambda *args: (traced.append(1), whole(*args))[1])
    for step, own in ((159, np.ones(5)), (160, np.array([3, 1, 0.5, 1, 3]))):
        batch = {**BATCH, "step": jnp.asarray(step, jnp.int32)}
        np.testing.assert_allclose(loss(LOGITS, batch), own * PLAIN, rtol=1e-5)
    assert len(traced) == 1


def test_with_methods():
    """Any method takes them: CE under another name, MW-Net with a meta loss of its own."""
    assert cross_entropy(focal(), name="focal").name == "focal"
    value, _ = cross_entropy(focal(2.0)).loss((), LOGITS, BATCH)
    assert float(value) == pytest.approx(float(focal(2.0)(LOGITS, BATCH).mean()), rel=1e-6)
    method = mwnet(ldam(COUNTS), meta_loss=lambda f, b: scaled_cross_entropy()(f, b).mean())
    expected = float(ref.cross_entropy(30 * LOGITS, BATCH).mean())
    assert float(method.l_val(LOGITS, BATCH)) == pytest.approx(expected, rel=1e-5)
    assert float(mwnet().l_val(LOGITS, BATCH)) == pytest.approx(float(PLAIN.mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: focal(-1), "gamma must be 0 or more; got -1"),
        (lambda: effective_number_weights((3, 0)), r"at least one.*\(3, 0\)"),
        (lambda: effective_number_weights((3, 1), 1.0), r"beta must lie in \[0, 1\); got 1.0"),
        (lambda: ldam((3, 1), scale=0.0), "scale must be positive.*0.0 and 0.5"),
        (lambda: ldam(()), "at least one training example"),
        (
            lambda: deferred(softmax_cross_entropy, (1.0,) * 3, after=1)(LOGITS, BATCH),
            r'reads batch\["step"\].*\[.label.\].*meta loss of its own',
        ),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
