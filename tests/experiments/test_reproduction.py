"""The reproduction report on made-up summaries: every number in its cell, and nothing invented."""

import dataclasses
import json
import pathlib
import runpy

import pytest

from experiments.reproduction.__main__ import ALL_TABLES, main, report
from experiments.reproduction.our_runs import read_results, setting_of, settings_of
from experiments.reproduction.published import EXACT, GATES
from experiments.reproduction.seed_page import SEED_PAGE
from famus_jax.train.config import parse_config
from famus_jax.train.estimator_spec import build_estimator

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
MADE = {"commit": "0123456789abcdef", "device": "1 x Made-up", "versions": {"jax": "9.9"}}


def summary(variant, rows, table="table1", **changes):
    """`rows`: (method, estimator, seed, best, last)."""
    config = runpy.run_path(str(CONFIGS / f"{table}.py"))["get_config"](variant).to_dict()
    for name, value in changes.items():
        section, key = name.split("__")
        config[section][key] = value
    config = json.loads(json.dumps(dataclasses.asdict(parse_config(config))))
    names = ("seed", "acc_best", "acc_last")
    made = [
        {
            "method": method,
            "estimator": build_estimator(estimator).label if estimator else "none",
            "noise_digest": "feedbeefcafe",
            **dict(zip(names, numbers)),
        }
        for method, estimator, *numbers in rows
    ]
    return {"rows": made, "config": config, "provenance": MADE}


def written(folder, **summaries):
    for name, content in summaries.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return report(read_results(folder), settings_of(CONFIGS))


def ours(text):
    """{(title, row, column): our cell} of all cells that are not "–"."""
    found = {}
    for part in text.split("## ")[1:]:
        title, *lines = part.splitlines()
        table = [[c.strip() for c in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
        for row in table[2:]:
            for i, name in enumerate(table[0]):
                if name == "ours" and row[i] != "–":
                    found[title.split(":")[0], row[0], table[0][i - 1].split(":")[0]] = row[i]
    return found


def test_numbers_land_in_their_cells(tmp_path):
    """Fails if a neighbor's column, row, data set or method were taken, or best and last mixed up."""
    rows = [("mwnet", GATES, s, best, 0.1) for s, best in ((0, 0.80), (1, 0.82), (2, 0.84))]
    text = written(
        tmp_path,
        a=summary(
            "cifar10_mwnet_60",
            [*rows, ("ce", {}, 0, 0.5, 0.4), ("l2r", EXACT, 0, 0.9, 0.9)],
            data__data_dir="here",
        ),
        b=summary("cifar100_l2r_20", [("l2r", EXACT, 0, 0.7, 0.6)]),
        c=summary("cifar10_50_ldam", [("ldam_drw", {}, 3, 0.3, 0.2)], "table8"),
    )
    assert ours(text) == {
        ("Table 1, CIFAR-10", "MW-Net + FaMUS", "60 %"): "82.00 ± 2.00 (3) [1]",
        ("Table 1, CIFAR-10", "ours only: cross-entropy", "60 %"): "50.00 (1) [2]",
        ("Table 1, CIFAR-100", "L2R", "20 %"): "70.00 (1) [3]",
        ("Table 3", "all three", "CIFAR-10"): "82.00 ± 2.00 (3) [4]",  # the same setting
        ("Table 8, CIFAR-10", "LDAM-DRW", "50"): "30.00 (1) [5]",
    }
    note = next(line for line in text.splitlines() if line.startswith("1. "))
    for word in ("seeds 0, 1, 2", "1 x Made-up", "0123456789", "jax 9.9", "feedbeef", "a.json"):
        assert word in note
    assert "last 10.00 ± 0.00" in note
    assert "* [a.json](../results/a.json): l2r all_layers" in text  # of another number of steps


@pytest.mark.parametrize(
    "change",
    [
        {"schedule__steps": 5000},
        {"model__name": "wrn_28_2"},
        {"data__max_train": 1000},
        {"meta__learning_rate": 3e-3},
    ],
)
def test_another_setting_is_in_no_table(change, tmp_path):
    """Fails if a shorter run, or a smaller network, passed for the paper's; it is still named."""
    text = written(
        tmp_path, short=summary("cifar10_mwnet_60", [("mwnet", EXACT, 0, 0.9, 0.9)], **change)
    )
    assert not ours(text)
    assert "short.json](../results/short.json): all" in text


def test_another_estimator_is_in_no_row(tmp_path):
    """Gates with another K. Fails if they stood in the row of the paper's."""
    made = summary("cifar10_mwnet_60", [("mwnet", GATES, 0, 0.9, 0.9)])
    for run in made["config"]["runs"]:
        if run["estimator"].get("kind") == "learned_gates":
            run["estimator"]["target"] = 2
            made["rows"][0]["estimator"] = build_estimator(run["estimator"]).label
    assert not ours(written(tmp_path, other=made))


def test_one_seed_twice_is_refused(tmp_path):
    one = summary("cifar10_mwnet_60", [("mwnet", EXACT, 0, 0.9, 0.9)])
    with pytest.raises(ValueError, match=r"a\.json and b\.json both hold 'MW-Net'.*seed 0"):
        written(tmp_path, a=one, b=one)


def test_a_runs_own_commit_comes_first(tmp_path):
    """Fails if the experiment's last machine were named for a run that another one made."""
    made = summary("cifar10_mwnet_60", [("mwnet", EXACT, 0, 0.9, 0.9)])
    made["rows"][0].update(commit="fedcba9876543210", device="1 x Other")
    text = written(tmp_path, a=made)
    assert "fedcba9876" in text
    assert "1 x Other" in text
    assert "Made-up" not in text


def test_every_row_of_ours_is_a_run_of_its_config():
    """Fails for a typing error in a config's name, and for a row that could never be filled."""
    setting = settings_of(CONFIGS)
    for table in ALL_TABLES:
        for row in table.rows:
            assert len(row.values) == len(table.columns) == len(table.keys)
            for key in table.keys if row.method else ():
                assert setting(row.config.format(key)).startswith("{")
                assert row.method in methods(row.config.format(key))
    for one in SEED_PAGE:
        assert setting(one.config).startswith("{")
        assert one.run[0] in methods(one.config)


def methods(name):
    """The methods among a config's runs."""
    file, variant = name.split(":")
    config = runpy.run_path(str(CONFIGS / file))["get_config"](variant)
    return {run.method for run in parse_config(config.to_dict()).runs}


def test_the_accelerators_rows_are_table_1s(tmp_path):
    """Fails if the pieces trained in a setting whose cells stay empty."""
    variant = runpy.run_path(str(CONFIGS / "accelerator.py"))["get_config"]("wrn_28_10_60")
    made = dataclasses.asdict(parse_config(variant.to_dict()))
    assert setting_of(made) == settings_of(CONFIGS)("table1.py:cifar10_mwnet_60")


def test_the_document_is_what_results_say(tmp_path):
    """Fails if docs/reproduction.md was edited, or results changed without it."""
    out = tmp_path / "reproduction.md"
    assert main([f"--results={ROOT}/results", f"--configs={CONFIGS}", f"--out={out}"]) == 0
    assert out.read_text() == (ROOT / "docs" / "reproduction.md").read_text()


def test_what_was_not_run_is_a_sentence(tmp_path):
    """Fails if a table without a run of ours had columns of ours, or rows that only we have."""
    text = written(tmp_path, a=summary("cifar10_mwnet_60", [("mwnet", EXACT, 0, 0.9, 0.9)]))
    first, second = text.split("## ")[1:3]
    assert "| MW-Net | 933 | 91.9 | 89.6 | 84.5 | 90.00 (1) [1] |" in first
    assert "Not run: what has no number of ours (`configs/table1.py`)." in first
    assert "| MW-Net | 933 | 73.1 | 68.1 | 61.7 |" in second
    assert "Not run here (`configs/table1.py`)." in second
    assert "ours" not in second
    assert "not run |" not in text


def test_the_seed_page(tmp_path, capsys):
    """Fifteen rows, the page's error flagged, ours where it belongs.

    Fails if a number of the page is mended in silence, or MentorMix's run stands in FaMUS's row.
    """
    made = summary("cifar10_60_mentormix", [("mentormix", {}, 0, 0.9, 0.8)], "table5")
    (tmp_path / "made.json").write_text(json.dumps(made))
    assert main([f"--results={tmp_path}", f"--configs={CONFIGS}", "--table=seed"]) == 0
    out = capsys.readouterr().out
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in out.splitlines()[4:19]]
    assert len(rows) == len(SEED_PAGE) == 15
    flagged = [row for row in rows if row[3].endswith("*")]
    assert flagged == [["CIFAR-10, 60 % symmetric noise", "accuracy", "FaMUS", "26.42*", "not run"]]
    assert "94.97" in out
    assert [row[2:] for row in rows if "not run" not in row[4]] == [
        ["MentorMix", "91.30", "90.00 (1) [1]"]
    ]
    assert not (tmp_path / "reproduction.md").exists()


def test_an_unknown_table_is_named(capsys):
    assert main([f"--results={ROOT}/results", f"--configs={CONFIGS}", "--table=9"]) == 1
    assert "seed" in capsys.readouterr().err
