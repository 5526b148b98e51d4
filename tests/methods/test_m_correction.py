"""M-correction's loss against the four losses of the paper, worked in numpy."""

import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.methods import m_correction
from famus_jax.methods.m_correction import bootstrapped_targets

pytestmark = pytest.mark.usefixtures("x64")

N, C = 6, 3


def nll(logits, classes):
    return -(logits - np.log(np.exp(logits).sum(1, keepdims=True)))[np.arange(N), classes]


def test_it_is_the_four_losses_of_a_pair():
    """λ [(1 − w_i) ℓ(y_i) + w_i ℓ(z_i)] + (1 − λ) [(1 − w_j) ℓ(y_j) + w_j ℓ(z_j)], and the prior.

    Fails if a partner's label goes with another one's w, or the prior is KL the other way round.
    """
    draw = np.random.default_rng(0)
    f, clean = draw.normal(size=(N, C)), draw.normal(size=(N, C))
    y, w, j, mix = np.arange(N) % C, draw.uniform(size=N), np.roll(np.arange(N), 2), 0.7
    z = clean.argmax(1)
    own = (1 - w) * nll(f, y) + w * nll(f, z)
    other = (1 - w[j]) * nll(f, y[j]) + w[j] * nll(f, z[j])
    mean = (np.exp(f) / np.exp(f).sum(1, keepdims=True)).mean(0)
    expected = (mix * own + (1 - mix) * other).mean() + 0.5 * (np.log(1 / C / mean) / C).sum()
    q = bootstrapped_targets(jnp.eye(C)[y], jnp.asarray(clean), jnp.asarray(w))
    method = m_correction(9, prior_weight=0.5)
    batch = {
        "target": mix * q + (1 - mix) * q[j],
        "corrects": jnp.array(1.0),
        "memory": method.memory.init(None),
    }
    value, weights = method.loss((), jnp.asarray(f), batch)
    assert float(value) == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(weights, np.full(N, 1 / N))


def test_the_warm_up_has_no_prior():
    """Fails if the network is held to uniform predictions while it learns by mixup."""
    method = m_correction(9)
    f = jnp.asarray([[4.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    batch = {"target": jnp.eye(C)[:2], "memory": method.memory.init(None)}
    off, on = (
        float(method.loss((), f, {**batch, "corrects": jnp.array(x)})[0]) for x in (0.0, 1.0)
    )
    assert off == pytest.approx(
        float(-np.log(np.exp(4) / (np.exp(4) + 2)) - np.log(1 / (np.exp(3) + 2))) / 2, rel=1e-9
    )
    assert on > off + 0.1


def test_before_a_fit_nothing_is_known():
    carried = m_correction(4).memory.init(None)
    assert np.isnan(carried.right).all()
    assert carried.right.shape == (4,)


def test_what_cannot_be():
    with pytest.raises(ValueError, match="num_examples must be at least 1; got 0"):
        m_correction(0)
    with pytest.raises(ValueError, match="prior_weight.*got -1"):
        m_correction(5, prior_weight=-1)
