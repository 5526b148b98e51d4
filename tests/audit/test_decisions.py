"""Decisions in a file, and what is wrong with them."""

import csv

import numpy as np
import pytest

from famus_jax.audit.decisions import (
    COLUMNS,
    Decision,
    read_decisions,
    write_decisions,
    written,
)

IDS = ("a.png", "b.png", "=c", "d\udcff.png")
CLASSES = ("cat", "dog", "@home")
LABELS = np.array([0, 1, -1, 2])
HEAD = ",".join(COLUMNS) + "\n"


def read(tmp_path, text, labels=LABELS):
    path = tmp_path / "decisions.csv"
    path.write_text(text, newline="")
    return read_decisions(path, IDS, CLASSES, labels)


def test_reads_what_it_wrote(tmp_path):
    """Also by an independent reader: the standard library's."""
    decisions = [
        Decision("d\udcff.png", "@home", "wrong"),
        Decision("=c", "", "relabel", "@home"),
        Decision("a.png", "cat", "right"),
    ]
    path = tmp_path / "decisions.csv"
    write_decisions(path, decisions)
    assert list(read_decisions(path, np.array(IDS, object), CLASSES, LABELS).values()) == decisions
    with path.open(newline="", encoding="utf-8") as file:
        cells = list(csv.reader(file))
    assert cells[1:3] == [["d\\udcff.png", "'@home", "wrong", ""], ["'=c", "", "relabel", "'@home"]]


def test_order_columns_and_undecided(tmp_path):
    """Columns by name; empty decisions are left out; the same line twice is one decision."""
    text = "decision,new_label,label,id,note\nright,,dog,b.png,x\n,,cat,a.png,\nright,,dog,b.png,\n"
    assert read(tmp_path, text) == {"b.png": Decision("b.png", "dog", "right", "")}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a.png,cat,right,\nz.png,cat,right,\n", r"line 3: the data has no id 'z\.png'"),
        ("b.pn,dog,right,\n", r"line 2.*did you mean 'b\.png'"),
        ("a.png,cow,right,\n", r"line 2: there is no class 'cow' \(label\)"),
        ("a.png,cat,relabel,dgo\n", r"line 2.*'dgo' \(new_label\).*did you mean 'dog'"),
        ("a.png,dog,right,\n", r"line 2.*'cat' today.*'dog'.*changed"),
        ("=c,dog,right,\n", r"line 2.*no label today"),
        ("a.png,cat,rigth,\n", r"line 2: 'rigth' is no decision; did you mean 'right'"),
        ("a.png,cat,right,\nb.png,dog,wrong,\na.png,cat,relabel,dog\n", r"line 4.*twice.*line 2"),
        ("a.png,cat,relabel,\n", r"line 2.*without a new_label"),
        ("a.png,cat,relabel,cat\n", r"line 2.*write right"),
        ("a.png,cat,wrong,dog\n", r"line 2: 'wrong' with a new_label"),
        ("a.png,cat,,dog\n", r"line 2: an empty decision with a new_label"),
        ("=c,,wrong,\n", r"line 2: 'wrong', but there is no label"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, HEAD + lines)


def test_labels_may_be_unknown(tmp_path):
    """Without today's labels none is compared."""
    decision = read(tmp_path, HEAD + "a.png,dog,right,\n", labels=None)["a.png"]
    assert decision == Decision("a.png", "dog", "right", "")
    with pytest.raises(ValueError, match="2 labels for 4 ids"):
        read(tmp_path, HEAD + "a.png,cat,right,\n", labels=[0, 1])


def test_ids_that_are_written_alike_are_refused(tmp_path):
    path = tmp_path / "decisions.csv"
    path.write_text(HEAD + "a,cat,right,\n")
    with pytest.raises(ValueError, match="alike"):
        read_decisions(path, ["a\0", written("a\0")], CLASSES)
