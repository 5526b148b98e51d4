"""Audits from end to end: quality on digits, small and odd sets, what is refused."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from famus_jax.audit.items import Items
from famus_jax.audit.run import Known, audit, mended_labels, probabilities


def items(inputs, labels, classes, kind="features"):
    labels = np.asarray(labels, np.int32)
    ids = np.array([f"x{i}" for i in range(len(labels))])
    return Items(kind, inputs, labels, ids, tuple(f"c{i}" for i in range(classes)), "some set")


def digits(rate, seed=0):
    data = load_digits()
    generator = np.random.default_rng(seed)
    true = data.target.astype(np.int32)
    wrong = generator.random(len(true)) < rate
    labels = np.where(wrong, (true + generator.integers(1, 10, len(true))) % 10, true)
    return data, true, labels.astype(np.int32), wrong


def expected_calibration_error(p, wrong):
    bins = np.minimum((p * 10).astype(int), 9)
    return sum(
        abs(p[bins == b].mean() - wrong[bins == b].mean()) * (bins == b).mean() for b in set(bins)
    )


def blobs(n=60, classes=2, seed=0, d=5):
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centers = 4 * generator.normal(size=(classes, d))
    return (centers[labels] + generator.normal(size=(n, d))).astype(np.float32), labels


def contract(found, labels):
    labeled = labels >= 0
    p = found.issues.p_wrong
    assert np.isfinite(p[labeled]).all()
    assert np.isnan(p[~labeled]).all()
    assert (p[labeled] >= 0).all()
    assert (p[labeled] <= 1).all()
    assert sorted(found.issues.rank[labeled]) == list(range(1, labeled.sum() + 1))
    assert np.isfinite(found.issues.probabilities).all()


def check_quality(found, true, wrong, ece):
    p = found.issues.p_wrong
    assert roc_auc_score(wrong, p) >= 0.99
    assert (found.issues.suggested_label == true)[wrong].mean() >= 0.85
    assert expected_calibration_error(p, wrong) <= ece
    assert abs(found.issues.summary.share_wrong - wrong.mean()) <= 0.05
    assert found.issues.summary.warnings == ()
    assert all(test.weight > 0 for test in found.issues.summary.self_tests)


@pytest.fixture
def few_epochs(monkeypatch):
    """Twelve, not thirty, find nearly as much."""
    monkeypatch.setattr("famus_jax.audit.networks._MOST_EPOCHS", 12)


@pytest.mark.slow
def test_digits_as_features_with_all_epochs():
    data, true, labels, wrong = digits(0.2)
    found = audit(items(data.data.astype(np.float32), labels, 10), final=False)
    check_quality(found, true, wrong, 0.05)


def test_digits_as_features(few_epochs):
    """20 % symmetric noise: what was seen is AUROC 0.999, ECE 0.01, suggestions 0.94."""
    data, true, labels, wrong = digits(0.2)
    found = audit(items(data.data.astype(np.float32), labels, 10))
    check_quality(found, true, wrong, 0.05)
    # And the network on mended labels is right about the digits, not about the labels.
    p = probabilities(found, data.data.astype(np.float32))
    assert p.shape == (len(true), 10)
    assert (p.argmax(1) == true).mean() > 0.95


@pytest.mark.slow
def test_digits_as_images():
    """The convolutional network, whose networks take turns."""
    data, true, labels, wrong = digits(0.2)
    images = (data.images[..., None] * 15.9).astype(np.uint8)
    found = audit(items(images, labels, 10, "images"))
    assert found.choice.name == "cnn"
    check_quality(found, true, wrong, 0.06)
    assert (probabilities(found, images).argmax(1) == true).mean() > 0.95


def test_clean_digits(few_epochs):
    data, _, labels, _ = digits(0.0)
    found = audit(items(data.data.astype(np.float32), labels, 10), final=False)
    assert found.issues.summary.share_wrong < 0.02
    assert found.issues.summary.num_issues < 20
    assert found.variables is None
    with pytest.raises(ValueError, match="trained no final network"):
        probabilities(found, data.data)


def test_noise_without_signal_is_said(few_epochs):
    """Labels that have nothing to do with the inputs: the first warning says so."""
    generator = np.random.default_rng(0)
    x, labels = generator.normal(size=(400, 20)).astype(np.float32), generator.integers(0, 2, 400)
    found = audit(items(x, labels, 2), final=False)
    contract(found, labels)
    assert found.issues.summary.warnings
    failed = [test for test in found.issues.summary.self_tests if test.weight == 0]
    assert {"held_out", "neighbors"} <= {test.name for test in failed}


@pytest.mark.parametrize(("n", "classes"), [(8, 2), (10, 2), (12, 12), (330, 300)])
def test_any_size(n, classes):
    x, labels = blobs(n, classes)
    contract(audit(items(x, labels, classes), final=False, seconds=0.0), labels)


def test_odd_sets():
    """One example in a class, a class of none, identical rows, some without a label, all at once."""
    x, labels = blobs(80, 4)
    labels[labels == 3] = 2
    labels[5], labels[10:20] = 3, -1
    x[20:40] = x[20]
    found = audit(items(x, labels, 6), seconds=0.0)
    contract(found, labels)
    assert (found.issues.suggested_label[10:20] >= 0).all()
    assert not found.issues.is_label_issue[10:20].any()
    assert any(set(range(20, 40)) <= set(group) for group in found.issues.summary.duplicates)


def test_all_rows_identical(few_epochs):
    """Nothing can be learned: it is said, and nothing is NaN."""
    labels = np.arange(40) % 2
    found = audit(items(np.ones((40, 5), np.float32), labels, 2), final=False)
    contract(found, labels)
    assert found.issues.summary.warnings


def test_the_same_again():
    x, labels = blobs()
    one, two = (audit(items(x, labels, 2), final=False, seed=-5) for _ in range(2))
    np.testing.assert_array_equal(one.issues.p_wrong, two.issues.p_wrong)
    np.testing.assert_array_equal(one.issues.rank, two.issues.rank)


def test_decisions_and_progress(few_epochs):
    """Trusted labels stay; those known to be wrong are mended or left out; both stages are told."""
    x, labels = blobs(100)
    true = labels.copy()
    labels[:10] = 1 - labels[:10]
    known_wrong = np.arange(100) < 5
    trusted = (np.arange(100) >= 50) & (np.arange(100) < 60)
    told = []
    found = audit(
        items(x, labels, 2), known=Known(np.where(trusted, labels, -1), known_wrong),
        on_epoch=lambda *of: told.append(of),
    )  # fmt: skip
    contract(found, labels)
    assert (found.issues.p_wrong[:5] == 1).all()
    assert (found.issues.p_wrong[50:60] == 0).all()
    mended = mended_labels(found.issues, labels)
    assert (mended[trusted] == labels[trusted]).all()
    assert (mended[:5] == true[:5]).all()
    stages = [name for name, _, _ in told]
    assert list(dict.fromkeys(stages)) == ["networks in folds", "the network on mended labels"]


def test_features_of_another_network_are_looked_at_instead():
    x, labels = blobs()
    texts = np.array(["a text"] * 60, object)
    found = audit(items(texts, labels, 2, "texts"), features=x, final=False, seconds=0.0)
    contract(found, labels)
    with pytest.raises(ValueError, match="texts need features"):
        audit(items(texts, labels, 2, "texts"))


def test_a_label_that_a_person_mended_is_trained_on_as_it_is_now(few_epochs):
    """The given label counts as wrong, the right one as the suggestion. Fails if it is left out."""
    x, true = blobs(100)
    labels = true.copy()
    labels[:40] = 1 - labels[:40]
    right = np.where(np.arange(100) < 40, true, -1)
    found = audit(items(x, labels, 2), known=Known(right, np.arange(100) < 40))
    assert (found.issues.p_wrong[:40] == 1).all()
    assert (found.issues.suggested_label[:40] == true[:40]).all()
    assert (probabilities(found, x).argmax(1) == true).mean() > 0.95
    assert found.issues.p_wrong[40:].max() < 0.5


X, LABELS = blobs(20)


@pytest.mark.parametrize(
    ("change", "flags", "message"),
    [
        (
            {"labels": np.zeros(20, np.int32)},
            {},
            r"all labels of some set are 'c0'.*nothing to compare",
        ),
        ({"labels": np.full(20, -1, np.int32)}, {}, r"some set has no labels: label some"),
        (
            {"labels": np.array([0, 1, 0] + [-1] * 17)},
            {},
            r"some set has 3 labels .*needs 8 or more",
        ),
        ({"labels": np.arange(20) % 3}, {}, r"label 2 of 'x2' is none of the 2 classes"),
        ({"inputs": X[:-1]}, {}, r"inputs of the shape \(19, 5\).*for 20 labels"),
        ({"inputs": X[:, :, None]}, {}, r"expected images \[N, H, W, C\] or features \[N, D\]"),
        (
            {"inputs": np.where(np.arange(20)[:, None] == 3, np.nan, X)},
            {},
            r"the features of 'x3' are not finite \(1 such",
        ),
        (
            {},
            {"known": Known(np.full(20, -1), np.arange(20) < 15)},
            r"some set has 5 labels that are not known to be wrong",
        ),
        (
            {},
            {"known": Known(np.full(20, -1), np.arange(20) % 2 == 0)},
            r"all labels of some set are 'c1'",
        ),
        (
            {},
            {"known": Known(np.full(3, -1), np.zeros(3, bool))},
            r"known speaks of 3 and 3 labels",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(monkeypatch, change, flags, message):
    monkeypatch.setattr("famus_jax.audit.run.train_folds", None)
    with pytest.raises(ValueError, match=message):
        audit(items(X, LABELS, 2)._replace(**change), **flags)
