"""`famus audit`, as it is typed: files in, files out."""

import csv
import json
import re

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from famus_jax.cli import main


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """500 digits as features and labels, one in five wrong: folder, given labels, true labels."""
    folder = tmp_path_factory.mktemp("digits")
    data = load_digits()
    x, true = data.data[:500].astype(np.float32), data.target[:500]
    generator = np.random.default_rng(0)
    wrong = generator.random(500) < 0.2
    given = np.where(wrong, (true + generator.integers(1, 10, 500)) % 10, true)
    np.save(folder / "x.npy", x)
    lines = [f"d{i:03d},{name}" for i, name in enumerate(given)]
    (folder / "labels.csv").write_text("id,label\n" + "\n".join(lines) + "\n")
    return folder, given, true


def audited(folder, workdir, *flags):
    words = [f"--features={folder / 'x.npy'}", f"--labels={folder / 'labels.csv'}"]
    return main(["famus", "audit", *words, f"--workdir={workdir}", *flags])


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def done(digits, tmp_path_factory):
    folder, given, true = digits
    workdir = tmp_path_factory.mktemp("audit")
    assert audited(folder, workdir, "--propose-trusted=30") == 0
    return workdir, given, true


def by_position(rows, column):
    values = [row[column] for row in sorted(rows, key=lambda row: row["id"])]
    return np.array(values)


def test_every_example_is_in_the_list_and_wrong_labels_lead_it(done):
    """Fails where the ranking is upside down, or examples are lost."""
    workdir, given, true = done
    rows = rows_of(workdir / "label_issues.csv")
    assert len({row["id"] for row in rows}) == len(rows) == 500
    assert [int(row["rank"]) for row in rows] == list(range(1, 501))
    assert np.array_equal(by_position(rows, "label").astype(int), given)
    rank = by_position(rows, "rank").astype(int)
    assert roc_auc_score(given != true, -rank) > 0.97
    suggested = by_position(rows, "suggested_label").astype(int)
    assert (suggested == true)[given != true].mean() > 0.8


def test_figures_of_the_set(done):
    """Fails where the share is not near the truth, or a figure is no number."""
    workdir, given, true = done
    said = json.loads((workdir / "audit.json").read_text())
    low, high = said["share_wrong_interval_95"]
    assert low <= said["share_wrong"] <= high
    assert abs(said["share_wrong"] - (given != true).mean()) < 0.06
    assert said["data"]["examples"] == said["data"]["labeled"] == 500
    assert np.sum(said["confusion"]["counts"]) == pytest.approx(500, abs=0.1)
    assert all(test["auroc"] > 0.7 and test["weight"] > 0 for test in said["self_tests"])


def test_the_page_holds_the_list(done):
    workdir, _, _ = done
    page = (workdir / "audit.html").read_text()
    assert "Content-Security-Policy" in page
    assert all(f'"d{i:03d}"' in page for i in (0, 250, 499))


def test_what_to_look_at_first_is_balanced(done):
    """Every other one is drawn at random; of the rest, fails where one class takes the whole list."""
    workdir, _, _ = done
    rows = rows_of(workdir / "proposed.csv")
    assert len(rows) == 30
    assert {row["decision"] for row in rows} == {""}
    listed = {row["id"]: row["suggested_label"] for row in rows_of(workdir / "label_issues.csv")}
    counts = np.bincount([int(listed[row["id"]]) for row in rows[::2]], minlength=10)
    assert counts.max() <= 2


def test_its_network_predicts(done, digits, tmp_path):
    """The predictor takes features as they are; an audit scales them. Fails if it forgets that."""
    workdir, _, true = done
    folder = digits[0]
    out = tmp_path / "predictions.csv"
    words = ["famus", "predict", str(workdir / "predictor"), str(folder / "x.npy"), f"--out={out}"]
    assert main(words) == 0
    predicted = [int(row["predicted"]) for row in rows_of(out)]
    assert np.mean(predicted == true) > 0.9  # trained on labels of which 80 % were right


def test_decisions_come_back_as_trusted_labels(done, digits, tmp_path, capsys):
    """Fails where a decision does not reach the list, the page or the mended labels."""
    first, given, true = done
    folder = digits[0]
    rows = rows_of(first / "label_issues.csv")[:40]
    lines = ["id,label,decision,new_label"]
    for row in rows:
        right = str(true[int(row["id"][1:])])
        same = right == row["label"]
        lines.append(f"{row['id']},{row['label']}," + ("right," if same else f"relabel,{right}"))
    decisions = tmp_path / "decisions.csv"
    decisions.write_text("\n".join(lines) + "\n")
    workdir = tmp_path / "second"
    assert audited(folder, workdir, f"--decisions={decisions}") == 0
    listed = {row["id"]: row for row in rows_of(workdir / "label_issues.csv")}
    for row in rows:
        at = int(row["id"][1:])
        again = listed[row["id"]]
        assert float(again["p_wrong"]) == float(given[at] != true[at])
        assert int(again["suggested_label"]) == true[at]
    assert "Decided" in capsys.readouterr().out
    out = tmp_path / "mended.csv"
    words = [f"--features={folder / 'x.npy'}", f"--labels={folder / 'labels.csv'}"]
    assert main(["famus", "mend", *words, f"--decisions={decisions}", f"--out={out}"]) == 0
    mended = by_position(rows_of(out), "label").astype(int)
    decided = np.isin(np.arange(500), [int(row["id"][1:]) for row in rows])
    assert np.array_equal(mended, np.where(decided, true, given))


def test_the_same_again(digits, done, tmp_path):
    """Fails where something random has no seed, or time decides."""
    assert audited(digits[0], tmp_path / "again", "--propose-trusted=30") == 0
    for name in ("label_issues.csv", "pred_probs.npy", "proposed.csv", "audit.html"):
        again = (tmp_path / "again" / name).read_bytes()
        kept = (done[0] / name).read_bytes()
        if name == "audit.html":  # it says how many seconds training took
            again, kept = (re.sub(rb"\d+ epochs, \d+ s", b"", page) for page in (again, kept))
        assert again == kept


def test_texts_and_missing_labels(tmp_path):
    """A table of texts, of which some have no label: they get a suggestion and no rank."""
    words = {"fruit": "apple pear plum fig", "tool": "saw drill plane chisel"}
    generator = np.random.default_rng(0)
    lines = ["text,label"]
    for i in range(80):
        kind = list(words)[i % 2]
        text = " ".join(generator.choice(words[kind].split(), 3))
        lines.append(f"{text} {i},{'' if i < 4 else kind}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "w"
    assert main(["famus", "audit", str(tmp_path / "t.csv"), f"--workdir={out}"]) == 0
    rows = rows_of(out / "label_issues.csv")
    assert len(rows) == 80
    last = rows[-4:]
    assert {row["rank"] for row in last} == {"0"}
    assert [row["suggested_label"] for row in sorted(last, key=lambda row: row["id"])] == [
        "fruit",
        "tool",
    ] * 2


@pytest.mark.slow
def test_images_and_trusted_ones(tmp_path):
    """A folder of pictures; trusted ones are learned from, and not in the list."""
    from PIL import Image

    data = load_digits()
    for i in range(150):
        given = (data.target[i] + (i % 10 == 0)) % 3 if data.target[i] < 3 else None
        for folder, label in (("noisy", given), ("trusted", data.target[i])):
            if data.target[i] < 3 and (folder == "noisy") == (i < 120):
                path = tmp_path / folder / str(label) / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((data.images[i] * 15).astype(np.uint8)).save(path)
    out = tmp_path / "w"
    words = ["famus", "audit", str(tmp_path / "noisy"), f"--workdir={out}", "--minutes=0.1"]
    assert main([*words, f"--trusted={tmp_path / 'trusted'}"]) == 0
    rows = rows_of(out / "label_issues.csv")
    assert len(rows) == int((data.target[:120] < 3).sum())
    assert sorted(int(row["rank"]) for row in rows) == list(range(1, len(rows) + 1))
    wrong = [int(row["id"].split("/")[1][:-4]) % 10 == 0 for row in rows]
    assert roc_auc_score(wrong, [-int(row["rank"]) for row in rows]) > 0.9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workdir=w"], "give a source"),
        (["x.npz", "--features=y.npy", "--workdir=w"], "one of the two"),
        (["x.npz", "--workdir=w", "--minutes=-1"], "--minutes"),
        (["x.npz", "--workdir=w", "--minutes=nan"], "--minutes"),
        (["x.npz", "--workdir= "], "--workdir"),
        (["x.npz", "--workdir=w", "--propose-trusted=-1"], "--propose-trusted"),
        (["nowhere.npz", "--workdir=w"], "nowhere.npz"),
    ],
)
def test_a_command_line_that_makes_no_sense(words, said, tmp_path, monkeypatch, capsys):
    """One line that names the flag, before anything is made."""
    monkeypatch.chdir(tmp_path)
    assert main(["famus", "audit", *words]) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["a"] * 20, "with one class"),
        ([""] * 20, "no labels"),
        (["a", "b"] + [""] * 18, "2 labels"),
    ],
)
def test_data_that_can_not_be_audited(labels, said, tmp_path, capsys):
    """Fails where the answer is NaN, or a traceback, or half a work directory."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 4)))
    lines = [f"{i},{label}" for i, label in enumerate(labels)]
    (tmp_path / "l.csv").write_text("id,label\n" + "\n".join(lines) + "\n")
    words = [f"--features={tmp_path / 'x.npy'}", f"--labels={tmp_path / 'l.csv'}"]
    assert main(["famus", "audit", *words, f"--workdir={tmp_path / 'w'}"]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert not (tmp_path / "w").exists()


def test_labels_that_are_all_right(tmp_path, capsys):
    """Hardly any issue, and no claim of noise."""
    data = load_digits()
    np.savez(
        tmp_path / "x.npz", features=data.data[:400].astype(np.float32), labels=data.target[:400]
    )
    out = tmp_path / "w"
    assert main(["famus", "audit", str(tmp_path / "x.npz"), f"--workdir={out}"]) == 0
    said = json.loads((out / "audit.json").read_text())
    assert said["share_wrong"] < 0.03
    assert said["num_issues"] <= 12
