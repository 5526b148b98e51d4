"""What is warned of at the command line: one line, once; Python's own switches still count."""

import os
import subprocess
import sys
import warnings

import pytest

from famus_jax.cli.warned import told_warnings

WARNING = """
import sys, warnings
from famus_jax.cli import main
from famus_jax.data.noise import cli

def run(arguments):
    for _ in range(3):
        warnings.warn("the folder 'nan'\\n is a \\x1b[2Jclass")
        warnings.warn("the folder 'nan'\\n is a \\x1b[2Jclass", stacklevel=2)
    warnings.warn("not shown", DeprecationWarning, stacklevel=2)
    print("done")
    return 0

cli.run = run
sys.exit(main(["famus", "noise", "kinds"]))
"""
LINE = "famus noise: warning: the folder 'nan' is a \\x1b[2Jclass\n"


def command(*switches, **environment):
    env = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    return subprocess.run(
        [sys.executable, *switches, "-c", WARNING],
        capture_output=True, text=True, env={**env, **environment},
    )  # fmt: skip


def test_one_line_once():
    """Fails if the place in our source is printed, the text comes again from another place, or a
    terminal's commands in a file's name are carried out."""
    done = command()
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", LINE)


@pytest.mark.parametrize("how", ["switch", "variable"])
def test_asked_to_be_errors(how):
    """`-W error` ends the command, `-W ignore` shows nothing: fails if filters are put aside."""
    done = (
        command("-W", "error::UserWarning") if how == "switch" else command(PYTHONWARNINGS="error")
    )
    assert done.returncode == 1
    assert done.stderr.startswith("famus noise: UserWarning: the folder 'nan'")
    assert done.stderr.count("\n") == 1
    done = command("-W", "ignore") if how == "switch" else command(PYTHONWARNINGS="ignore")
    assert (done.returncode, done.stderr) == (0, "")


def test_others_are_named_and_all_is_put_back(capsys, monkeypatch):
    """A library's warning says whose it is; `file=` is respected; afterwards Python shows them."""
    elsewhere = []
    monkeypatch.setattr(warnings, "showwarning", lambda *args: elsewhere.append(args))
    before = warnings.showwarning
    with told_warnings("famus train"):
        warnings.showwarning("old", FutureWarning, "lib.py", 7)
        warnings.showwarning("to a file", UserWarning, "lib.py", 7, file=sys.stdout)
    assert warnings.showwarning is before
    assert capsys.readouterr().err == "famus train: warning: old (FutureWarning, lib.py:7)\n"
    assert elsewhere == [("to a file", UserWarning, "lib.py", 7, sys.stdout, None)]
