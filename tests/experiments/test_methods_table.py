"""The table of all methods: its record, its page, and how settings are chosen."""

import json
import pathlib

import pytest

from experiments import methods_table

ROOT = pathlib.Path(__file__).parents[2]
STUDY = methods_table.study_of("methods")
RECORD = json.loads((ROOT / "results" / "methods.json").read_text())


@pytest.mark.parametrize("name", ["methods", "real_noise"])
def test_the_page_shows_the_record(name):
    """Fails if a page was edited, or the record changed without it."""
    record = json.loads((ROOT / "results" / f"{name}.json").read_text())
    page = methods_table.page(record, methods_table.study_of(name))
    assert (ROOT / "docs" / f"{name}_measured.md").read_text() == page


def test_the_short_table_is_of_the_page():
    """Fails if docs/methods.md shows a row that the page does not have."""
    text = (ROOT / "docs" / "methods.md").read_text()
    short = text.split("<!-- table: methods -->\n")[1].split("\n<!-- end -->")[0].splitlines()
    page = (ROOT / "docs" / "methods_measured.md").read_text().splitlines()
    assert len(short) > 10
    assert [line for line in short if line not in page] == []


@pytest.mark.parametrize("name", ["methods", "real_noise"])
def test_settings_are_those_that_the_tuning_runs_chose(name):
    """Fails if the config's settings were chosen by anything but the recorded tuning runs."""
    record = json.loads((ROOT / "results" / f"{name}.json").read_text())
    study = methods_table.study_of(name)
    chosen = methods_table.chosen(record["tuning"], study)
    assert {name: list(value) for name, value in study.config["CHOSEN"].items()} == chosen


def test_chosen_by_hand():
    """The best mean over a method's rows; the middle one among equals and where nothing ran."""

    def row(method, level, accuracy, estimator="none"):
        names = {"setting": "worst", "method": method, "level": level, "estimator": estimator}
        return {**names, "validation_last": accuracy}

    tuning = [
        row("gce", "low", 0.5),
        row("gce", "mid", 0.6),
        row("gce", "high", 0.7),
        row("elr", "low", 0.5),
        row("elr", "mid", 0.5),
        row("elr", "high", 0.4),
        row("mwnet", "low", 0.9, "a"),
        row("mwnet", "low", 0.1, "b"),
        row("mwnet", "mid", 0.4, "a"),
        row("mwnet", "mid", 0.4, "b"),
        row("mwnet", "high", 0.1, "a"),
        row("mwnet", "high", 0.1, "b"),
    ]
    found = dict(
        zip(STUDY.config["VALUES"], methods_table.chosen(tuning, STUDY)["worst"], strict=True)
    )
    assert found["robust", "q"] == 2
    assert found["elr", "weight"] == 1
    assert found["meta", "learning_rate"] == 0  # 0.5 on average
    assert found["sop", "u_step"] == 1


def test_names_of_folders():
    """A setting may have underscores; what is no setting is named."""
    assert methods_table.parts("symmetric_60_two_high", STUDY) == ("symmetric_60", "two", "high")
    assert methods_table.parts("worst_weights", STUDY) == ("worst", "weights", "")
    with pytest.raises(ValueError, match="other_one: a folder must be named"):
        methods_table.parts("other_one", STUDY)
