"""M-correction of a run: what becomes of a batch, when the mixture is fitted, and by which losses."""

from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.methods import m_correction
from famus_jax.methods.beta_mixture import first_mixture, fit_beta_mixture, wrong_probability
from famus_jax.train.config import parse_config
from famus_jax.train.loss_correction import LossCorrection, LossModelFit

N, CLASSES, WARM_UP = 8, 3, 5
# Image i is the unit vector i, and the network takes these for its loss in evaluation mode.
LOSSES = np.array([0.1, 2.0, 0.2, 3.0, 0.3, 2.5, 0.4, 2.2])
MIXTURE = first_mixture()._replace(
    a=jnp.array([2.0, 8.0]), b=jnp.array([8.0, 2.0]), high=jnp.float32(3)
)


def forward(params, model_state, rng, batch):
    """In training mode the class is that of the image: 2 − i % 3."""
    return jax.nn.one_hot((2 - batch["image"].argmax(1) % 3), CLASSES), model_state + 1


def predict(params, model_state, rng, batch):
    """Logits whose cross-entropy at the label i % 3 is the example's number."""
    p = jnp.exp(-batch["image"] @ params)
    at = jax.nn.one_hot(batch["image"].argmax(1) % 3, CLASSES)
    return jnp.log(at * p[:, None] + (1 - at) * (1 - p[:, None]) / 2), model_state


class State(NamedTuple):
    params: object
    model_state: object
    meta: object
    recorded: object = ()


def state():
    carried = (
        m_correction(20).memory.init(None)._replace(mixture=jax.tree.map(jnp.asarray, MIXTURE))
    )
    return State(jnp.asarray(LOSSES, jnp.float32), jnp.zeros(()), Meta(carried))


class Meta(NamedTuple):
    memory: object


def batch(step):
    return {
        "image": jnp.eye(N),
        "label": jnp.arange(N, dtype=jnp.int32) % CLASSES,
        "index": jnp.arange(N) + 10,
        "step": np.int32(step),
    }


def maker(seed=3):
    return LossCorrection(forward, predict, CLASSES, 32.0, WARM_UP, seed)


@pytest.mark.parametrize("step", [0, WARM_UP - 1, WARM_UP, 99])
def test_targets(step):
    """Mixed as the images are (row i of these says how much of each example is in it): labels alone in
    the warm-up, then (1 − w) y + w z, w by the losses in evaluation mode, z by training mode.

    Fails if the warm-up ends at another step, or w is of what training mode says.
    """
    made = maker()(state(), batch(step))
    mixture = np.asarray(made["image"], np.float64)
    y, z = np.eye(CLASSES)[np.arange(N) % 3], np.eye(CLASSES)[2 - np.arange(N) % 3]
    w = np.asarray(wrong_probability(MIXTURE, jnp.asarray(LOSSES, jnp.float32)))[:, None]
    assert (w[1::2] > 0.9).all()
    assert (w[::2] < 0.1).all()
    corrects = step >= WARM_UP
    targets = (1 - w) * y + w * z if corrects else y
    np.testing.assert_allclose(made["target"], mixture @ targets, atol=1e-5)
    assert float(made["corrects"]) == corrects
    np.testing.assert_allclose(mixture.sum(1), 1, rtol=1e-6)
    assert (np.diagonal(mixture) >= 0.5).all()
    assert maker().passes(step) == (2 / 3 if corrects else 0)


def test_step_and_seed_decide():
    first, again, step, seed = (
        np.asarray(m(state(), batch(t))["image"])
        for m, t in ((maker(), 6), (maker(), 6), (maker(), 7), (maker(4), 6))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, step)
    assert not np.array_equal(first, seed)


def test_shapes_before_there_is_a_state():
    """Fails if a step would be compiled twice."""
    start = state()
    said = maker().first(start.params, start.model_state, batch(0))
    made = maker()(start, batch(0))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), said) == jax.tree.map(
        lambda x: (x.shape, x.dtype), made
    )


def test_the_mixture_is_fitted_every_epoch_after_the_warm_up():
    """To the losses of the whole training set by the parameters of that step; 1 − w of its examples is
    kept, the others' stays unknown.

    Fails if a resumed run would fit anew inside an epoch, or to another network.
    """
    index = np.arange(N) * 2
    asked = []

    def losses(member, batches):
        asked.append(member)
        return np.float32(LOSSES), index

    fit = LossModelFit(SimpleNamespace(losses=losses), "batches", WARM_UP, 4, None)
    start = state()
    fitted = [t for t in range(16) if fit(start, t) is not start]
    assert fitted == [5, 9, 13]
    assert asked[0] == (start.params, start.model_state)
    carried = fit(start, 5).meta.memory
    expected = fit_beta_mixture(np.float32(LOSSES))
    for a, b in zip(carried.mixture, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(carried.right)), index)
    right = 1 - np.asarray(wrong_probability(expected, jnp.asarray(LOSSES)))
    np.testing.assert_allclose(carried.right[index], right, rtol=1e-6)


def test_published_settings():
    parsed = parse_config({"runs": [{"method": "m_correction"}], "schedule": {"steps": 300}})
    assert parsed.m_correction_warm_up == 105
    assert (parsed.m_correction.mixup, parsed.m_correction.prior_weight) == (32, 1)
    with pytest.raises(ValueError, match=r"m_correction\.warm_up must lie in \[0, 1\)"):
        parse_config({"runs": [{"method": "ce"}], "m_correction": {"warm_up": 1.0}})
