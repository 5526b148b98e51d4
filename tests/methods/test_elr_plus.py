"""ELR+ against numbers worked by hand, ELR, and mixup."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from famus_jax.methods import elr, elr_plus

pytestmark = pytest.mark.usefixtures("x64")

N, C = 5, 3


def own(draw, partner=None, share=1.0):
    target = draw.dirichlet(np.ones(C), N)
    return {
        "target": jnp.asarray(target),
        "peer": jnp.asarray(draw.dirichlet(np.ones(C), N)),
        "partner": jnp.arange(N) if partner is None else jnp.asarray(partner),
        "share": jnp.asarray(share, jnp.float64),
    }


def test_two_visits_by_hand():
    """One example, two classes, β = 0.7, λ = 3, no mixing; the peer of the first network says (3/4,
    1/4), then (1/4, 3/4), that of the second the reverse.

    t_1 = (0.225, 0.075), then (0.2325, 0.2775); t_2 the reverse. With p = (1/2, 1/2) ⟨p, t⟩ is 0.15 and
    0.255 for both: T = 2 log 2 + 6 log 0.85 and 2 log 2 + 6 log 0.745.

    Fails if a network's own prediction enters its target, or both networks share one.
    """
    method = elr_plus(2, 2, weight=3.0, decay=0.7)
    rows = method.memory.init(None)[:1].astype(jnp.float64)
    outputs = {"pair": jnp.zeros((1, 2, 2))}
    for peer, target, sum_ in (
        ([0.75, 0.25], [0.225, 0.075], 0.15),
        ([0.25, 0.75], [0.2325, 0.2775], 0.255),
    ):
        said = jnp.asarray([peer])
        given = {
            "target": jnp.asarray([[1.0, 0.0]]),
            "partner": jnp.array([0]),
            "share": jnp.array(1.0),
        }
        batch = {
            "each": ({**given, "peer": said}, {**given, "peer": said[:, ::-1]}),
            "memory": rows,
        }
        value, weights = method.loss((), outputs, batch)
        assert float(value) == pytest.approx(2 * np.log(2) + 6 * np.log(1 - sum_), rel=1e-9)
        assert weights.tolist() == [1.0]
        rows = method.memory.update(rows, outputs, batch)
        np.testing.assert_allclose(rows, [[target, target[::-1]]], rtol=1e-9)


def test_targets_are_mixed_as_the_examples_are():
    """∂T/∂f by hand, with t̃ mixed by numpy: [p − ỹ − λ p (t̃ − ⟨p, t̃⟩) / (1 − ⟨p, t̃⟩)] / n for each.

    Fails if targets have other partners or shares than inputs, or a network has its peer's.
    """
    draw = np.random.default_rng(0)
    each = (own(draw, [1, 2, 3, 4, 0], 0.8), own(draw, [4, 3, 2, 1, 0], 0.6))
    old, f = draw.dirichlet(np.ones(C), (N, 2)), draw.normal(size=(N, 2, C))
    method = elr_plus(9, C, weight=2.0, decay=0.9)
    batch = {"each": each, "memory": jnp.asarray(old)}
    slope = jax.grad(lambda f: method.loss((), {"pair": f}, batch)[0])(jnp.asarray(f))
    p = np.exp(f) / np.exp(f).sum(-1, keepdims=True)
    for k in (0, 1):
        t = 0.9 * old[:, k] + 0.1 * np.asarray(each[k]["peer"])
        s, j = float(each[k]["share"]), np.asarray(each[k]["partner"])
        t = s * t + (1 - s) * t[j]
        q = p[:, k]
        pt = (q * t).sum(1, keepdims=True)
        expected = (q - np.asarray(each[k]["target"]) - 2 * q * (t - pt) / (1 - pt)) / N
        np.testing.assert_allclose(slope[:, k], expected, rtol=1e-9, atol=1e-14)


def test_it_is_elr_where_the_peer_says_the_same():
    """Unmixed, one-hot, and the peer's average is the network itself: the sum of two ELRs.

    Fails if λ or β mean something else than they do there.
    """
    draw = np.random.default_rng(1)
    f, label = jnp.asarray(draw.normal(size=(N, 2, C))), jnp.arange(N) % C
    old = jnp.asarray(draw.dirichlet(np.ones(C), (N, 2)) * 0.5)
    each = tuple(
        {**own(draw), "target": jax.nn.one_hot(label, C), "peer": jax.nn.softmax(f[:, k])}
        for k in (0, 1)
    )
    value, _ = elr_plus(N, C).loss((), {"pair": f}, {"each": each, "memory": old})
    alone = [elr(N, C).loss((), f[:, k], {"label": label, "memory": old[:, k]})[0] for k in (0, 1)]
    assert float(value) == pytest.approx(float(sum(alone)), rel=1e-9)


def test_without_weight_it_is_mixup():
    draw = np.random.default_rng(2)
    each = (own(draw, [1, 0, 3, 2, 4], 0.7), own(draw, [2, 1, 0, 4, 3], 0.9))
    f = jnp.asarray(draw.normal(size=(N, 2, C)))
    batch = {"each": each, "memory": jnp.zeros((N, 2, C))}
    value, _ = elr_plus(N, C, weight=0.0).loss((), {"pair": f}, batch)
    expected = sum(optax.softmax_cross_entropy(f[:, k], each[k]["target"]).mean() for k in (0, 1))
    assert float(value) == pytest.approx(float(expected), rel=1e-12)


def test_certain_predictions():
    """Finite, and so is its slope, after many visits to an example of which both are certain."""
    draw, sure = np.random.default_rng(3), jnp.tile(jnp.asarray([1.0, 0.0, 0.0]), (N, 1))
    each = tuple({**own(draw), "peer": sure} for _ in (0, 1))
    f = jnp.tile(jnp.asarray([200.0, -200.0, -200.0]), (N, 2, 1))
    batch = {"each": each, "memory": jnp.stack([sure, sure], 1)}
    value, slope = jax.value_and_grad(lambda f: elr_plus(N, C).loss((), {"pair": f}, batch)[0])(f)
    assert bool(jnp.isfinite(value))
    assert bool(jnp.isfinite(slope).all())


def test_what_cannot_be():
    with pytest.raises(ValueError, match="elr_plus: weight.*got -1"):
        elr_plus(9, 2, weight=-1)
    with pytest.raises(ValueError, match=r"elr_plus: decay.*\[0, 1\); got 1"):
        elr_plus(9, 2, decay=1)
    rows = jnp.zeros((1, 2, 2))
    with pytest.raises(ValueError, match=r'reads batch\["each"\].*target, peer, partner, share'):
        elr_plus(9, 2).loss((), {"pair": jnp.zeros((1, 2, 2))}, {"label": 0, "memory": rows})
