"""The ranked list of labels: what counts, rows for everyone, words that are true, the picture."""

import csv

import matplotlib.image
import numpy as np
import pytest

from famus_jax.data import Splits
from famus_jax.evidence.types import Evidence
from famus_jax.train.data_setup import SeedData
from famus_jax.train.evidence import mean_evidence, read_evidence
from famus_jax.train.label_issues import (
    caption,
    draw,
    issues_of,
    list_content,
    list_label_issues,
    text_of,
)

NAN = np.nan
COUNT, CLASSES = 200, 4
RNG = np.random.default_rng(0)
TRUE = np.arange(COUNT) % CLASSES
WRONG = np.arange(COUNT) < 40
LABELS = np.where(WRONG, (TRUE + 1) % CLASSES, TRUE).astype(np.int32)
IDS = np.array([f"photos/some/long/folder/{i:03d}.png" for i in range(COUNT)])
TRUSTED, HELD_OUT = np.arange(180, 190), np.arange(190, 200)
SEEN = np.arange(180)
SPLITS = Splits(SEEN, HELD_OUT, TRUSTED)
IMAGES = np.full((COUNT, 6, 6, 3), 200, np.uint8)


def seed_data(labels=LABELS, splits=SPLITS, images=IMAGES):
    return SeedData(
        images, TRUE, labels, splits, None, np.eye(CLASSES), "digest", None, CLASSES
    )  # fmt: skip


def arrays(seen=SEEN, seed=0):
    """What a run on these labels leaves: margins that tell, weights that are upside down."""
    noise = np.random.default_rng(seed).normal(size=COUNT)
    aum = np.where(WRONG, -3.0, 3.0) + noise
    probabilities = np.full((COUNT, CLASSES), 0.05)
    probabilities[np.arange(COUNT), TRUE] = 0.85
    known = np.isin(np.arange(COUNT), seen)
    return {
        "aum": np.where(known, aum, NAN),
        "probability": np.where(known, 1 / (1 + np.exp(-aum)), NAN),
        "weights": np.where(known, np.where(WRONG, 2.0, 0.5) + 0.1 * noise, NAN),
        "probabilities": np.where(known[:, None], probabilities, NAN),
    }


def written(folder, seed=0, **more):
    (folder / f"seed_{seed}").mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"seed_{seed}" / "weights.npz", ids=IDS, **{**arrays(seed=seed), **more})


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_weights_that_rank_upside_down_do_not_count(tmp_path):
    """Fails if the list is by the weights (all wrong labels last), or nothing is said of them where it
    is read first."""
    written(tmp_path)
    listed = list_label_issues(tmp_path, {0: seed_data()}, IDS, ())
    rows = rows_of(tmp_path / "label_issues.csv")
    assert {row["id"] for row in rows[:38]} <= set(IDS[WRONG])
    first = (tmp_path / "label_issues.txt").read_text().splitlines()[0]
    assert first.startswith("The evidence 'weight' failed the self-test (AUROC 0.00)")
    assert len(listed.warnings) == 1
    assert first in listed.warnings[0]
    assert listed.lists == [tmp_path / "label_issues.csv"]
    assert not listed.trouble


def test_every_example_has_a_row(tmp_path):
    """By hand: 180 are ranked; 10 trusted ones are right; 10 held-out ones have nothing but a label."""
    written(tmp_path)
    list_label_issues(tmp_path, {0: seed_data()}, IDS, ("a", "b", "c", "d"))
    rows = {row["id"]: row for row in rows_of(tmp_path / "label_issues.csv")}
    assert set(rows) == set(IDS)
    assert sorted(int(row["rank"]) for row in rows.values())[20:] == list(range(1, 181))
    for i in TRUSTED:
        row = rows[IDS[i]]
        assert [row[k] for k in ("rank", "p_wrong", "label", "seeds")] == [
            "0",
            "0",
            row["label"],
            "0",
        ]
        assert row["suggested_label"] == row["label"] == "abcd"[TRUE[i]]
    for i in HELD_OUT:
        row = rows[IDS[i]]
        assert [row[k] for k in ("rank", "p_wrong", "suggested_label", "aum")] == ["0", "", "", ""]
        assert row["label"] == "abcd"[LABELS[i]]
    issue = rows[IDS[0]]
    assert (issue["label"], issue["suggested_label"]) == ("b", "a")
    assert issue["is_label_issue"] == "True"
    columns = ["rank", "id", "label", "p_wrong", "suggested_label", "p_suggested", "is_label_issue"]
    assert list(issue)[: len(columns) + 1] == [*columns, "label_score"]
    assert list(issue)[-1] == "seeds"


def test_one_list_of_seeds_with_the_same_labels(tmp_path):
    """What one seed holds out another tells of. Fails if a missing value spoils the mean."""
    written(tmp_path, 0)
    written(tmp_path, 1, **arrays(seen=np.arange(10, 200), seed=1))
    data = {0: seed_data(), 1: seed_data(splits=SPLITS._replace(trusted=np.arange(10)))}
    list_label_issues(tmp_path, data, IDS, ())
    rows = {row["id"]: row for row in rows_of(tmp_path / "label_issues.csv")}
    assert [rows[IDS[i]]["seeds"] for i in (5, 100, 195)] == ["1", "2", "1"]
    values = [arrays(seed=seed)["aum"][100] for seed in (0, 1)]
    assert float(rows[IDS[100]]["aum"]) == pytest.approx(np.mean(values), rel=1e-5)
    assert all(int(row["rank"]) for row in rows.values())
    assert not (tmp_path / "seed_0" / "label_issues.csv").exists()


def test_a_list_of_each_seed_where_labels_differ(tmp_path):
    for seed in (0, 1):
        written(tmp_path, seed)
    other = np.where(np.arange(COUNT) == 60, (LABELS + 1) % CLASSES, LABELS).astype(np.int32)
    list_label_issues(tmp_path, {0: seed_data(), 1: seed_data(other)}, IDS, ())
    assert not (tmp_path / "label_issues.csv").exists()
    for seed in (0, 1):
        assert (tmp_path / f"seed_{seed}" / "label_issues.csv").exists()


@pytest.mark.parametrize(
    "left",
    [
        {"weights": np.arange(COUNT, dtype=float)},  # of an earlier version: no probabilities
        {"aum": np.full(COUNT, NAN), "probabilities": np.full((COUNT, CLASSES), NAN)},
        {"aum": np.ones(COUNT), "probabilities": np.full((COUNT, CLASSES), 0.25)},
        None,
    ],
    ids=["no probabilities", "never seen", "all alike", "no file"],
)
def test_no_evidence_no_list(tmp_path, left):
    (tmp_path / "seed_0").mkdir()
    if left is not None:
        np.savez(tmp_path / "seed_0" / "weights.npz", ids=IDS, **left)
    assert read_evidence(tmp_path / "seed_0" / "weights.npz") is None
    assert list_label_issues(tmp_path, {0: seed_data()}, IDS, ()) == ([], [], [])
    assert not list(tmp_path.rglob("label_issues*"))


def test_kinds_that_not_every_seed_has_are_left_out():
    probabilities = np.full((2, 2), 0.5)
    one = Evidence({"aum": np.array([1.0, 2.0]), "weight": np.array([1.0, 0.0])}, probabilities)
    mean, told = mean_evidence([one, one._replace(kinds={"aum": np.array([3.0, NAN])})])
    assert list(mean.kinds) == ["aum"]
    assert mean.kinds["aum"].tolist() == [2.0, 2.0]
    assert told.tolist() == [2, 2]


def found(seed=0, **more):
    kept = {**arrays(seed=seed), **more}
    kinds = {"aum": kept["aum"], "probability": kept["probability"]}
    return issues_of([Evidence(kinds, kept["probabilities"], seen=True)], [seed_data()])


def test_the_text_says_how_many():
    issues, _ = found()
    said = text_of(issues).splitlines()[0]
    assert said.startswith(f"{issues.summary.num_issues} of 180 labels look wrong")
    assert 36 <= issues.summary.num_issues <= 44
    assert abs(issues.summary.share_wrong - 40 / 180) < 0.03


def test_what_a_spreadsheet_would_run_is_quoted():
    ids = IDS.copy()
    ids[0] = "=cmd|'calc'!A0"
    issues, told = found()
    lines = list_content(issues, told, ids, LABELS, ("=a", "b", "c", "d")).decode().splitlines()
    assert any(line.split(",")[1].startswith("'=cmd") for line in lines)
    assert not any(cell.startswith("=") for line in lines for cell in line.split(","))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_shows_the_first_ones(tmp_path, channels):
    """Fails if it read images of which it shows none: reading may mean opening files."""
    asked = []

    class Images:
        def __getitem__(self, position):
            asked.append(position)
            return np.full((6, 6, channels), 200, np.uint8)

    issues, _ = found()
    draw(tmp_path / "label_issues.png", issues, Images(), IDS, LABELS, ())
    assert [int(issues.rank[at]) for at in asked] == list(range(1, 41))
    assert matplotlib.image.imread(tmp_path / "label_issues.png").std() > 0.05


def test_captions():
    """Id (its end), given and suggested label, p_wrong."""
    issues, _ = found()
    issues.p_wrong[3] = 0.987
    said = caption(issues, 3, IDS, LABELS, ("ant", "bee", "cat", "dog"))
    assert said.splitlines() == ["…" + str(IDS[3])[-23:], "ant → dog", "p_wrong 0.99"]
