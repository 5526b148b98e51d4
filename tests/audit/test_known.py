"""What a person says of labels, and the answer without the trusted examples that were added."""

import numpy as np
import pytest

from famus_jax.audit.items import Items
from famus_jax.audit.known import decisions_of, known_by_decisions, of_the_first, with_trusted
from famus_jax.audit.networks import choose
from famus_jax.audit.run import Audit, nothing_known
from famus_jax.evidence import Evidence, label_issues


def items(inputs, labels, name="some set"):
    labels = np.asarray(labels, np.int32)
    ids = np.array([f"x{i}" for i in range(len(labels))])
    return Items("features", np.asarray(inputs, np.float32), labels, ids, ("a", "b"), name)


def test_decisions_become_what_is_known(tmp_path):
    """right, relabel, wrong, and a suggestion taken for an example without a label."""
    data = items(np.zeros((5, 2)), [0, 0, 1, -1, 1])
    lines = ["x0,a,right,", "x1,a,relabel,b", "x2,b,wrong,", "x3,,relabel,a"]
    path = tmp_path / "d.csv"
    path.write_text("id,label,decision,new_label\n" + "\n".join(lines) + "\n")
    known = known_by_decisions(path, data)
    assert known.right.tolist() == [0, 1, -1, 0, -1]
    assert known.wrong.tolist() == [False, True, True, False, False]
    said = decisions_of(data, known)
    assert said == {
        "x0": ("right", ""),
        "x1": ("relabel", "b"),
        "x2": ("wrong", ""),
        "x3": ("relabel", "a"),
    }


def test_trusted_examples_are_no_part_of_the_answer():
    """100 labels, ten wrong, and 300 trusted ones: one in ten is wrong, not one in forty. Fails if the
    share, the confusion or the ranks are of all together."""
    generator = np.random.default_rng(0)
    true = np.arange(100) % 2
    given = np.where(np.arange(100) < 10, 1 - true, true)
    own, more = items(np.zeros((100, 2)), given), items(np.zeros((300, 2)), np.arange(300) % 2)
    together, known = with_trusted(own, more, nothing_known(100))
    assert together.ids[100] == "trusted/x0"
    assert (known.right[100:] == np.arange(300) % 2).all()
    right = np.concatenate([given == true, np.ones(300, bool)])
    margin = np.where(right, 3.0, -3.0) + generator.normal(size=400)
    of_label = 1 / (1 + np.exp(-margin))
    p = np.empty((400, 2))
    p[np.arange(400), together.labels] = of_label
    p[np.arange(400), 1 - together.labels] = 1 - of_label
    trusted = np.arange(400) >= 100
    issues = label_issues(
        Evidence({"aum": margin, "held_out": margin}, p), together.labels, trusted=trusted
    )
    assert issues.summary.share_wrong == pytest.approx(0.025, abs=0.01)
    whole = Audit(issues, choose(own.inputs, 2), None, 0, 0.0)
    answer = of_the_first(100, whole, own.labels).issues
    assert answer.summary.share_wrong == pytest.approx(0.1, abs=0.04)
    assert answer.summary.share_low <= answer.summary.share_wrong <= answer.summary.share_high
    assert answer.summary.confusion.sum() == pytest.approx(100)
    assert sorted(answer.rank) == list(range(1, 101))
    assert set(np.argsort(answer.rank)[:10]) == set(range(10))


def test_trusted_data_of_another_kind_are_refused():
    own = items(np.zeros((4, 2)), [0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"features of the shape \[3\].*same kind and size"):
        with_trusted(own, items(np.zeros((4, 3)), [0, 1, 0, 1], "other"), nothing_known(4))
    with pytest.raises(ValueError, match="no trusted example has a label"):
        with_trusted(own, items(np.zeros((4, 2)), [-1] * 4, "other"), nothing_known(4))
