"""The carried direction's table: differences by seed, and the page that shows it."""

import json
import pathlib

from experiments import carried_table

ROOT = pathlib.Path(__file__).parents[2]
RECORD = json.loads((ROOT / "results" / "carried.json").read_text())


def test_the_page_shows_the_record():
    """Fails if the table was edited, or the record changed without it."""
    start, end = carried_table.MARKS
    shown = (ROOT / "docs" / "meta_gradient.md").read_text().split(start, 1)[1].split(end, 1)[0]
    assert shown == carried_table.table(RECORD)


def test_differences_are_those_on_the_same_seed():
    """By hand: 1 and 3, mean 2, standard error 1, t(0.975, 1) = 12.706. Fails if seeds are mixed up."""
    said = carried_table.difference({7: 5.0, 3: 2.0}, {3: 1.0, 7: 2.0})
    assert said == "+2.0 (−10.7 to +14.7)"


def test_titles():
    name = "all_layers_carried_step_examples4_renewed8_decay0.5"
    assert carried_table.title("mwnet", name) == "carried: k = 4, j = 8, ρ = 0.5"
    assert carried_table.title("mwnet", "all_layers_examples8") == "all layers, 8 examples"
