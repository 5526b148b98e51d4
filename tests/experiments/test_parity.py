"""Many devices, one result. The whole table: `python -m experiments.parity`."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from experiments.parity import compare, table
from experiments.parity.cases import ESTIMATORS, Case, cases

CASES = [
    Case("mwnet sum", "all layers", "batchnorm", "jit", 4),
    Case("mwnet sum", "all layers", "batchnorm", "shard_map", 4),
    Case("mwnet sum", "all layers", "batchnorm", "pmap", 4),
    Case("mwnet sum", "all layers, 8 examples", "mlp", "shard_map", 4),
    Case("l2r", "last 2 layers, active step", "mlp", "shard_map", 8),
    Case("elr", "all layers", "batchnorm", "shard_map", 4),
    Case("sop", "all layers", "batchnorm", "jit", 4),
    pytest.param(Case("mwnet sum", "learned gates", "mlp", "shard_map", 2), marks=pytest.mark.slow),
]
ALL = list(cases(devices=(8,), ways=("shard_map",)))


def check(case, dtype, bound):
    row = compare.compare(case, dtype)
    assert not table.is_off(row, bound), row


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_numbers_of_one_device(case):
    """Three steps, float64. Fails if a weight is normalized by the sum of one device's, a gradient is
    averaged where it should be summed (or summed twice), rows go to the wrong device, devices draw
    different gates, a number of examples is taken for one device's, or a row of memory is written by
    the device alone whose example it is."""
    check(case, np.float64, 1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("way", [pytest.param("jit", marks=pytest.mark.slow), "shard_map"])
def test_micro_batches(way):
    """With BatchNorm synchronized: a micro-batch holds the same examples on any number of devices.

    Fails if each device cuts its share into contiguous pieces.
    """
    check(Case("mwnet sum", "all layers", "batchnorm", way, 4, 2), np.float64, 1e-10)


@pytest.mark.slow
def test_float32():
    """Fails if a number is moved or summed in a narrower type than the network's."""
    check(Case("mwnet sum", "all layers", "mlp", "shard_map", 4), np.float32, 2e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_pair(case):
    """As above, every method with every estimator. (The command runs all ways and counts.)"""
    check(case, np.float64, 1e-10)


def test_goes_on_from_its_file(tmp_path):
    """Fails if a recorded case is not known again, another is taken for it, or precisions mix."""
    path = tmp_path / "parity.json"
    assert table.recorded(path, np.float64)["rows"] == []
    case = Case("l2r", "all layers", "mlp", "jit", 2)
    row = {**dataclasses.asdict(case), "params": 0.0, "theta": 0.0, "metrics": 0.0, "gates": True}
    path.write_text(json.dumps({"rows": [row], "provenance": [{"commit": "a"}]}))
    found = table.recorded(path, np.float64)
    assert found["provenance"] == [{"commit": "a"}]
    other = dataclasses.replace(case, devices=4)
    assert table.missing([case, other], found["rows"]) == [other]
    path.write_text(json.dumps({"dtype": "float64", "rows": [], "provenance": []}))
    with pytest.raises(ValueError, match="float64, this run of float32"):
        table.recorded(path, np.float32)


def test_recorded_rows_are_read_in_todays_words():
    """Fails if a name is forgotten: its cases would be run again, beside what is recorded of them."""
    path = pathlib.Path(__file__).parents[2] / "results" / "parity.json"
    rows = table.recorded(path, np.float64)["rows"]
    known = set(cases()) - set(table.missing(cases(), rows))
    gone = [row for row in rows if row["estimator"] == "top 1, coasting"]
    assert len(known) == len(rows) - len(gone)
    assert {case.estimator for case in known} == set(ESTIMATORS)


def test_the_page_shows_the_record():
    """Fails if docs/scale.md was edited, or the record changed without it."""
    root = pathlib.Path(__file__).parents[2]
    rows = table.recorded(root / "results" / "parity.json", np.float64)["rows"]
    rows = [row for row in rows if row["estimator"] != "top 1, coasting"]
    shown = (root / "docs" / "scale.md").read_text().split("<!-- table: parity -->\n")[1]
    assert shown.split("\n<!-- end -->")[0] == table.table(rows, by=("estimator",))


@pytest.mark.parametrize("where", ["params", "theta", "metrics"])
@pytest.mark.parametrize(
    ("dtype", "leaf", "column"),
    [
        (np.float64, np.float64, None),
        (np.float64, np.int32, None),
        (np.float64, np.float32, "float32"),  # a sampler's, say
        (np.float32, np.float32, None),
    ],
)
def test_no_leaf_is_left_out(monkeypatch, where, dtype, leaf, column):
    """A leaf that differs shows in its own column, or in float32's. Fails if it shows in none."""

    def result(value):
        leaves = {name: [np.ones(2, dtype), np.ones(2, leaf)] for name in parts}
        leaves[where][1] = leaves[where][1] * leaf(value)
        return {**leaves, "gates": []}

    parts = ("params", "theta", "metrics")
    monkeypatch.setattr(compare, "one_device", lambda *_: result(1))
    monkeypatch.setattr(compare, "run", lambda *_: result(3))
    row = compare.compare(CASES[0], dtype)
    found = {name: row[name] for name in (*parts, "float32")}
    assert found == {**dict.fromkeys(found, 0.0), column or where: 2.0}


@pytest.mark.parametrize(
    ("change", "off"),
    [
        ({}, False),
        ({"theta": 2e-10}, True),
        ({"float32": 2e-7}, False),  # an ulp or two of what samplers report
        ({"float32": 2e-6}, True),
        ({"gates": False}, True),
    ],
)
def test_what_is_off(change, off):
    row = {"params": 1e-15, "theta": 0.0, "metrics": 0.0, "float32": 0.0, "gates": True, **change}
    assert table.is_off(row, 1e-10) == off


def test_the_table_shows_the_worst_and_hides_nothing():
    row = {
        **dataclasses.asdict(CASES[0]),
        "params": 1e-15,
        "theta": 0.0,
        "metrics": 0.0,
        "gates": True,
    }
    [line] = table.table([row, {**row, "float32": 3e-8, "params": 0.0}]).splitlines()[2:]
    assert line == "| mwnet sum | all layers | batchnorm | 2 | 1e-15 | 0e+00 | 3e-08 | same |"
