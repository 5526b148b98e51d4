"""`Classifier`: the way of scikit-learn, with labels that are wrong, missing or trusted."""

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError

import famus_jax
from famus_jax.audit import arrays

RNG = np.random.default_rng(0)
CENTERS = np.array([[0.0, 0.0], [7.0, 0.0], [0.0, 7.0]])
TRUE = np.repeat([0, 1, 2], 30)
X = CENTERS[TRUE] + RNG.normal(size=(90, 2))
WRONG = np.array([3, 40, 41, 75])
Y = TRUE.copy()
Y[WRONG] = (Y[WRONG] + 1) % 3


@pytest.fixture(scope="module")
def fitted():
    names = np.array(["eel", "cat", "dog"], object)[Y]  # sorted: cat, dog, eel
    names[10], names[50] = None, float("nan")
    return famus_jax.Classifier(seed=1).fit(X, names, trusted=[0, 1, 2, 31, 61])


def test_it_predicts_in_the_words_of_the_labels(fitted):
    """Fails if classes are in another order than the columns, or missing labels became one."""
    assert fitted.classes_.tolist() == ["cat", "dog", "eel"]
    assert fitted.n_features_in_ == 2
    assert fitted.predict(CENTERS).tolist() == ["eel", "cat", "dog"]
    p = fitted.predict_proba(X)
    assert p.shape == (90, 3)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    assert (fitted.classes_[p.argmax(1)] == fitted.predict(X)).all()
    true = np.array(["eel", "cat", "dog"])[TRUE]
    accuracy = (fitted.predict(X) == true).mean()
    assert accuracy > 0.9
    assert fitted.score(X, true) == pytest.approx(accuracy)


def test_wrong_labels_come_first(fitted):
    """Fails if issues are in another order than the data, or trusted labels are suspects."""
    issues = fitted.label_issues_
    assert len(issues.rank) == 90
    assert set(np.argsort(np.where(issues.rank, issues.rank, 99))[:4]) == set(WRONG)
    assert issues.rank[[10, 50]].tolist() == [0, 0]  # without a label
    assert (issues.p_wrong[[0, 1, 2, 31, 61]] == 0).all()
    assert fitted.classes_[issues.suggested_label[10]] == "eel"


def test_score_leaves_out_what_has_no_label_and_counts_other_classes_as_wrong(fitted):
    """By hand: two right, one of a class that was never seen; the one without a label is no error."""
    rows = np.vstack([CENTERS, CENTERS[:1]])
    labels = ["eel", "cat", "newt", None]
    assert fitted.score(rows, labels) == pytest.approx(2 / 3)
    assert fitted.score(rows, labels, sample_weight=[1, 1, 2, 9]) == pytest.approx(1 / 2)
    with pytest.raises(ValueError, match="no labels"):
        fitted.score(rows, [None] * 4)


def test_scikit_learn_s_conventions(fitted):
    classifier = famus_jax.Classifier(classes=("a", "b"), seconds=5.0)
    copied: Any = clone(classifier)
    assert copied.get_params() == {"classes": ("a", "b"), "seed": 0, "seconds": 5.0}
    assert repr(classifier) == "Classifier(classes=('a', 'b'), seconds=5.0)"
    assert classifier.set_params(seed=3) is classifier
    assert classifier.seed == 3
    with pytest.raises(ValueError, match="no parameter 'sed'"):
        classifier.set_params(sed=3)
    assert is_classifier(classifier)
    with pytest.raises(NotFittedError, match="call fit"):
        classifier.predict(X)
    with pytest.raises(ValueError, match="X has 3 features"):
        fitted.predict(np.zeros((1, 3)))
    again = pickle.loads(pickle.dumps(fitted))
    assert again.predict(X).tolist() == fitted.predict(X).tolist()


@pytest.mark.slow
def test_images_and_trusted_data_of_their_own():
    """Gray images without a channel, three epochs.

    Fails if the trusted examples are ranked too, or images are taken for rows of features.
    """
    rng = np.random.default_rng(1)
    y = np.arange(24) % 2
    images = (rng.integers(0, 60, (24, 4, 4)) + 150 * y[:, None, None]).astype(np.uint8)
    more = (images[:10], y[:10])
    classifier = famus_jax.Classifier(seconds=0.01).fit(images, y, trusted=more)
    assert sorted(classifier.label_issues_.rank) == list(range(1, 25))
    assert classifier.n_features_in_ == 16
    assert classifier.predict_proba(images[:3]).shape == (3, 2)
    with pytest.raises(ValueError, match=r"fit was given \[4, 4, 1\]"):
        classifier.predict(images[:, :2])


@pytest.mark.parametrize(
    ("y", "classes", "labels", "found"),
    [
        ([3, 1, -1, 3], None, [1, 0, -1, 1], [1, 3]),
        ([1.0, np.nan, 0.0], None, [1, -1, 0], [0, 1]),
        (["b", None, "a"], None, [1, -1, 0], ["a", "b"]),
        ([-1, 1, 1], (-1, 1), [0, 1, 1], [-1, 1]),
        (["c10", "c9"], None, [0, 1], ["c10", "c9"]),  # as np.unique sorts
        ([True, False], None, [1, 0], [False, True]),
    ],
)
def test_labels_as_people_write_them(y, classes, labels, found):
    """Fails if -1 is a class unasked, or the classes change their kind."""
    encoded = arrays.encoded(list(y), classes, np.asarray(y).dtype)
    assert encoded.labels.tolist() == labels
    assert encoded.classes.tolist() == found
    assert [type(c) for c in encoded.classes.tolist()] == [type(c) for c in found]


@pytest.mark.parametrize(
    ("inputs", "y", "trusted", "message"),
    [
        (X, Y[:5], None, "5 labels, and there are 90 examples"),
        (X, None, None, "y"),
        (np.where(X > 4, np.nan, X), Y, None, "NaN"),
        (np.zeros((4, 8, 8)), [0, 1, 0, 1], None, "images are uint8"),
        (X, Y, np.ones(3, bool), r"expected bool \[90\]"),
        (X, Y, [90], "position 90"),
        (X, Y, [0.5], "positions"),
        (X, np.where(np.arange(90) == 4, -1, Y), [4], "position 4, which has no label"),
        (X, Y, (X[:2], [0, None]), "trusted example 1 has no label"),
        (X, Y, (X[:2], [0]), "trusted labels has 1 labels"),
        (X, np.zeros(90, int), None, "one class"),
    ],
)
def test_bad_input_is_named(inputs, y, trusted, message):
    with pytest.raises(ValueError, match=message):
        famus_jax.Classifier().fit(inputs, y, trusted=trusted)


def test_top_level_names_are_there_and_listed():
    """Fails if a name that is loaded late is missing, or shadows a module."""
    assert famus_jax.label_issues.__module__ == "famus_jax.evidence.label_issues"
    assert famus_jax.evidence.Evidence.__name__ == "Evidence"
    assert {"Classifier", "label_issues", "evidence"} <= set(dir(famus_jax))
    with pytest.raises(AttributeError, match="Clasifier"):
        _ = famus_jax.Clasifier


# What scikit-learn asks and this classifier does on purpose otherwise.
OTHERWISE = {
    "check_classifiers_classes": "-1 marks what has no label",
    "check_classifiers_regression_target": "the message of an audit names the label",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_s_own_checks():
    """All that apply; each trains."""
    from sklearn.utils.estimator_checks import check_estimator

    done = check_estimator(famus_jax.Classifier(), on_fail=None, on_skip=None)
    failed = {one["check_name"]: one["exception"] for one in done if one["status"] == "failed"}
    assert not set(failed) - set(OTHERWISE), failed
