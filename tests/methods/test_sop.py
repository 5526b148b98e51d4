"""SOP against numbers worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.methods import sop

pytestmark = pytest.mark.usefixtures("x64")

KEY = jax.random.key(0)
DRAW = np.random.default_rng(0)
F, Y = DRAW.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
ONE_HOT = np.eye(3)[Y]
P = np.exp(F) / np.exp(F).sum(1, keepdims=True)
HARD = np.eye(3)[F.argmax(1)]


def batch_of(rows):
    return {"label": jnp.asarray(Y), "memory": jax.tree.map(jnp.asarray, rows)}


def small_rows(scale=0.3):
    draw = np.random.default_rng(1)
    return {"u": scale * draw.normal(size=5), "v": scale * draw.normal(size=(5, 3))}


def squares(rows):
    return rows["u"][:, None] ** 2 * ONE_HOT, rows["v"] ** 2 * (1 - ONE_HOT)


def test_the_value_by_hand():
    """In numpy, straight from the definition. Fails if U reaches other classes than the label, V the
    label, or the correction is not normalized again."""
    rows = small_rows(0.7)
    rows["v"][0, 1] = 0.9
    u, v = squares(rows)
    q = np.maximum(P + u - v, 1e-4)
    q /= q.sum(1, keepdims=True)
    expected = -np.log((q * ONE_HOT).sum(1)) + ((HARD + u - v - ONE_HOT) ** 2).sum(1)
    assert (P + u - v).min() < 1e-4  # the bound is in use
    value, weights = sop(9, 3).loss((), jnp.asarray(F), batch_of(rows))
    assert float(value) == pytest.approx(expected.mean(), rel=1e-12)
    np.testing.assert_allclose(weights, np.full(5, 0.2))


def test_at_zero_it_is_cross_entropy_to_the_network():
    """u = v = 0: ∂T/∂f = (p − y) / n, whatever the second term adds to the value.

    Fails if a derivative flows into the network through its own class.
    """
    rows = {"u": np.zeros(5), "v": np.zeros((5, 3))}
    slope = jax.grad(lambda f: sop(9, 3).loss((), f, batch_of(rows))[0])(jnp.asarray(F))
    np.testing.assert_allclose(slope, (P - ONE_HOT) / 5, rtol=1e-9, atol=1e-15)


def test_a_step_of_u_and_v_by_hand():
    """u' = u − α_u 2u [1/S − 1/q_y + 2 (h_y + U − 1)] / n and v' = v + α_v 2v · 2 (h − V) / n off the
    label, S = Σ q before it is normalized.

    Fails if v learns from the first term, the step sizes are swapped, or the steps are of a sum over
    the batch.
    """
    rows, lr_u, lr_v = small_rows(0.05), 2.0, 7.0
    u, v = squares(rows)
    q = P + u - v
    assert q.min() > 1e-4
    of_label = (q * ONE_HOT).sum(1)
    slope = 1 / q.sum(1) - 1 / of_label + 2 * ((HARD + u - 1) * ONE_HOT).sum(1)
    expected_u = rows["u"] - lr_u * 2 * rows["u"] * slope / 5
    expected_v = rows["v"] + lr_v * 2 * rows["v"] * 2 * (HARD - v) * (1 - ONE_HOT) / 5
    method = sop(9, 3, u_step=lr_u, v_step=lr_v)
    new = method.memory.update(
        jax.tree.map(jnp.asarray, rows), jnp.asarray(F), {"label": jnp.asarray(Y)}
    )
    np.testing.assert_allclose(new["u"], expected_u, rtol=1e-9)
    np.testing.assert_allclose(new["v"], expected_v, rtol=1e-9)


def test_what_the_network_denies_goes_to_the_correction():
    """A network that is sure of class 1 while the label says 0: from 1e-8, U and V reach 1 and its own
    loss at the label is forgotten; where it agrees with the label they stay next to nothing.

    Fails if u or v shrinks where it should grow.
    """
    method = sop(2, 2)
    rows = jax.tree.map(lambda x: x.astype(jnp.float64), method.memory.init(KEY))
    logits, label = jnp.asarray([[0.0, 3.0], [0.0, 3.0]]), jnp.asarray([0, 1])

    @jax.jit
    def slope(rows):
        return jax.grad(lambda f: method.loss((), f, {"label": label, "memory": rows})[0])(logits)

    before = slope(rows)
    visit = jax.jit(lambda rows: method.memory.update(rows, logits, {"label": label}))
    for _ in range(400):
        rows = visit(rows)
    u, v = rows["u"] ** 2, rows["v"] ** 2
    assert float(jnp.minimum(u[0], 1)) > 0.95
    assert float(jnp.minimum(v[0, 1], 1)) > 0.95
    assert float(v[1, 0]) < 1e-10
    assert float(jnp.abs(slope(rows)[0]).max()) < 0.1 * float(jnp.abs(before[0]).max())


def test_the_start():
    """Normal with standard deviation 1e-8, another number for each. Fails if all are alike or 0."""
    memory = sop(5000, 4).memory.init(KEY)
    assert {name: x.shape for name, x in memory.items()} == {"u": (5000,), "v": (5000, 4)}
    for x in memory.values():
        assert float(x.std()) == pytest.approx(1e-8, rel=0.05)
        assert abs(float(x.mean())) < 1e-9
    assert float(jnp.corrcoef(memory["u"], memory["v"][:, 0])[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sop(0, 3), "num_examples must be at least 1.*got 0 and 3"),
        (lambda: sop(5, 3, u_step=-1.0), "u_step must be 0 or more; got -1.0"),
        (lambda: sop(5, 3, v_step=float("nan")), "v_step must be 0 or more; got nan"),
        (lambda: sop(5, 3, dtype="float16"), '"float32" or "bfloat16"; got "float16".*6e-8'),
        (
            lambda: sop(5, 2).loss((), jnp.asarray(F), batch_of(small_rows())),
            r"3 logits, and sop\(5, 2\) is of 2 classes",
        ),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
