"""Properties that hold for any labels, ids, seeds, sizes and host counts (hypothesis)."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from famus_jax.data import hashing
from famus_jax.data.batches.order import batch_indices, local_rows
from famus_jax.data.long_tail import long_tail
from famus_jax.data.noise.files import read_table, write_table
from famus_jax.data.noise.kinds import apply_noise
from famus_jax.data.noise.presets import KINDS, named_noise
from famus_jax.data.noise.table import make_table
from famus_jax.data.noise.transition import corrupt_labels, expected_rate
from famus_jax.data.splits import split_examples

# derandomize: the same examples in every run, so that a failure is a change of the code
quick = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
seeds = st.integers(-(2**63), 2**63)
ids_of = st.lists(st.text(max_size=8), min_size=1, max_size=60, unique=True)
SIZED = {"asymmetric_cifar10": 10, "superclass_next": 100, "hierarchical": 100}


@st.composite
def noises(draw):
    kind = draw(st.sampled_from(sorted(KINDS)))
    classes = SIZED.get(kind) or draw(st.integers(3, 12))
    rate = draw(st.integers(0, 100)) / 100
    return named_noise(kind, classes, rate, draw(st.sampled_from(["no", "all", "class"])))


@quick
@given(noises(), ids_of, seeds, st.randoms(use_true_random=False))
def test_noise_is_invariant_to_order(spec, ids, seed, shuffler):
    labels = np.asarray([len(i) + k for k, i in enumerate(ids)]) % len(spec.redraw)
    whole = apply_noise(spec, labels, ids, seed)
    order = list(range(len(ids)))
    shuffler.shuffle(order)
    other = apply_noise(spec, labels[order], [ids[i] for i in order], seed)
    assert other.digest == whole.digest
    assert other.labels.tolist() == whole.labels[order].tolist()
    assert whole.realized_rate == np.mean(whole.labels != labels)


@quick
@given(noises(), st.integers(1, 4), seeds)
def test_noise_is_invariant_to_sharding(spec, hosts, seed):
    # Independent draws only: an exact count is a property of the whole set.
    ids = [f"x{i}" for i in range(60)]
    labels = np.arange(60) % len(spec.redraw)
    spec = spec._replace(exact="no")
    whole = apply_noise(spec, labels, ids, seed)
    parts = [apply_noise(spec, labels[h::hosts], ids[h::hosts], seed) for h in range(hosts)]
    joined_ids = [i for h in range(hosts) for i in ids[h::hosts]]
    joined = np.concatenate([part.labels for part in parts])
    assert make_table(joined_ids, joined).digest == whole.digest


@quick
@given(noises(), seeds)
def test_realized_rates_lie_within_binomial_bounds(spec, seed):
    # Five standard deviations: one false alarm in 10^6. Fails for a rate off by two points.
    count = 4000
    labels = np.arange(count) % len(spec.redraw)
    expected = expected_rate(spec.transition, labels)
    found = apply_noise(spec, labels, [f"{i}" for i in range(count)], seed)
    sigma = np.sqrt(expected * (1 - expected) / count)
    # "class" rounds the count of each class down
    slack = len(spec.redraw) / count if spec.exact == "class" else 1 / count
    assert abs(found.realized_rate - expected) <= 5 * sigma + slack
    impossible = (spec.transition == 0) & ~np.eye(len(spec.redraw), dtype=bool)
    assert (found.realized_transition[impossible] == 0).all()


@quick
@given(st.lists(st.integers(0, 6), min_size=2, max_size=6), seeds)
def test_any_transition_matrix(weights, seed):
    # Rows of integer weights; a class that can't be drawn never is.
    classes = len(weights)
    rows = np.stack([np.roll(weights, c) + np.eye(classes)[c] for c in range(classes)])
    matrix = rows / rows.sum(axis=1, keepdims=True)
    labels = np.arange(300) % classes
    found = corrupt_labels(labels, [f"{i}" for i in range(300)], matrix, seed)
    assert (found.realized_transition[matrix == 0] == 0).all()
    np.testing.assert_allclose(found.realized_transition.sum(axis=1), 1)


@quick
@given(
    st.lists(st.integers(6, 15), min_size=2, max_size=6),
    st.integers(0, 3),
    st.integers(0, 2),
    seeds,
    st.randoms(use_true_random=False),
)
def test_splits_never_overlap(counts, trusted, validation, seed, shuffler):
    labels = np.repeat(np.arange(len(counts)), counts)
    ids = np.array([f"i{k}" for k in range(len(labels))])
    ask = {"trusted_per_class": trusted, "validation_per_class": validation, "seed": seed}
    parts = split_examples(labels, ids, **ask)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert np.bincount(labels[parts.trusted], minlength=len(counts)).tolist() == [trusted] * len(
        counts
    )
    order = list(range(len(labels)))
    shuffler.shuffle(order)
    again = split_examples(labels[order], ids[order], **ask)
    for one, other in zip(parts, again, strict=True):
        assert ids[one].tolist() == ids[order][other].tolist()


@quick
@given(
    st.integers(1, 50),
    st.integers(1, 20),
    seeds,
    st.integers(0, 10**6),
    st.sampled_from([1, 2, 4]),
)
def test_hosts_share_the_same_stream(count, share, seed, step, hosts):
    size = share * hosts
    whole = batch_indices(count, size, seed, step)
    parts = [whole[slice(*local_rows(size, host, hosts))] for host in range(hosts)]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert len({len(part) for part in parts}) == 1
    occurs = np.bincount(whole, minlength=count)
    # whole passes, then the piece of a sequence, where at most two epochs meet
    passes = size // count if size > count else 0
    assert occurs.min() >= passes
    assert occurs.max() <= passes + 2


@quick
@given(st.integers(1, 40), st.integers(1, 60), seeds)
def test_epochs_are_exact(count, size, seed):
    # Over N batches each example occurs equally often, whatever the sizes.
    total = np.zeros(count, int)
    for step in range(count):
        np.add.at(total, batch_indices(count, size, seed, step), 1)
    assert set(total.tolist()) == {size}


@quick
@given(st.integers(30, 60), st.integers(2, 5), st.floats(1, 20), st.integers(0, 5), seeds)
def test_long_tails_fall_and_never_overlap(size, classes, factor, meta, seed):
    labels = np.tile(np.arange(classes), size)
    ids = [f"i{k}" for k in range(len(labels))]
    found = long_tail(
        labels, ids, imbalance_factor=factor, meta_per_class=meta, formula="mwnet", seed=seed
    )
    assert not set(found.train) & set(found.trusted)
    counts = np.bincount(labels[found.train], minlength=classes)
    assert counts.tolist() == found.class_counts.tolist()
    assert (np.diff(counts) <= 0).all()
    assert counts[0] == size - meta
    assert counts[-1] == np.floor((size - meta) / factor + 1e-9)


@quick
@given(ids=ids_of, seed=seeds)
def test_tables_survive_files(tmp_path_factory, ids, seed):
    # Any text may be an id: quotes, line breaks, any script.
    labels = np.arange(len(ids)) % 7
    table = make_table(ids, labels, seed=seed)
    path = tmp_path_factory.mktemp("t") / "table.json"
    write_table(path, table)
    back = read_table(path)
    assert back.digest == table.digest
    assert back.about == {"seed": seed}


@quick
@given(ids_of, seeds)
def test_hash_order_is_a_permutation_of_its_own(ids, seed):
    order = hashing.hash_order(seed, "x", ids)
    assert sorted(order.tolist()) == list(range(len(ids)))
    backwards = hashing.hash_order(seed, "x", ids[::-1])
    assert [ids[i] for i in order] == [ids[::-1][i] for i in backwards]
