"""Label issues in files that other programs read."""

import csv

import numpy as np
import pytest

from famus_jax.audit.items import Items
from famus_jax.audit.tables import COLUMNS, write_label_issues
from famus_jax.evidence.types import LabelIssues, Summary

NAMES = ("cat", "=dog")


def made_up(**changes):
    """Four examples: the second is worst, the third has no label."""
    items = Items(
        kind="texts",
        inputs=np.array(["a", "b", "c", "d"], object),
        labels=np.array([0, 1, -1, 0], np.int32),
        ids=np.array(["i1", "-i2", "i3", 'i"4,\n']),
        class_names=NAMES,
        name="made up",
    )
    summary = Summary(0.3, 0.1, 0.5, 1, np.eye(2), (), (), ())
    issues = LabelIssues(
        p_wrong=np.array([0.25, 0.9, np.nan, 1 / 3]),
        rank=np.array([3, 1, 0, 2]),
        suggested_label=np.array([0, 0, 1, 0], np.int32),
        p_suggested=np.array([0.75, 0.8, 0.6, 2 / 3]),
        fits_no_class=np.array([False, False, True, False]),
        is_label_issue=np.array([False, True, False, False]),
        probabilities=np.arange(8, dtype=np.float32).reshape(4, 2),
        evidence={"network": np.array([0.5, 0.125, np.nan, 0.25])},
        summary=summary,
    )
    return items, issues._replace(**changes)


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_for_every_example_the_worst_first(tmp_path):
    """Fails if rows keep the data's order while ranks don't, or unlabeled ones are lost."""
    write_label_issues(tmp_path / "new", *made_up())
    rows = read(tmp_path / "new" / "label_issues.csv")
    assert list(rows[0]) == [*COLUMNS, "network"]
    assert [row["rank"] for row in rows] == ["1", "2", "3", "0"]
    assert [row["id"] for row in rows] == ["'-i2", 'i"4,\n', "i1", "i3"]
    assert rows[0] == {
        "rank": "1", "id": "'-i2", "path": "", "label": "'=dog", "p_wrong": "0.9",
        "suggested_label": "cat", "p_suggested": "0.8", "fits_no_class": "False",
        "is_label_issue": "True", "label_score": "0.1", "network": "0.125",
    }  # fmt: skip
    assert (rows[3]["label"], rows[3]["p_wrong"], rows[3]["network"]) == ("", "", "")
    assert rows[3]["suggested_label"] == "'=dog"


def test_the_same_bytes_every_time(tmp_path):
    files = write_label_issues(tmp_path / "a", *made_up())
    write_label_issues(tmp_path / "b", *made_up())
    for file in files:
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(f.name for f in files)


def test_parquet_has_numbers_in_full(tmp_path):
    """Fails if numbers are rounded there, texts are quoted, or NaN is not "no value"."""
    parquet = pytest.importorskip("pyarrow.parquet")
    write_label_issues(tmp_path, *made_up())
    table = parquet.read_table(tmp_path / "label_issues.parquet").to_pydict()
    assert table["p_wrong"] == [0.9, 1 / 3, 0.25, None]
    assert table["id"][0] == "-i2"
    assert table["is_label_issue"] == [True, False, False, False]


def test_without_pyarrow_the_csv_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    names = [path.name for path in write_label_issues(tmp_path, *made_up())]
    assert names == ["label_issues.csv", "pred_probs.npy", "pred_probs_rows.csv"]


def test_probabilities_in_the_order_of_the_data(tmp_path):
    """Fails if they are in the order of the ranks, or columns follow the letters of the names."""
    items, issues = made_up()
    write_label_issues(tmp_path, items, issues)
    probabilities = np.load(tmp_path / "pred_probs.npy")
    assert probabilities.dtype == np.float32
    assert probabilities.tolist() == issues.probabilities.tolist()
    rows = read(tmp_path / "pred_probs_rows.csv")
    assert [row["id"] for row in rows] == ["i1", "'-i2", "i3", 'i"4,\n']
    assert [int(row["column"]) for row in rows] == [0, 1, -1, 0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"evidence": {"label": np.zeros(4)}}, "can't be called 'label'"),
        ({"evidence": {"network": np.zeros(3)}}, r"network has the shape \(3,\); expected \(4,\)"),
        ({"rank": np.arange(5)}, "rank has the shape"),
        ({"probabilities": np.zeros((4, 3))}, "4 examples and 2 classes"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        write_label_issues(tmp_path, *made_up(**changes))
    assert not list(tmp_path.iterdir())
