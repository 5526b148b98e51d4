"""The list of mutations fits the code, and one that no test sees is told from one that is seen."""

import pytest

from experiments import mutations
from experiments.mutations import MUTATIONS, ROOT, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_the_text_is_there_once(mutation):
    """Fails when the code has moved on and a mutation would change nothing."""
    assert (ROOT / mutation.file).read_text().count(mutation.right) == 1
    assert mutation.right != mutation.wrong
    assert all((ROOT / path).exists() for path in mutation.tests)


def test_what_is_seen_and_what_is_not(capsys, monkeypatch):
    tests = ("tests/test_progress.py",)
    seen = Mutation(
        "seen", "famus_jax/progress.py", 'f"about {clock_time', 'f"in {clock_time', tests
    )
    other = Mutation(
        "not seen", "famus_jax/one_of.py", "difflib.get_close", "list(known) or get_close", tests
    )
    monkeypatch.setattr(mutations, "MUTATIONS", (seen, other))
    assert mutations.main([]) == 1
    out = capsys.readouterr().out
    assert "noticed   seen" in out
    assert "SURVIVES  not seen" in out
    assert "1 of 2 noticed" in out


def test_tests_that_fail_anyway_are_an_error(tmp_path, monkeypatch):
    """Fails if what fails without any mistake counts as noticed."""
    (tmp_path / "code.py").write_text("right = 1\n")
    (tmp_path / "test_code.py").write_text("def test():\n    raise KeyError('anyway')\n")
    mutation = Mutation("any", "code.py", "right", "wrong", ("test_code.py",))
    monkeypatch.setattr(mutations, "ROOT", tmp_path)
    monkeypatch.setattr(mutations, "MUTATIONS", (mutation,))
    with pytest.raises(ValueError, match=r"without any mistake(.|\n)*anyway"):
        mutations.main([])


@pytest.mark.slow
def test_no_mutation_survives():
    assert mutations.main([]) == 0
