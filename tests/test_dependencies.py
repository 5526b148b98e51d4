"""What an installation brings, what an import loads, and what a command says that misses a package."""

import configparser
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from famus_jax.cli import extras, main

SETUP = configparser.ConfigParser()
SETUP.read(Path(__file__).parents[1] / "setup.cfg")


def names(text):
    lines = [line for line in text.strip().splitlines() if not line.startswith("#")]
    return [re.split(r"[<>=]", line)[0] for line in lines]


def test_the_installation_brings_six_packages():
    """The extras for tests and checks bring what the commands need, since they run them."""
    assert sorted(names(SETUP["options"]["install_requires"])) == [
        "chex",
        "flax",
        "jax",
        "ml-collections",
        "optax",
        "tensorflow-datasets",
    ]
    for extra in ("test", "lint"):
        assert "famus_jax[train]" in names(SETUP["options.extras_require"][extra])


@pytest.mark.parametrize("module", ["famus_jax", "famus_jax.forward", "famus_jax.cli"])
def test_an_import_is_light(module):
    """Fails on a library for networks, data or configs that a user of the core did not ask for."""
    heavy = "{'flax', 'tensorflow', 'tensorflow_datasets', 'ml_collections', 'absl.flags', 'orbax'}"
    code = f"import sys, jax, optax; a = set(sys.modules); import {module}; "
    code += f"sys.exit(str((set(sys.modules) - a) & {heavy} or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_a_command_without_its_extra_says_what_to_install(monkeypatch, capsys):
    """Fails if it ended in a traceback, or only when its work is done."""
    required = ["jax>=0.10", 'tqdm>=4.67; extra == "train"', 'absent>=1; extra == "train"']
    monkeypatch.setattr(metadata, "requires", lambda name: [*required, 'x; extra == "test"'])
    assert extras.missing_packages() == ["absent"]
    assert main(["famus", "noise", "kinds"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "famus noise: needs absent: pip install 'famus_jax[train]'\n"
    assert main(["famus", "noise", "--help"]) == 0
