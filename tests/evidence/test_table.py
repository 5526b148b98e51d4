"""Label issues as a table: order, cells, texts that are hard to keep."""

import csv

import numpy as np
import pytest

from famus_jax.evidence.label_issues import label_issues
from famus_jax.evidence.table import csv_of, in_order, issue_columns
from famus_jax.evidence.types import Evidence

AUM = np.array([2.0, 3.0, 2.5, -4.0, 2.2, np.nan])
P = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.95, 0.05], [0.1, 0.9], [0.2, 0.8]])
LABELS = np.array([0, 0, 1, 1, 1, -1])


def found():
    return label_issues(Evidence({"aum": AUM}, P), LABELS)


def test_the_likeliest_first_and_those_without_a_label_last():
    columns = issue_columns(found(), list("abcdef"), LABELS, ("cat", "dog"))
    assert columns["id"][0] == "d"
    assert columns["id"][-1] == "f"
    assert columns["rank"] == [1, 2, 3, 4, 5, 0]
    assert columns["label"][0], columns["suggested_label"][0] == ("dog", "cat")
    assert columns["label"][-1] == ""
    assert columns["label_score"][0] == 1 - columns["p_wrong"][0]
    assert columns["aum"][0] == -4


def test_cells():
    """Nothing for NaN; a formula and a byte that is no UTF-8 come through."""
    ids = ["=1+1", "b\udcff", "c,\n", "d", "e", "f"]
    content = csv_of(issue_columns(found(), ids, LABELS)).decode()
    rows = {row["rank"]: row for row in csv.DictReader(content.splitlines(keepends=True))}
    assert {row["id"] for row in rows.values()} == {"'=1+1", "b\\udcff", "c,\n", "d", "e", "f"}
    assert rows["0"]["p_wrong"] == rows["0"]["aum"] == ""
    assert rows["1"]["aum"] == "-4"


def test_evidence_may_not_take_a_columns_name():
    issues = found()
    taken = issues._replace(evidence={"label": AUM})
    with pytest.raises(ValueError, match="can't be called 'label'"):
        issue_columns(taken, list("abcdef"), LABELS)
    with pytest.raises(ValueError, match="5 ids"):
        issue_columns(issues, list("abcde"), LABELS)


def test_ties_of_rank_zero_keep_their_order():
    assert in_order({"x": list("abcd")}, np.array([0, 2, 0, 1]))["x"] == ["d", "b", "a", "c"]
