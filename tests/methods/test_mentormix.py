"""MentorNet's curriculum and MentorMix, against numbers worked by hand and against mixup."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax as famus
from famus_jax.losses import softmax_cross_entropy
from famus_jax.methods import cross_entropy, mentormix, mentornet
from famus_jax.methods.mentormix import (
    Curriculum,
    Mentors,
    curriculum,
    draw_partners,
    draw_shares,
    first_curriculum,
    mixed_with,
)

KEY = jax.random.key(0)
HALF = {"percentile": 0.5, "decay": 0.5}


def test_three_batches_by_hand():
    """Medians 3, 1, 8; averages 1.5, 1.25, 4.625. One loss is exactly the average, and counts.

    Fails if the threshold is the batch's own percentile or the average before the batch, if the average
    starts elsewhere than at 0, or a loss that equals it is left out.
    """
    carried, found = first_curriculum(), []
    for losses in ([3.0, 9.0, 1.5], [1.0, 0.5, 1.25], [8.0, 5.0, 9.0]):
        v, carried = curriculum(carried, jnp.array(losses), **HALF)
        found.append((v.tolist(), float(carried.average)))
    assert found == [([0, 0, 1], 1.5), ([1, 1, 1], 1.25), ([0, 0, 0], 4.625)]
    assert int(carried.steps) == 3


def test_the_percentile_is_one_of_the_losses():
    """Of 0, 10, 20, 30, 40: the 80th percentile lies at place 3.2, which is nearest to 30.

    Fails if it lies between two losses (32).
    """
    losses = jnp.array([40.0, 0.0, 20.0, 10.0, 30.0])
    v, carried = curriculum(first_curriculum(), losses, percentile=0.8, decay=0.0)
    assert float(carried.average) == 30
    assert v.tolist() == [0, 1, 1, 1, 1]


def test_burn_in_takes_all_and_averages_on():
    """Fails if the average waits for the end of the burn-in, or that comes a step early or late."""
    carried, taken = first_curriculum(), []
    for _ in range(4):
        v, carried = curriculum(carried, jnp.array([1.0, 2.0, 30.0]), burn_in=2, **HALF)
        taken.append(v.tolist())
    assert taken == [[1, 1, 1], [1, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert float(carried.average) == 2 - 2 / 2**4


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_how_often_each_is_a_partner(temperature):
    """v = 1, 0, 0, 1, and the shares by hand: e^(1/T) against 1; 3,000 draws of four.

    Fails if the probabilities are v over its sum, T multiplies, or partners are a permutation.
    """
    v = jnp.array([1.0, 0.0, 0.0, 1.0])
    keys = jax.random.split(KEY, 3000)
    drawn = np.asarray(jax.vmap(lambda key: draw_partners(key, v, temperature))(keys))
    e = np.exp(1 / temperature)
    expected = np.array([e, 1, 1, e]) / (2 * e + 2)
    for place in range(4):  # whoever draws
        share = np.bincount(drawn[:, place], minlength=4) / 3000
        np.testing.assert_allclose(share, expected, atol=0.04)
    both = (drawn[:, 0] == 0) & (drawn[:, 1] == 0)
    assert both.mean() == pytest.approx(expected[0] ** 2, abs=0.03)


def test_with_every_example_taken_it_is_mixup():
    """v = 1: max(λ, 1 − λ) and partners of equal chance, on unit vectors, from which both can be read.

    Fails if image and label get another partner or share, or one λ serves the whole batch.
    """
    n = 8
    v = jnp.ones(n)
    partners, shares = draw_partners(KEY, v), draw_shares(jax.random.key(1), v, 1.0)
    mix = jax.random.beta(jax.random.key(1), 1.0, 1.0, (n,))
    np.testing.assert_allclose(shares, np.maximum(mix, 1 - mix), rtol=1e-6)
    assert len(np.unique(shares)) == n
    images = jnp.eye(n).reshape(n, 2, 4, 1)
    labels = jnp.eye(3)[jnp.arange(n) % 3]
    mixed, target = mixed_with(partners, shares, (images, labels))
    by_hand, target_by_hand = np.zeros((n, n)), np.zeros((n, 3))
    for i, (j, s) in enumerate(zip(partners.tolist(), shares.tolist(), strict=True)):
        by_hand[i, i] += s
        by_hand[i, j] += 1 - s
        target_by_hand[i, i % 3] += s
        target_by_hand[i, j % 3] += 1 - s
    np.testing.assert_allclose(mixed.reshape(n, n), by_hand, atol=1e-6)
    np.testing.assert_allclose(target, target_by_hand, atol=1e-6)


def test_what_is_not_taken_is_the_smaller_half():
    """Fails if an example that the curriculum leaves out keeps more than half of its mixture."""
    v = jnp.array([1.0, 0.0] * 4)
    for seed in range(10):
        shares = np.asarray(draw_shares(jax.random.key(seed), v, 8.0))
        assert (shares[::2] > 0.5).all()
        assert (shares[1::2] < 0.5).all()


def test_next_to_no_mixing_is_cross_entropy():
    """a → 0 and v = 1: the images as they are, and the loss that of the labels."""
    batch = ref.classification_batch(1, 8, dtype=jnp.float32)
    v = jnp.ones(8)
    target = jax.nn.one_hot(batch["label"], 3)
    x, target = mixed_with(draw_partners(KEY, v), draw_shares(KEY, v, 1e-4), (batch["x"], target))
    np.testing.assert_allclose(x, batch["x"], atol=1e-3)
    logits = jax.random.normal(KEY, (8, 3))
    method = mentormix()
    given = {"target": target, "memory": method.memory.init(KEY)}
    expected = softmax_cross_entropy(logits, batch).mean()
    np.testing.assert_allclose(method.loss((), logits, given)[0], expected, atol=1e-2)


def test_the_second_reweighting():
    """Losses log 2, log 4, log 8; the average 0.5 · 1.2 + 0.5 log 4 = 1.29 takes the first only.

    Fails if the mean is over those that are taken, or the two curricula are one, or the first is lost.
    """
    p = np.array([[1 / 2, 1 / 2], [1 / 4, 3 / 4], [1 / 8, 7 / 8]])
    mentors = Mentors(
        Curriculum(jnp.float32(7.0), jnp.int32(3)), Curriculum(jnp.float32(1.2), jnp.int32(3))
    )
    new = Curriculum(jnp.float32(6.0), jnp.int32(4))
    batch = {"target": jnp.eye(2)[jnp.zeros(3, int)], "memory": mentors, "curriculum": new}
    logits = jnp.log(jnp.asarray(p, jnp.float32))
    twice, once = (mentormix(second_reweight=s, **HALF) for s in (True, False))
    loss, weights = twice.loss((), logits, batch)
    assert float(loss) == pytest.approx(np.log(2) / 3, rel=1e-5)
    np.testing.assert_allclose(weights, [1 / 3, 0, 0], rtol=1e-6)
    kept = twice.memory.update(mentors, logits, batch)
    assert kept.given == new
    assert float(kept.mixed.average) == pytest.approx(0.6 + np.log(4) / 2, rel=1e-6)
    assert float(once.loss((), logits, batch)[0]) == pytest.approx(2 * np.log(2), rel=1e-5)
    assert once.memory.update(mentors, logits, batch) == Mentors(new, mentors.mixed)


def test_two_steps_of_mentornet_by_hand():
    """`train_step` without an index: the gradient of the weighted loss, and the average in the state.

    Fails if the average is not carried, is of the network after its update, or v is differentiated.
    """
    params = ref.mlp_params(jax.random.key(1), dtype=jnp.float32)
    problem = famus.problem(ref.mlp, mentornet(percentile=0.75, decay=0.5))
    step = famus.train_step(problem, optax.sgd(0.1), step_size=0.1)
    first = ref.classification_batch(1, 8, dtype=jnp.float32)
    state, average = step.init(KEY, params, (), first), 0.0
    for seed in (1, 2):
        batch = ref.classification_batch(seed, 8, dtype=jnp.float32)

        def losses(w, batch=batch):
            return softmax_cross_entropy(ref.mlp(w, (), KEY, batch)[0], batch)

        values = np.asarray(losses(params), np.float64)
        average = average / 2 + np.sort(values)[round(0.75 * 7)] / 2
        v = jnp.asarray(values <= average, jnp.float32)
        gradient = jax.grad(lambda w, v=v, losses=losses: (v * losses(w)).sum() / 8)(params)
        params = jax.tree.map(lambda w, g: w - 0.1 * g, params, gradient)
        state, info = step(state, batch)
        np.testing.assert_allclose(info.weights, v / 8, rtol=1e-6)
        np.testing.assert_allclose(state.meta.memory.average, average, rtol=1e-5)
    assert 0 < v.sum() < 8
    for found, expected in zip(*map(jax.tree.leaves, (state.params, params)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_nothing_left_out_is_plain_training():
    """The 100th percentile without averaging takes every example."""
    batch = ref.classification_batch(3, 6, dtype=jnp.float32)
    logits = jax.random.normal(KEY, (6, 3))
    method = mentornet(percentile=1.0, decay=0.0)
    loss, weights = method.loss((), logits, {**batch, "memory": method.memory.init(KEY)})
    expected, equal = cross_entropy().loss((), logits, batch)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(weights, equal, rtol=1e-6)


@pytest.mark.parametrize("method", [mentornet, mentormix])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"percentile": 70}, r"percentile.*0.7 for the 70th percentile.*got 70"),
        ({"decay": 1.0}, r"decay.*\[0, 1\); got 1.0"),
        ({"burn_in": -1}, "burn_in.*0 or more; got -1"),
    ],
)
def test_numbers_that_cannot_be(method, given, message):
    with pytest.raises(ValueError, match=message):
        method(**given)


def test_a_batch_that_is_no_mapping_is_refused():
    problem = famus.problem(
        lambda w, s, rng, x: (x @ w, s), mentornet(lambda outputs, x: outputs.sum(1))
    )
    step = famus.train_step(problem, optax.sgd(0.1), step_size=0.1)
    with pytest.raises(ValueError, match=r"mentornet keeps something from step to step.*mapping"):
        step.init(KEY, jnp.zeros((2, 2)), (), jnp.eye(2))
