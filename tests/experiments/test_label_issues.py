"""The study of label issues: figures and compute by hand, documents that fit the record."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.label_issues import baselines, figures, sets, study, table
from experiments.label_issues.__main__ import _provenance, main
from famus_jax.audit.networks import choose

ROOT = Path(__file__).parents[2]
RECORD, DOCUMENT = ROOT / "results" / "label_issues.json", ROOT / "docs" / "label_issues.md"


def test_ranking_by_hand():
    """Wrong: 0.9, 0.2. Of 2 x 2 pairs three are in order; hits at 1 and 3, precision 1 and 2/3.

    Fails for a score that is taken upside down.
    """
    wrong = np.array([True, False, False, True])
    found = figures.ranking(np.array([0.9, 0.8, 0.1, 0.2]), wrong)
    assert found == {"auroc": 0.75, "average_precision": pytest.approx(5 / 6), "precision": 0.5}


def test_ties_are_not_broken_by_the_order_of_the_data():
    """Equal scores, the wrong ones first: precision is near their share. Fails for a stable sort."""
    found = figures.ranking(np.zeros(1000), np.arange(1000) < 500)
    assert 0.4 < found["precision"] < 0.6
    assert found["auroc"] == 0.5


def test_calibration_error_by_hand():
    """Bins [0.2, 0.3): says 0.25, is 0.5; [0.9, 1]: says 1, is 1. Fails if 1.0 has its own bin."""
    p = np.array([0.25, 0.25, 1.0, 1.0])
    assert figures.calibration_error(p, np.array([1, 0, 1, 1])) == pytest.approx(0.5 * 0.25)


@pytest.mark.parametrize("shape", [(1000, 300), (1000, 8, 8, 1)])
def test_same_compute(shape):
    """Five folds with the epochs that are found cost what the audit does, within half an epoch."""
    dtype = np.uint8 if len(shape) == 4 else np.float32
    choice = choose(np.random.default_rng(0).integers(0, 255, shape).astype(dtype), 10)
    epochs, count = choice.plan.epochs, shape[0]
    ours = baselines.audit_passes(choice, count)
    looks = 4 * epochs if len(shape) == 2 else epochs - epochs // 10
    assert ours == count * (9 * epochs + looks)
    found = baselines.epochs_for(ours, count)
    assert abs(baselines.fold_passes(found, count) - ours) <= 6 * count


def test_without_cleanlab(monkeypatch):
    """Fails for an import error that doesn't say what to install."""
    monkeypatch.setitem(sys.modules, "cleanlab.rank", None)
    with pytest.raises(ModuleNotFoundError, match="pip install cleanlab"):
        baselines.cleanlab_scores(np.full((2, 2), 0.5), np.array([0, 1]))


@pytest.mark.slow
def test_a_plain_training_and_held_out_probabilities(monkeypatch):
    """Three clouds, one label in ten moved: every way finds them, so does the whole row.

    Fails if a network sees what it is asked about, or if a score is upside down.
    """
    generator = np.random.default_rng(0)
    truth = np.arange(300, dtype=np.int32) % 3
    x = (3 * np.eye(5)[truth] + generator.normal(size=(300, 5))).astype(np.float32)
    labels = np.where(generator.random(300) < 0.1, (truth + 1) % 3, truth).astype(np.int32)
    ids = np.array([f"e{i}" for i in range(300)])
    noisy = sets.Noisy("features", x, labels, truth, ids, tuple("abc"), "clouds", x, truth)
    names = [f"{m}{a}" for m in baselines.METHODS for a in ("", "_adjusted")]

    def scores(p, y):
        return dict.fromkeys(names, 1 - p[np.arange(len(y)), y])

    monkeypatch.setattr(study, "cleanlab_scores", scores)
    with jax.numpy_rank_promotion("allow"):
        row = study.measure(noisy, 0, say=lambda text: None)
        row = study.add_repeated(row, noisy, 0, say=lambda text: None)
        row = study.add_decided(row, noisy, 0, say=lambda text: None)
    assert row["rankings"][f"{study.REPEATED}_self_confidence"]["auroc"] > 0.85
    assert row["decided"]["decisions"] == study.DECISIONS
    assert row["decided"]["after"]["auroc"] > 0.85
    assert abs(row["decided"]["share"] - row["answer"]["share_true"]) < 0.05
    for name, found in row["rankings"].items():
        assert found["auroc"] > 0.85, (name, found)
    assert row["accuracy"]["clean"] > 0.8
    assert abs(row["answer"]["share_true"] - 0.1) < 0.05
    named = {**row, "set": "hausa", "seed": 0, "test_examples": 300, "commit": "c" * 40}
    json.dumps(named)
    made = table.tables_of({"rows": [named | {"made": "", "device": "1 x cpu"}],
                            "provenance": _provenance()})  # fmt: skip
    assert "Hausa" in made["AUROC"]
    assert "Hausa" in made["decided"]


def test_what_decisions_change_is_told_of_the_runs_that_have_them():
    """Two runs, one with decisions: its figures alone, and one interval of one that holds the truth.

    Fails if a run without decisions counts, or if the interval is that of before.
    """
    plain = {"set": "hausa", "answer": {"share_true": 0.5, "share": 0.3}}
    before = {"auroc": 0.6, "average_precision": 0.7}
    after = {"auroc": 0.8, "average_precision": 0.9}
    decided = {
        "share": 0.45, "share_low": 0.4, "share_high": 0.55, "calibration_error_before": 0.2,
        "calibration_error": 0.05, "before": before, "after": after,
    }  # fmt: skip
    other = {"set": "hausa", "answer": {"share_true": 0.5, "share": 0.1}}
    found = table._decided({"hausa": [{**plain, "decided": decided}, other], "trec": [plain]})
    lines = found.splitlines()
    assert len(lines) == 3
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert cells[2:5] == ["30.0", "45.0", "1 of 1"]
    assert cells[5:] == ["20.0", "5.0", "60.0", "80.0", "70.0", "90.0"]


def test_no_folder_of_the_machine_in_the_record():
    """Fails for a command line that is written as it was typed."""
    assert "--data_dir=DATA --cache=CACHE" in _provenance()["command"]
    text = RECORD.read_text()
    for word in ("/tmp", "/home", "/root", "/work"):
        assert word not in text


def test_unknown_set(capsys):
    """Fails for a set that is passed over without a word."""
    with pytest.raises(SystemExit):
        main(["--json=none.json", "--sets=digit"])
    assert "digits_symmetric" in capsys.readouterr().err


def test_document_fits_the_record():
    """Fails for a table that was edited, or a record that was measured anew without its tables."""
    document = DOCUMENT.read_text()
    assert table.with_tables(document, json.loads(RECORD.read_text())) == document
    assert "| ours |" in document


def test_table_that_there_is_not():
    """Fails for a marker that is left as it stands."""
    with pytest.raises(ValueError, match="AUROCS"):
        table.with_tables("<!-- table: AUROCS -->\n<!-- end -->", json.loads(RECORD.read_text()))
