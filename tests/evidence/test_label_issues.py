"""All of it at once: what comes out for evidence of known quality, and what is refused."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from famus_jax.evidence.label_issues import label_issues
from famus_jax.evidence.margins import log_margin
from famus_jax.evidence.types import Evidence, Planted


def noisy(n=1000, classes=5, rate=0.2, seed=0, sharp=4.0, planted=True):
    """Evidence as a fair network would give it; labels; which are wrong; the true ones."""
    generator = np.random.default_rng(seed)
    true = generator.integers(0, classes, n)
    wrong = generator.random(n) < rate
    labels = np.where(wrong, (true + generator.integers(1, classes, n)) % classes, true)
    logits = generator.normal(size=(n, classes))
    logits[np.arange(n), true] += sharp
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    blur = generator.normal(size=n)

    def kinds_of(y):
        margin = log_margin(p, y)
        return {"held_out": margin, "aum": margin + blur, "probability": p[np.arange(n), y]}

    marks = None
    if planted:
        at = np.arange(0, n, 10)
        changed = labels.copy()
        changed[at] = (labels[at] + generator.integers(1, classes, len(at))) % classes
        marks = Planted(at, changed[at], {k: v[at] for k, v in kinds_of(changed).items()})
    return Evidence(kinds_of(labels), p, marks), labels, wrong, true


def contract(found, labels, classes):
    """What is promised whatever the data."""
    n, labeled = len(labels), labels >= 0
    assert np.isfinite(found.p_wrong[labeled]).all()
    assert np.isnan(found.p_wrong[~labeled]).all()
    assert (found.p_wrong[labeled] >= 0).all()
    assert (found.p_wrong[labeled] <= 1).all()
    assert sorted(found.rank[labeled]) == list(range(1, labeled.sum() + 1))
    assert not found.rank[~labeled].any()
    by_rank = found.p_wrong[labeled][np.argsort(found.rank[labeled])]
    assert (np.diff(by_rank) <= 0).all()
    assert found.probabilities.shape == (n, classes)
    assert np.isfinite(found.probabilities).all()
    assert found.suggested_label.dtype == np.int32
    assert (found.suggested_label >= 0).all()
    assert (found.suggested_label < classes).all()
    assert (found.p_suggested >= 0).all()
    assert (found.p_suggested <= 1).all()
    issue = found.is_label_issue
    assert (found.suggested_label != labels)[issue].all()
    assert (found.suggested_label == labels)[labeled & ~issue].all()
    assert set(found.rank[issue]) == set(range(1, issue.sum() + 1))
    assert found.summary.num_issues == issue.sum()
    s = found.summary
    assert 0 <= s.share_low <= s.share_wrong <= s.share_high <= 1
    assert s.confusion.shape == (classes, classes)
    assert s.confusion.sum() == pytest.approx(labeled.sum())


@pytest.mark.parametrize("planted", [True, False])
def test_quality(planted):
    evidence, labels, wrong, true = noisy(planted=planted, sharp=6.0)
    found = label_issues(evidence, labels)
    contract(found, labels, 5)
    assert roc_auc_score(wrong, found.p_wrong) > 0.98
    assert abs(found.summary.share_wrong - 0.2) < 0.05
    assert (found.suggested_label == true)[wrong].mean() > 0.85
    assert found.summary.warnings == ()


def test_the_same_again_and_nothing_is_changed_in_place():
    evidence, labels, _, _ = noisy()
    before = evidence.probabilities.copy()
    one, two = label_issues(evidence, labels, seed=3), label_issues(evidence, labels, seed=3)
    np.testing.assert_array_equal(one.p_wrong, two.p_wrong)
    np.testing.assert_array_equal(one.rank, two.rank)
    assert one.summary.share_low == two.summary.share_low
    np.testing.assert_array_equal(evidence.probabilities, before)


def test_lists_and_small_whole_numbers_do_as_well():
    evidence, labels, _, _ = noisy(100)
    expected = label_issues(evidence, labels)
    for other in (labels.tolist(), labels.astype(np.uint8), labels.astype(np.uint64)):
        np.testing.assert_array_equal(label_issues(evidence, other).rank, expected.rank)


def test_all_labels_right():
    evidence, labels, _, _ = noisy(rate=0.0, sharp=6.0)
    found = label_issues(evidence, labels)
    assert found.summary.share_wrong < 0.05
    assert found.summary.num_issues < 0.05 * len(labels)


def test_unlabeled_get_a_suggestion_and_no_rank():
    evidence, labels, _, true = noisy(sharp=6.0)
    labels[:200] = -1
    found = label_issues(evidence, labels)
    contract(found, labels, 5)
    assert not found.is_label_issue[:200].any()
    assert (found.suggested_label == true)[:200].mean() > 0.9
    np.testing.assert_allclose(found.p_suggested[:200], evidence.probabilities[:200].max(1))


def test_decided_labels_are_taken_at_their_word():
    """Both where they are too few to be fitted to, and where they are enough."""
    evidence, labels, wrong, _ = noisy()
    for count in (3, 100):
        at = np.arange(len(labels)) < count
        found = label_issues(evidence, labels, trusted=at & ~wrong, known_wrong=at & wrong)
        contract(found, labels, 5)
        assert (found.p_wrong[at & ~wrong] == 0).all()
        assert (found.p_wrong[at & wrong] == 1).all()
        assert found.is_label_issue[at & wrong].all()
        assert found.summary.share_wrong == pytest.approx(found.p_wrong.mean())


@pytest.mark.parametrize("how", ["head", "random"])
def test_decisions_make_no_list_worse(how):
    """Forty decisions, at the head of the list or anywhere: AUROC and share of the rest stay good."""
    evidence, labels, wrong, _ = noisy(rate=0.1)
    before = label_issues(evidence, labels)
    order = np.argsort(before.rank) if how == "head" else np.random.default_rng(0).permutation(1000)
    at = np.zeros(1000, bool)
    at[order[:40]] = True
    at[order[-2:]] = True
    found = label_issues(evidence, labels, trusted=at & ~wrong, known_wrong=at & wrong)
    rest = ~at
    was, now = (roc_auc_score(wrong[rest], x.p_wrong[rest]) for x in (before, found))
    assert now > was - 0.01
    assert abs(found.summary.share_wrong - wrong.mean()) < 0.05


def test_many_trusted_labels():
    evidence, labels, wrong, _ = noisy(sharp=6.0)
    trusted = ~wrong & (np.arange(1000) % 10 == 0)
    found = label_issues(evidence, labels, trusted=trusted)
    contract(found, labels, 5)
    assert abs(found.summary.share_wrong - wrong.mean()) < 0.05


def test_upside_down_evidence_does_not_count_and_is_named():
    """With planted labels, and without."""
    for planted in (True, False):
        evidence, labels, _wrong, _ = noisy(planted=planted)
        expected = label_issues(evidence, labels)
        kinds = {**evidence.kinds, "weight": -evidence.kinds["aum"]}
        marks = evidence.planted
        if marks is not None:
            marks = marks._replace(evidence={**marks.evidence, "weight": -marks.evidence["aum"]})
        found = label_issues(evidence._replace(kinds=kinds, planted=marks), labels)
        assert {t.name: t.weight for t in found.summary.self_tests}["weight"] == 0
        assert any("'weight' failed the self-test" in said for said in found.summary.warnings)
        np.testing.assert_allclose(found.p_wrong, expected.p_wrong, atol=0.02)


def test_no_evidence_better_than_chance_is_said_first():
    evidence, labels, _, _ = noisy()
    generator = np.random.default_rng(0)
    kinds = {name: generator.normal(size=1000) for name in evidence.kinds}
    marks = {name: np.quantile(v, np.linspace(0, 1, 100)) for name, v in kinds.items()}
    planted = Planted(np.arange(0, 1000, 10), np.zeros(100, int), marks)
    found = label_issues(Evidence(kinds, evidence.probabilities, planted), labels)
    contract(found, labels, 5)
    assert found.summary.warnings[0].startswith("This list may be no better than chance")
    assert all(test.weight == 0 for test in found.summary.self_tests)


def test_untested_evidence_is_said():
    """Ten labels are too few for a test without planted ones."""
    evidence, labels, _, _ = noisy(10, planted=False)
    found = label_issues(evidence, labels)
    contract(found, labels, 5)
    assert "No evidence could be tested" in found.summary.warnings[0]
    assert all(np.isnan(test.auroc) for test in found.summary.self_tests)


def test_more_than_half_wrong_is_said():
    evidence, labels, _, _ = noisy(rate=0.75, sharp=6.0)
    assert any("Above a half" in said for said in label_issues(evidence, labels).summary.warnings)


@pytest.mark.parametrize(
    ("n", "classes"), [(3, 2), (10, 2), (10, 5), (40, 300), (400, 300), (1000, 2)]
)
@pytest.mark.parametrize("planted", [True, False])
def test_any_size(n, classes, planted):
    evidence, labels, _, _ = noisy(n, classes, planted=planted)
    labels[:2] = 0, 1
    contract(label_issues(evidence, labels), labels, classes)


def test_one_example_in_a_class_and_a_class_of_none():
    evidence, labels, _, _ = noisy(200)
    labels[labels == 3] = 4
    labels[labels == 2] = 1
    labels[17] = 2
    contract(label_issues(evidence, labels), labels, 5)


def test_identical_rows_and_ties():
    """All rows of a class alike: the order of the data decides, and no rank is given twice."""
    p = np.tile([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]], (20, 1))
    labels = np.tile([0, 1, 1], 20)
    found = label_issues(Evidence({"held_out": log_margin(p, labels)}, p), labels)
    contract(found, labels, 2)
    assert found.rank[1::3].tolist() == list(range(1, 21))


def test_evidence_that_is_missing_for_some():
    """NaN in a kind, in all kinds, and in the probabilities: still no NaN in what comes out."""
    evidence, labels, wrong, _ = noisy()
    kinds = {name: v.copy() for name, v in evidence.kinds.items()}
    kinds["aum"][:300] = np.nan
    for values in kinds.values():
        values[:5] = np.nan
    p = evidence.probabilities.copy()
    p[:5] = np.nan
    found = label_issues(evidence._replace(kinds=kinds, probabilities=p), labels)
    contract(found, labels, 5)
    assert roc_auc_score(wrong[5:], found.p_wrong[5:]) > 0.95


def test_a_label_that_is_wrong_though_the_network_is_certain_gets_another():
    """All other probabilities are exactly 0: the suggestion is still another class."""
    evidence, labels, _, _ = noisy(100)
    p = evidence.probabilities.copy()
    labels[0], p[0] = 0, np.eye(5)[0]
    found = label_issues(
        evidence._replace(probabilities=p), labels, known_wrong=np.arange(100) == 0
    )
    assert found.is_label_issue[0]
    assert found.suggested_label[0] != 0
    assert found.p_suggested[0] == 0


def test_duplicates_with_one_label_are_not_told():
    evidence, labels, _, _ = noisy(50)
    labels[:6] = 1, 1, 0, 2, -1, 3
    groups = ((0, 1), (2, 3), (4, 5))
    found = label_issues(evidence._replace(duplicates=groups), labels)
    assert found.summary.duplicates == ((2, 3),)


def test_far_from_all_fits_no_class():
    evidence, labels, _, _ = noisy(50)
    far = np.arange(50) == 7
    np.testing.assert_array_equal(
        label_issues(evidence._replace(unlike_all=far), labels).fits_no_class, far
    )
    assert not label_issues(evidence, labels).fits_no_class.any()


def with_kind(values):
    return lambda e, y: (e._replace(kinds={"aum": values}), y, {})


def changed(at, value):
    def spoil(evidence, labels):
        labels = labels.copy()
        labels[at] = value
        return evidence, labels, {}

    return spoil


def flagged(**flags):
    return lambda e, y: (e, y, flags)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (changed(3, 7), r"label 7 at position 3 is none of the 5 classes 0 … 4.*-1 marks"),
        (changed(3, -2), r"label -2 at position 3"),
        (changed(slice(1, None), -1), r"fewer than two examples have a label"),
        (changed(slice(1, None), -1), r"nothing to compare"),
        (changed(slice(None), 2), r"all labels are 2: .* give labels of two"),
        (lambda e, y: (e, y + 0.5, {}), r"labels are float64 \(100,\); expected whole numbers"),
        (lambda e, y: (e, y[None], {}), r"labels are int64 \(1, 100\)"),
        (
            lambda e, y: (e, y[:-1], {}),
            r"probabilities have the shape \(100, 5\); expected \[99, C\]",
        ),
        (lambda e, y: (e._replace(probabilities=e.probabilities[:, :1]), y, {}), r"C >= 2"),
        (
            lambda e, y: (e._replace(probabilities=np.log(e.probabilities)), y, {}),
            r"probabilities at position 0 .*softmax",
        ),
        (
            lambda e, y: (e._replace(probabilities=e.probabilities / 2), y, {}),
            r"position 0 have the sum 0\.5 .*\(100 such rows\)",
        ),
        (with_kind(np.zeros(99)), r"evidence 'aum' has the shape \(99,\); expected \[100\]"),
        (with_kind(np.full(100, -np.inf)), r"evidence 'aum' is infinite at position 0: clip"),
        (with_kind(np.ones(100)), r"no evidence tells one label from another \(there is \['aum'\]"),
        (
            lambda e, y: (e._replace(kinds={}), y, {}),
            r"there is none; what counts is held_out, aum",
        ),
        (
            lambda e, y: (e._replace(unlike_all=np.zeros(3, bool)), y, {}),
            r"unlike_all has the shape",
        ),
        (flagged(trusted=np.zeros(3, bool)), r"trusted has shape \(3,\) .* expected bool \[100\]"),
        (flagged(known_wrong=np.zeros(100)), r"known_wrong has .*float64; expected bool"),
        (
            flagged(trusted=np.arange(100) == 4, known_wrong=np.arange(100) == 4),
            r"position 4 is both trusted and known_wrong",
        ),
    ],
)
def test_bad_input_is_refused(spoil, message):
    evidence, labels, _, _ = noisy(100)
    spoiled, labels, flags = spoil(evidence, labels)
    with pytest.raises(ValueError, match=message) as caught:
        label_issues(spoiled, labels, **flags)
    assert "\n" not in str(caught.value)
