"""One's own data in an experiment: both paths alike, results that nothing can cost, no false words."""

import csv
import json
import os
import unicodedata
import warnings

import numpy as np
import pytest
from PIL import Image

from famus_jax.train import experiment as experiment_module
from famus_jax.train import plots
from famus_jax.train.curves import by_label
from famus_jax.train.data_config import DataConfig
from famus_jax.train.data_setup import load_sources, seed_data
from famus_jax.train.experiment import run_experiment
from famus_jax.train.figures import drawn
from famus_jax.train.label_issues import list_label_issues
from famus_jax.train.records import Records

PATHS = ("memory", "stream")


def photos(root, counts, size=8):
    """Images of one color per class."""
    rng = np.random.default_rng(0)
    for c, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            image = rng.integers(0, 60, (size, size, 3)).astype(np.uint8)
            image[..., c % 3] += 120
            Image.fromarray(image).save(root / name / f"{i}.png")
    return str(root)


def config(source, **more):
    common = {"noise": "none", "trusted_per_class": 0, "validation_per_class": 1, "image_size": 8}
    return DataConfig(source=str(source), **{**common, **more})


def both_paths(source, **more):
    """The sources on both paths, after a check that they are the same."""
    memory, stream = (load_sources(config(source, **more, path=path)) for path in PATHS)
    for one, other in zip(memory[:2], stream[:2], strict=True):
        assert one.class_names == other.class_names
        for name in ("ids", "labels", "images"):
            np.testing.assert_array_equal(
                np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
            )
    return memory


def test_a_rare_class_is_the_same_on_both_paths(tmp_path):
    """Three images, of which a quarter is none: all in training. Fails if one path refuses it."""
    source = photos(tmp_path, {"a": 8, "b": 8, "rare": 3})
    with pytest.warns(UserWarning, match="test data have no example of class 'rare'"):
        found = both_paths(source)
    assert np.bincount(found.train.labels).tolist() == [6, 6, 3]
    assert found.test.num_classes == 3


def test_no_test_example_at_all(tmp_path):
    with pytest.raises(ValueError, match="no test examples.*a class needs four"):
        load_sources(config(photos(tmp_path, {"a": 3, "b": 3}), path="stream"))


def test_a_class_that_is_too_small_is_named(tmp_path):
    settings = config(photos(tmp_path, {"a": 8, "rare": 4}), validation_per_class=3)
    with pytest.raises(ValueError, match="class 'rare' has 3 examples, but trusted_per_class = 0"):
        seed_data(load_sources(settings), settings, 0)


def test_one_class_is_nothing_to_learn(tmp_path):
    photos(tmp_path, {"a": 8})
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(f"a/{i}.png,a\n" for i in range(8)))
    with pytest.raises(ValueError, match="one class only"):
        load_sources(config(tmp_path / "t.csv"))


def test_trusted_data_without_some_class(tmp_path):
    """Fails if the classes that there are get other numbers, or an empty folder is refused."""
    source = photos(tmp_path / "s", {"a": 8, "b": 8, "c": 8})
    trusted = photos(tmp_path / "t", {"a": 1, "c": 2, "b": 0})
    with pytest.warns(UserWarning, match="trusted data have no example of class 'b'"):
        found = both_paths(source, trusted_source=trusted)
    assert found.train.labels[-3:].tolist() == [0, 2, 2]
    (tmp_path / "t" / "d").mkdir()
    with pytest.raises(ValueError, match=r"must have the classes.*no class 'd'"):
        load_sources(config(source, trusted_source=trusted))


def test_classes_are_matched_by_name(tmp_path):
    """Two machines that write é differently; a table of words; numbers for numbered folders."""
    nfc, nfd = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    source = photos(tmp_path / "s", {nfc: 6, "thé": 6})
    found = both_paths(source, trusted_source=photos(tmp_path / "t", {"thé": 1, nfd: 1}))
    assert found.train.labels[-2:].tolist() == [0, 1]
    (tmp_path / "t.csv").write_text(f"path,label\nt/thé/0.png,thé\nt/{nfd}/0.png,{nfc}\n")
    found = both_paths(source, trusted_source=str(tmp_path / "t.csv"))
    assert found.train.labels[-2:].tolist() == [1, 0]
    (tmp_path / "n.csv").write_text("path,label\nt/thé/0.png,0\n")
    with pytest.raises(ValueError, match=r"n\.csv, line 2: there is no class '0'"):
        load_sources(config(source, trusted_source=str(tmp_path / "n.csv")))


def test_numbers_of_an_npz_are_matched_with_folders(tmp_path):
    """An `.npz` has numbers and no names. Fails if folders 0 and 1 are refused for having names."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "s.npz", images=images, labels=np.arange(12) % 2)
    trusted = photos(tmp_path / "t", {"1": 1, "0": 1})
    found = load_sources(config(tmp_path / "s.npz", trusted_source=trusted))
    assert found.train.labels[-2:].tolist() == [0, 1]


def test_tolerance_on_both_paths(tmp_path):
    """Fails if the flag that the error names does not exist, or the paths leave out other images."""
    source = photos(tmp_path, {"a": 20, "b": 20})
    name = load_sources(config(source)).train.ids[5]
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"tolerance=0\.04 \(famus train: --config\.data\.toler"):
        load_sources(config(source))
    with pytest.warns(UserWarning, match="1 of 30 images can't be read"):
        found = both_paths(source, tolerance=0.04)
    assert name not in found.train.ids
    assert len(found.train.ids) == 29
    streamed = load_sources(config(source, path="stream")).train
    with pytest.raises(ValueError, match=rf"{name} can't be read .*--config\.data\.tolerance"):
        np.asarray(streamed.images)


def test_a_streamed_file_that_is_missing_is_found_at_once(tmp_path):
    """Fails if it is found in the middle of a run."""
    photos(tmp_path, {"a": 8, "b": 8})
    rows = "".join(f"{c}/{i}.png,{c}\n" for c in "ab" for i in range(8))
    (tmp_path / "t.csv").write_text(f"path,label\n{rows}b/8.png,b\nb/9.png,b\n")
    for path in PATHS:
        with pytest.raises(ValueError, match=r"can't be read(.|\n)*b/[89]\.png"):
            load_sources(config(tmp_path / "t.csv", path=path))


def test_a_noise_table_that_repeats_the_folders_changes_nothing(tmp_path):
    """Folders 1 … 11, by number and by name. Fails if they are numbered as text, or from 0."""
    source = photos(tmp_path / "s", {str(c): 4 for c in range(1, 12)}, size=2)
    rows = "".join(f"{c}/{i}.png,{c}\n" for c in range(1, 12) for i in range(4))
    (tmp_path / "t.csv").write_text(f"id,label\n{rows}")
    settings = config(source, noise_table=str(tmp_path / "t.csv"), image_size=0)
    assert seed_data(load_sources(settings), settings, 0).noise_rate == 0


RUN = {"method": "l2r", "estimator": {"kind": "last_layers", "k": 1, "virtual_step": "active"}}
NAMES = ("$", "$$", "cost_$5_to_$10", "=cmd|'calc'!A0", "猫", "x_{y}^" + "z" * 90)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on classes with names that break things; its settings, folder and what it printed."""
    root = tmp_path_factory.mktemp("own")
    source = photos(root / "s", dict.fromkeys(NAMES, 8))
    name = os.fsencode(root / "s" / "$") + b"/\xff\xfe.png"
    Image.new("RGB", (8, 8)).save(name)
    settings = {
        "data": {"source": source, "noise": "none", "trusted_per_class": 1, "image_size": 8}
        | {"validation_per_class": 1},
        "model": {"name": "mlp", "overrides": {"hidden": (8,)}},
        "schedule": {"steps": 4, "batch_size": 8, "meta_batch_size": 4, "eval_every": 2}
        | {"checkpoint_every": 4},
        "runs": [RUN],
        "seeds": [0],
    }
    shown = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_experiment(settings, root / "work", show=shown.append)
    return settings, root / "work", "\n".join(shown)


def test_names_cost_no_results(finished):
    """Fails if "$" is read as a formula, or half a character of a file name can't be written."""
    _, work, shown = finished
    assert "summary.json" in shown
    assert "note:" not in shown
    assert (work / "summary.png").exists()
    folder = next(work.glob("runs/*"))
    assert (folder / "label_issues.png").exists()
    rows = (folder / "label_issues.csv").read_text().splitlines()[1:]
    assert any("'=cmd|'calc'!A0," in row for row in rows)
    assert not [row for row in rows if row.split(",")[1].startswith("=")]


def test_nothing_is_called_clean_or_right_that_is_not_known(finished):
    """Fails if noise that is not known reads as 0 %, or weights as those of right labels."""
    _, work, shown = finished
    row = json.loads((work / "summary.json").read_text())["rows"][0]
    assert row["noise_rate_realized"] is None
    assert row["weight_auroc"] is None
    line = next(line for line in shown.splitlines() if line.startswith("L2R"))
    assert " - " in line
    assert "0.0%" not in line
    assert "clean" not in shown
    records = next(work.rglob("metrics.jsonl")).read_text()
    assert "weight_clean" not in records


def test_labels_that_are_known_to_be_right_are_called_so(finished):
    """A table that corrects nothing: a noise rate of 0 that is known. Fails if that is taken for one
    that is not known, since no label is wrong either way."""
    settings, work, _ = finished
    table = work.parent / "right.csv"
    names = [name for name in NAMES if not name.startswith("=")]
    photos(work.parent / "t", dict.fromkeys(names, 8))
    rows = [["id", "label"], *([f"{name}/{i}.png", name] for name in names for i in range(8))]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    data = {**settings["data"], "source": str(work.parent / "t"), "noise_table": str(table)}
    run_experiment({**settings, "data": data}, work.parent / "known", show=lambda text: None)
    record = next((work.parent / "known").rglob("metrics.jsonl")).read_text().splitlines()[-1]
    assert json.loads(record)["weight_clean"] > 0
    assert json.loads(record)["weight_wrong"] is None


def test_violins_by_what_is_known():
    weights = [(np.array([0.5, 1.5]), np.array([False, True]))]
    known = by_label(weights, True)
    assert {name: list(w) for name, w in known.items()} == {plots.RIGHT: [0.5], plots.WRONG: [1.5]}
    unknown = by_label(weights, False)
    assert {name: list(w) for name, w in unknown.items()} == {plots.UNKNOWN: [0.5, 1.5]}
    assert by_label([(np.ones(3), np.zeros(3, bool))], True) == {}


def test_a_picture_that_fails_costs_only_itself(finished, monkeypatch):
    """Fails if the summary is written behind it, or the failure is not said."""
    settings, work, _ = finished
    for name in ("summary.json", "summary.png"):
        (work / name).unlink()
    next(work.rglob("label_issues.png")).unlink()

    def fail(*args, **kwargs):
        raise RuntimeError("can't\nparse $")

    monkeypatch.setattr(plots, "draw", fail)
    monkeypatch.setattr("famus_jax.train.label_issues.draw", fail)
    shown = []
    run_experiment(settings, work, show=shown.append)
    assert (work / "summary.json").exists()
    notes = [text for text in shown if text.startswith("note: ")]
    assert len(notes) == 2
    assert all("could not be drawn (RuntimeError: can't parse $)" in text for text in notes)
    monkeypatch.undo()
    run_experiment(settings, work, show=lambda text: None)  # what was missing is drawn now
    assert next(work.rglob("label_issues.png")).exists()


def test_a_damaged_file_of_weights_costs_only_the_list(tmp_path):
    (tmp_path / "seed_0").mkdir()
    (tmp_path / "seed_0" / "weights.npz").write_bytes(b"PK\x03\x04 cut")
    trouble = list_label_issues(tmp_path, {0: None}, np.array(["a"]), ()).trouble
    assert len(trouble) == 1
    assert "weights.npz" in trouble[0]


def test_drawing_without_formulas(tmp_path):
    def draw(path):
        figure = experiment_module.plots.new_figure((1, 1))
        figure.subplots().set_title("$\\frac{")
        figure.savefig(path)

    assert drawn(tmp_path / "x.png", draw) == []


def test_records_are_json_whatever_is_measured(tmp_path):
    """Fails if an infinity is written as a word that JSON does not know."""
    with Records(tmp_path, [], []) as records:
        records.append({"step": 1, "theta_norm": float("inf"), "loss": 0.5})
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "step": 1,
        "theta_norm": None,
        "loss": 0.5,
    }
