"""`famus methods`: the one table of methods, shown."""

import json

import pytest

from famus_jax.cli import main
from famus_jax.train.methods import METHODS, MethodSpec


def listed(capsys, *flags):
    assert main(["famus", "methods", *flags]) == 0
    return capsys.readouterr().out


def test_every_method_is_there(capsys):
    """In the table's order, with the facts of its row. Fails if a row is added and not shown."""
    found = json.loads(listed(capsys, "--json"))
    assert [one["name"] for one in found] == list(METHODS)
    facts = {one["name"]: one for one in found}
    assert facts["mwnet"]["needs"] == ["trusted", "estimator"]
    assert facts["elr"]["memory"] is True
    assert facts["elr"]["needs"] == ["memory"]
    assert facts["dividemix"]["networks"] == 2
    assert facts["dividemix"]["trusted_labels"] is False
    assert facts["co_teaching"]["networks"] == 2
    assert facts["elr_plus"]["needs"] == ["memory", "two networks"]
    assert facts["m_correction"]["needs"] == []
    assert facts["mlc_after_ce"]["continues"] == "ce"
    assert facts["gce"]["link"] == "https://arxiv.org/abs/1805.07836"
    lines = listed(capsys).splitlines()
    assert [line.split()[0] for line in lines] == ["name", *METHODS]
    assert "memory  " in next(line for line in lines if line.startswith("sop "))


def test_all_but_baselines_say_where_they_come_from(capsys):
    for one in json.loads(listed(capsys, "--json")):
        assert (one["link"] is None) == (one["kind"] == "baseline"), one["name"]


def test_a_new_row_is_listed(capsys, monkeypatch):
    """Fails if a method must be named anywhere but in the table."""
    mine = MethodSpec("mine", kind="weights", source="me, https://example.org/me", learns=True)
    monkeypatch.setitem(METHODS, "mine", mine)
    assert json.loads(listed(capsys, "--json"))[-1]["link"] == "https://example.org/me"
    assert listed(capsys).splitlines()[-1].startswith("mine ")


def test_a_stray_word_is_refused(capsys):
    assert main(["famus", "methods", "elr"]) == 2
    assert "elr" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["name", "title", "kind", "needs", "source", "memory", "networks"])
def test_the_objects_have_what_the_help_promises(key, capsys):
    assert all(key in one for one in json.loads(listed(capsys, "--json")))
