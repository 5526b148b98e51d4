"""Evidence that is summed up in a training loop."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.evidence import sums

N, C = 6, 3


def batch(seed=0, n=4):
    generator = np.random.default_rng(seed)
    positions = generator.permutation(N)[:n].astype(np.int32)
    logits = generator.normal(size=(n, C)).astype(np.float32)
    return positions, logits, generator.integers(0, C, n).astype(np.int32)


def by_hand(batches):
    """Means over the visits by plain loops, in float64."""
    seen = {name: [[] for _ in range(N)] for name in ("aum", "probability", "probability_margin")}
    classes = [[] for _ in range(N)]
    for positions, logits, labels in batches:
        for i, z, y in zip(positions, logits.astype(np.float64), labels, strict=True):
            p = np.exp(z) / np.exp(z).sum()
            others = [c for c in range(C) if c != y]
            seen["aum"][i].append(z[y] - max(z[c] for c in others))
            seen["probability"][i].append(p[y])
            seen["probability_margin"][i].append(p[y] - max(p[c] for c in others))
            classes[i].append(p)
    found = {k: np.array([np.mean(v) if v else np.nan for v in each]) for k, each in seen.items()}
    last = seen["probability_margin"]
    found["last_margin"] = np.array([v[-1] if v else np.nan for v in last])
    return found, np.array([np.mean(v, 0) if v else np.full(C, np.nan) for v in classes])


def test_as_a_plain_loop():
    """Fails if a sum takes the label into the maximum, forgets a visit, or divides by the steps."""
    batches = [batch(seed) for seed in range(5)]
    state = sums.init(N, C)
    for one in batches:
        state = sums.update(state, *map(jnp.asarray, one))
    kinds, probabilities = by_hand(batches)
    evidence = sums.read(state)
    assert set(evidence.kinds) == set(kinds)
    for name, values in kinds.items():
        np.testing.assert_allclose(evidence.kinds[name], values, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(evidence.probabilities, probabilities, rtol=1e-5)
    assert evidence.planted is None


def test_never_seen_is_nan_without_a_warning():
    evidence = sums.read(
        sums.update(sums.init(N, C), *map(jnp.asarray, ([2], np.ones((1, C)), [0])))
    )
    for values in (*evidence.kinds.values(), evidence.probabilities.sum(1)):
        assert np.flatnonzero(np.isfinite(values)).tolist() == [2]


def test_microbatches_add_up_to_the_batch():
    positions, logits, labels = map(jnp.asarray, batch())
    whole = sums.update(sums.init(N, C), positions, logits, labels)
    parts = sums.init(N, C)
    for at in (slice(0, 1), slice(1, 4)):
        parts = sums.update(parts, positions[at], logits[at], labels[at])
    jax.tree.map(np.testing.assert_array_equal, whole, parts)


def test_jitted_with_donation_and_compiled_once():
    """Donation needs arrays of their own for each sum; the second step must not compile anew."""
    update = chex.assert_max_traces(sums.update, n=1)
    step = jax.jit(update, donate_argnums=0)
    first = sums.init(N, C)
    state = step(first, *map(jnp.asarray, batch(0)))
    assert all(leaf.is_deleted() for leaf in first)
    state = step(state, *map(jnp.asarray, batch(1)))
    plain = sums.update(sums.init(N, C), *map(jnp.asarray, batch(0)))
    plain = sums.update(plain, *map(jnp.asarray, batch(1)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), state, plain)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p, z, y: (p, z.at[1, 0].set(jnp.nan), y),
        lambda p, z, y: (p, z.at[1, 2].set(jnp.inf), y),
        lambda p, z, y: (p.at[1].set(-1), z, y),
        lambda p, z, y: (p.at[1].set(N), z, y),
        lambda p, z, y: (p, z, y.at[1].set(-1)),
        lambda p, z, y: (p, z, y.at[1].set(C)),
    ],
)
def test_what_says_nothing_is_passed_over(spoil):
    """As if the row were not there: nothing is NaN, and no other example is touched."""
    positions, logits, labels = map(jnp.asarray, batch())
    found = sums.update(sums.init(N, C), *spoil(positions, logits, labels))
    keep = np.array([0, 2, 3])
    expected = sums.update(sums.init(N, C), positions[keep], logits[keep], labels[keep])
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(
    "shapes",
    [
        ((4,), (4, C + 1), (4,)),
        ((4,), (3, C), (4,)),
        ((4,), (4, C), (4, 1)),
        ((2, 2), (2, 2, C), (2, 2)),
    ],
)
def test_other_shapes_are_refused(shapes):
    positions, logits, labels = shapes
    with pytest.raises(ValueError, match=rf"must be \[n\], \[n, {C}\] and \[n\]"):
        sums.update(
            sums.init(N, C), jnp.zeros(positions, int), jnp.zeros(logits), jnp.zeros(labels, int)
        )


@pytest.mark.parametrize(("examples", "classes"), [(0, 2), (3, 1)])
def test_nothing_to_sum_is_refused(examples, classes):
    with pytest.raises(ValueError, match=f"num_examples = {examples} and num_classes = {classes}"):
        sums.init(examples, classes)


def test_no_gradient_flows_back():
    """Evidence is looked at, not trained on."""

    def total(logits):
        state = sums.update(sums.init(N, C), jnp.arange(4), logits, jnp.zeros(4, int))
        return state.aum.sum() + state.classes.sum()

    assert not np.any(jax.grad(total)(jnp.ones((4, C))))
