"""Class-aware weights, weights from columns and weights of sources: special cases, and what is refused.

Their meta gradients are compared with second order in test_every_estimator.py."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

from famus_jax.methods import class_aware_mwnet, class_groups, mwnet, scored, source_weights

LOGITS = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
BATCH = {"label": jnp.array([0, 1, 2, 2, 0])}
FEATURES = jnp.asarray(np.random.default_rng(1).normal(size=(5, 4)), jnp.float32)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-7)


def cost(counts, assigned):
    """Squared distances to the means of the groups."""
    groups = [counts[assigned == g] for g in set(assigned.tolist())]
    return sum(((some - some.mean()) ** 2).sum() for some in groups)


def test_the_groups_are_the_best_there_are():
    """Against every way to cut the sorted sizes. Fails for a local optimum, which Lloyd's steps may end
    in, if equal sizes are parted, or if a size that several classes have counts once."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        counts = rng.integers(1, 12, 9).astype(float) ** 2
        for k in (1, 2, 3):
            groups = np.asarray(class_groups(counts.tolist(), k))

            order = np.argsort(counts, kind="stable")
            best = np.inf
            for cuts in itertools.combinations(range(1, 9), k - 1):
                assigned = np.empty(9, int)
                assigned[order] = np.searchsorted(cuts, np.arange(9), side="right")
                best = min(best, cost(counts, assigned))
            assert cost(counts, groups) == pytest.approx(best, abs=1e-6)
            for size in set(counts.tolist()):
                assert len(set(groups[counts == size].tolist())) == 1
            means = [counts[groups == g].mean() for g in range(groups.max() + 1)]
            assert means == sorted(means)
    assert class_groups([5, 5, 5], 3) == (0, 0, 0)


def test_one_group_is_mwnet():
    """Fails if a group's head reads anything but the loss."""
    plain = mwnet(hidden=7, start="random")
    method = class_aware_mwnet([9, 3, 1], groups=1, hidden=7, start="random")
    theta = plain.init(jax.random.key(3), 5)
    jax.tree.map(close, method.init(jax.random.key(3), 5), theta)
    for a, b in zip(
        method.loss(theta, LOGITS, BATCH), plain.loss(theta, LOGITS, BATCH), strict=True
    ):
        close(a, b)


def test_only_the_loss_is_mwnet():
    """Fails if `scored` scales the loss, or leaves something beside it."""
    plain = mwnet(hidden=7, start="random")
    method = scored({"loss": 1}, hidden=7, start="random")
    theta = plain.init(jax.random.key(3), 5)
    jax.tree.map(close, method.init(jax.random.key(3), 5), theta)
    for a, b in zip(
        method.loss(theta, LOGITS, BATCH), plain.loss(theta, LOGITS, BATCH), strict=True
    ):
        close(a, b)


def test_columns_are_numbers_and_scaled():
    """No derivative reaches the network through features, and their scale does not matter. Fails if the
    features are taken as they are, or are part of the graph that is differentiated."""
    method = scored({"loss": 1, "features": 4}, hidden=7, start="random")
    theta = method.init(jax.random.key(0), 5)

    def value(outputs):
        return method.loss(theta, outputs, BATCH)

    outputs = {"logits": LOGITS, "features": FEATURES}
    slope = jax.grad(lambda outputs: value(outputs)[0])(outputs)
    assert not slope["features"].any()
    assert slope["logits"].any()
    close(value({**outputs, "features": 1e3 * FEATURES})[1], value(outputs)[1])
    assert not np.allclose(value({**outputs, "features": -FEATURES})[1], value(outputs)[1])
    half = value(jax.tree.map(lambda x: x.astype(jnp.bfloat16), outputs))
    assert np.isfinite(np.asarray(half[0], np.float32))


def test_without_the_loss():
    """Weights of a column alone: equal columns, equal weights, whatever the losses; and θ of the loss
    does not move. Fails if the loss leaks in."""
    method = scored({"quality": 1}, hidden=7, start="random")
    batch = {**BATCH, "quality": jnp.array([1, 1, 1, 2, 2])}
    theta = method.init(jax.random.key(0), 5)
    weights = np.asarray(method.loss(theta, LOGITS, batch)[1])
    assert len(set(np.round(weights, 6).tolist())) == 2
    gradient = jax.grad(lambda theta: method.loss(theta, LOGITS, batch)[0])(theta)
    assert not gradient["kernel_1"].any()
    assert gradient["column_quality"].any()


def test_monotone_whatever_the_columns():
    """V never rises with the loss for any value of the other columns, after any steps. Fails
    if a column may turn the sign, or heads of a group are left free."""
    rng, grid = np.random.default_rng(0), np.linspace(0, 6, 30)
    labels = {"label": jnp.zeros(30, jnp.int32), "quality": None}
    logits = jnp.log(jnp.stack([jnp.exp(-grid), 1 - jnp.exp(-grid) + 1e-9], 1))
    columns = scored({"loss": 1, "quality": 1}, hidden=9, meta_optimizer=optax.adam(0.1))
    heads = class_aware_mwnet([9, 1], groups=2, hidden=9, meta_optimizer=optax.adam(0.1))
    for method in (columns, heads):
        theta = method.init(jax.random.key(0), 1)
        state = method.meta_optimizer.init(theta)
        for t in range(12):
            asked = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), theta)
            updates, state = method.meta_optimizer.update(asked, state, theta)
            theta = optax.apply_updates(theta, updates)
            for quality in (-3.0, 0.0, 2.0):
                label = (t % 2) * jnp.ones(30, jnp.int32) if method is heads else labels["label"]
                shown = logits[:, ::-1] if method is heads and t % 2 else logits
                batch = {"label": label, "quality": jnp.full(30, quality)}
                weights = np.asarray(method.loss(theta, shown, batch)[1], np.float64)
                assert np.diff(weights).max() <= 1e-6


def test_sources_by_hand():
    """softmax and sigmoid at θ = (log 1, log 3): weights 1 : 3, and 1/2 : 3/4. Fails if the two are
    mixed up or θ's gradient does not reach the sources of the batch alone."""
    theta = jnp.log(jnp.array([1.0, 3.0, 1.0]))
    batch = {**BATCH, "source": jnp.array([0, 1, 1, 0, 1])}
    softmax, sigmoid = (source_weights(3, squash=s) for s in ("softmax", "sigmoid"))
    close(softmax.loss(theta, LOGITS, batch)[1], np.array([1, 3, 3, 1, 3]) / 11)
    close(sigmoid.loss(theta, LOGITS, batch)[1], np.array([2, 3, 3, 2, 3]) / 13)
    slope = jax.grad(lambda theta: sigmoid.loss(theta, LOGITS, batch)[0])(theta)
    assert slope[0] * slope[1] < 0
    assert slope[2] == 0
    start = softmax.init(jax.random.key(0), 5)
    value, weights = softmax.loss(start, LOGITS, batch)
    close(weights, np.full(5, 0.2))
    close(value, np.asarray(ref.cross_entropy(LOGITS, BATCH)).mean())


def test_a_source_that_is_not_known():
    """In compiled code NaN, so that the loss says so. Fails if the last source takes its place."""
    method = source_weights(2)
    batch = {**BATCH, "source": jnp.array([0, 1, 2, 0, 1])}
    theta = method.init(jax.random.key(0), 5)
    assert np.isnan(float(jax.jit(method.loss)(theta, LOGITS, batch)[0]))


def run(method, **more):
    return method.loss(method.init(jax.random.key(0), 5), LOGITS, {**BATCH, **more})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: class_groups([4], 2), "two or more numbers of examples"),
        (lambda: class_groups([4, -1], 2), "two or more numbers of examples"),
        (
            lambda: class_aware_mwnet([4, 1], groups=0),
            "groups, of classes, must be 1 or more; got 0",
        ),
        (lambda: run(class_aware_mwnet([4, 1])), "3 logits.*counts of 2 is of 2 classes"),
        (lambda: scored({}), "columns are names and sizes"),
        (lambda: scored({"loss": 2}), "columns are names and sizes"),
        (lambda: scored({"quality": 0}), "columns are names and sizes"),
        (lambda: run(scored({"loss": 1, "features": 4})), "scored reads the network's features"),
        (lambda: run(scored({"quality": 1})), r'reads batch\["quality"\].*holds \[.label.\]'),
        (
            lambda: run(scored({"quality": 2}), quality=jnp.ones(5)),
            r"is \[5, 1\], and should be \[5, 2\]",
        ),
        (lambda: source_weights(0), "num_sources must be 1 or more; got 0"),
        (lambda: source_weights(2, squash="tanh"), 'must be "softmax" or "sigmoid"'),
        (lambda: run(source_weights(2)), r'reads batch\["source"\]'),
        (lambda: run(source_weights(2), source=jnp.ones(5)), r"float32\[5\].*whole numbers"),
        (lambda: run(source_weights(2), source=jnp.array([0, 1, 5, 0, 0])), r"is 5 at example 2"),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
