"""Kinds of noise and the papers' presets: matrices by hand, rates by formula, exact counts."""

import numpy as np
import pytest

from famus_jax.data.noise import kinds
from famus_jax.data.noise.cifar_classes import CIFAR10, CIFAR100_SUPERCLASS
from famus_jax.data.noise.instance import flip_chances, instance_dependent
from famus_jax.data.noise.kinds import NoiseSpec, apply_noise
from famus_jax.data.noise.presets import (
    KINDS,
    PRESETS,
    all_names,
    named_noise,
    published_noise,
    published_rate,
)
from famus_jax.data.noise.transition import corrupt_labels, symmetric

N = 10_000
IDS = [f"train_{i:05d}" for i in range(N)]
LABELS10 = np.arange(N) % 10
LABELS100 = np.arange(N) % 100

GOLDEN = {
    "symmetric": "fdced9808a843f282812b92001660fbe",
    "symmetric_exclusive": "269a33cd2d7c653442be50481ebdd8c4",
    "pair_flip": "50e1835a228b5b04431156a0dfeed64f",
    "flip_to_one": "8f43be6e85f384c8d926e9130813b526",
    "flip_to_two": "65c25324126eee0affb14aed9ff8b4ec",
    "asymmetric_cifar10": "55a38bca249b8d47d35e285efec34c01",
    "superclass_next": "12a9f553968fd9411f7023163b3693b3",
    "hierarchical": "2f93d63b57f79c6e177a0ac73fd8c75a",
    "mwnet/symmetric": "fdced9808a843f282812b92001660fbe",
    "mwnet/flip": "8f43be6e85f384c8d926e9130813b526",
    "mwnet/flip2": "65c25324126eee0affb14aed9ff8b4ec",
    "mwnet/hierarchical": "2f93d63b57f79c6e177a0ac73fd8c75a",
    "dividemix/symmetric": "92c33f2bfe869d9b9154cda822cb3f99",
    "dividemix/asymmetric": "a04c95a8fb70a50007737e791260f119",
    "l2r/uniform_flip": "17341441bd64fe58d0139d9e9fd6ed16",
    "l2r/background_flip": "fbff2cb18535fd578dff4eeab954a24b",
    "mlc/symmetric": "269a33cd2d7c653442be50481ebdd8c4",
    "mlc/symmetric_inclusive": "84259ded96ae9122f5f795d37a314f43",
    "clid_mu/symmetric": "269a33cd2d7c653442be50481ebdd8c4",
    "clid_mu/asymmetric": "55a38bca249b8d47d35e285efec34c01",
}


@pytest.mark.parametrize("name", all_names())
def test_golden_digests(name):
    # Every named noise, pinned for ever: seed 3, rate 0.4.
    labels = LABELS100 if "superclass" in name or "hierarchical" in name else LABELS10
    spec = named_noise(name, labels.max() + 1, 0.4)
    assert apply_noise(spec, labels, IDS, 3).digest == GOLDEN[name]


def mistakes(matrix):
    return {c: matrix[c].nonzero()[0].tolist() for c in range(len(matrix))}


def test_cifar10_mistakes_by_name():
    # Fails for a transposed matrix, or cats and dogs the wrong way round.
    def named(variant):
        found = mistakes(kinds.asymmetric_cifar10_redraw(variant))
        return {CIFAR10[c]: CIFAR10[k[0]] for c, k in found.items() if k != [c]}

    dividemix = {
        "truck": "automobile",
        "bird": "airplane",
        "deer": "horse",
        "cat": "dog",
        "dog": "cat",
    }
    assert named("dividemix") == dividemix
    assert named("cmwnet") == {k: v for k, v in dividemix.items() if k != "dog"}


def test_cifar100_stays_in_the_superclass():
    # beaver 4, dolphin 30, otter 55, seal 72, whale 95 are the aquatic mammals.
    assert np.flatnonzero(CIFAR100_SUPERCLASS == 0).tolist() == [4, 30, 55, 72, 95]
    following = mistakes(kinds.superclass_next_redraw())
    assert [following[c] for c in (4, 30, 55, 72, 95)] == [[30], [55], [72], [95], [4]]
    any_other = kinds.hierarchical_redraw()
    assert mistakes(any_other)[55] == [4, 30, 72, 95]
    np.testing.assert_allclose(any_other[55, 4], 0.25)


def test_lonely_class_keeps_its_label():
    np.testing.assert_array_equal(
        kinds.hierarchical_redraw([0, 1, 0]), [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    )


@pytest.mark.parametrize("how_many", [1, 2])
def test_flip_targets_are_fixed_and_never_the_class_itself(how_many):
    matrix = kinds.flip_to_some_redraw(10, how_many)
    assert (np.diagonal(matrix) == 0).all()
    assert ((matrix > 0).sum(axis=1) == how_many).all()
    np.testing.assert_array_equal(matrix, kinds.flip_to_some_redraw(10, how_many))
    assert not np.array_equal(matrix, kinds.flip_to_some_redraw(10, how_many, 2))
    pinned = {1: [6, 9, 6, 0, 0, 1, 8, 6, 2, 4], 2: None}[how_many]
    assert pinned is None or matrix.argmax(axis=1).tolist() == pinned


def test_spec_and_matrix_are_the_same_noise():
    spec = NoiseSpec("x", kinds.uniform_redraw(10), 0.6)
    by_matrix = corrupt_labels(LABELS10, IDS, symmetric(10, 0.6), 1)
    assert apply_noise(spec, LABELS10, IDS, 1).digest == by_matrix.digest
    whole = kinds.spec_from_transition(symmetric(10, 0.6))
    assert apply_noise(whole, LABELS10, IDS, 1).digest == by_matrix.digest


CASES = [(p, k, c) for p in PRESETS for k, v in PRESETS[p].items() for c in (10, 100)
         if v.num_classes in (None, c)]  # fmt: skip


@pytest.mark.parametrize(("paper", "kind", "classes"), CASES)
@pytest.mark.parametrize("rate", [0.2, 0.8])
def test_presets_have_the_published_rate(paper, kind, classes, rate):
    # The published formulas, against the matrix and against a draw.
    labels = np.arange(N) % classes
    spec = published_noise(paper, kind, classes, rate)
    expected = published_rate(paper, kind, classes, rate)
    assert 1 - np.diagonal(spec.transition).mean() == pytest.approx(expected, abs=1e-12)
    realized = apply_noise(spec, labels, IDS, 11).realized_rate
    assert abs(realized - expected) < 4 * np.sqrt(expected * (1 - expected) / N) + 1e-12


def test_published_table():
    # Published: inclusive .2/.4/.6/.8 -> .18/.36/.54/.72 on 10 and .198 … .792 on 100 classes
    for rate, ten, hundred in [(0.2, 0.18, 0.198), (0.4, 0.36, 0.396), (0.8, 0.72, 0.792)]:
        assert published_rate("mwnet", "symmetric", 10, rate) == pytest.approx(ten)
        assert published_rate("dividemix", "symmetric", 100, rate) == pytest.approx(hundred)
    assert published_rate("dividemix", "asymmetric", 10, 0.4) == pytest.approx(0.2)
    # L2R's released code never draws the last class
    noisy = apply_noise(published_noise("l2r", "uniform_flip", 10, 0.9), LABELS10, IDS, 0)
    assert (noisy.realized_transition[:9, 9] == 0).all()


@pytest.mark.parametrize("rate", [0.29, 0.3, 1.0, 0.0])
def test_exact_counts(rate):
    # Exclusive redraws, so wrong = redrawn. Fails if 0.29 * 100 = 28.999… is floored to 28.
    redraw = kinds.uniform_redraw(10, inclusive=False)
    noisy = apply_noise(NoiseSpec("x", redraw, rate, "all"), LABELS10, IDS, 2)
    assert (noisy.labels != LABELS10).sum() == round(rate * N)
    few = apply_noise(NoiseSpec("x", redraw, rate, "all"), LABELS10[:100], IDS[:100], 2)
    assert (few.labels != LABELS10[:100]).sum() == round(rate * 100)
    by_class = apply_noise(NoiseSpec("x", redraw, rate, "class"), LABELS10, IDS, 2)
    np.testing.assert_allclose(np.diagonal(by_class.realized_transition), 1 - rate, atol=1e-12)
    assert rate in (0.0, 1.0) or noisy.digest != by_class.digest


def test_exact_counts_do_not_depend_on_order():
    spec = published_noise("dividemix", "symmetric", 10, 0.5)
    order = np.random.default_rng(0).permutation(N)
    a = apply_noise(spec, LABELS10, IDS, 2)
    b = apply_noise(spec, LABELS10[order], np.array(IDS)[order], 2)
    assert a.digest == b.digest
    np.testing.assert_array_equal(a.labels[order], b.labels)


def test_instance_dependent_noise():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4000, 6))
    labels = np.arange(4000) % 5
    ids = IDS[:4000]
    noisy = instance_dependent(features, labels, ids, 0.4, 0, num_classes=5)
    assert abs(noisy.realized_rate - 0.4) < 0.035
    order = rng.permutation(4000)
    again = instance_dependent(
        features[order], labels[order], np.array(ids)[order], 0.4, 0, num_classes=5
    )
    assert again.digest == noisy.digest
    # It depends on the instance: equal features, hence one most likely wrong class per true class.
    # Fails if the noise ignores x (then all other classes would be about equally frequent).
    same = np.broadcast_to(3 * features[:1], (4000, 6))
    one = instance_dependent(same, labels, ids, 0.4, 0, num_classes=5)
    wrong = one.realized_transition - np.diag(np.diagonal(one.realized_transition))
    assert (wrong.max(axis=1) / wrong.sum(axis=1) > 0.5).sum() >= 4


def test_instance_dependent_by_the_definition():
    # The probabilities with plain loops, checked by which label u selects.
    from famus_jax.data import hashing
    from famus_jax.data.noise import instance as noise_instance

    x = np.random.default_rng(5).normal(size=(80, 2))
    labels, ids = np.arange(80) % 3, [f"{i}" for i in range(80)]
    noisy = instance_dependent(x, labels, ids, 0.5, 4, num_classes=3).labels
    q = flip_chances(ids, 0.5, 4)
    u = hashing.uniform(4, "label_noise", ids)
    for i in range(80):
        w = noise_instance._normal(4, f"instance_weights/{labels[i]}", 6).reshape(2, 3)
        e = [np.exp(x[i] @ w[:, k]) if k != labels[i] else 0.0 for k in range(3)]
        p = [q[i] * v / sum(e) for v in e]
        p[labels[i]] = 1 - q[i]
        assert noisy[i] == next(k for k in range(3) if u[i] < sum(p[: k + 1]))


def test_normals_are_normal():
    from famus_jax.data.noise.instance import _normal

    z = _normal(0, "x", 20_001)
    assert z.shape == (20_001,)
    moments = [z.mean(), z.var(), (z**3).mean(), (z**4).mean()]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.15)
    q = flip_chances(IDS, 0.02, 0)
    assert 0 <= q.min() <= q.max() <= 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: published_noise("mwnett", "flip", 10, 0.4), "choose one of"),
        (lambda: published_noise("mwnet", "asym", 10, 0.4), "'mwnet' has no noise 'asym'"),
        (lambda: published_noise("mwnet", "hierarchical", 10, 0.4), "defined for 100 classes"),
        (lambda: published_noise("mwnet", "flip", 10, 4), r"rate = 4 is outside \[0, 1\]"),
        (lambda: named_noise("sym", 10, 0.1), "no label noise 'sym'"),
        (lambda: named_noise("superclass_next", 10, 0.1), "has 100 classes, the data have 10"),
        (lambda: named_noise("mwnet/flip", 10, 0.1, "all"), "fixes its own counts"),
        (lambda: kinds.asymmetric_cifar10_redraw("x"), "variant = 'x'"),
        (lambda: kinds.flip_to_some_redraw(10, 3), "how_many = 3"),
        (lambda: kinds.map_redraw([0, 7]), "label 7 at position 1"),
        (
            lambda: apply_noise(NoiseSpec("x", np.eye(2), 0.5, "most"), [0], ["a"], 0),
            "exact = 'most'",
        ),
        (
            lambda: instance_dependent([[1.0]], [0, 1], ["a", "b"], 0.1, 0, num_classes=2),
            "1 rows of features",
        ),
        (
            lambda: instance_dependent([[np.nan]], [0], ["a"], 0.1, 0, num_classes=2),
            "'a' .* not finite",
        ),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_kinds_cover_the_two_class_case():
    for name in KINDS:
        if name not in ("asymmetric_cifar10", "superclass_next", "hierarchical", "flip_to_two"):
            assert named_noise(name, 2, 0.3).redraw.shape == (2, 2)
