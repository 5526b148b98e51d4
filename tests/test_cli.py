"""The command line: what it prints, and its exit status."""

import json

import pytest

from famus_jax.cli import main
from famus_jax.cli.overrides import load_config, split_overrides
from famus_jax.version import __version__

# ml_collections reads config files with a loader method that Python is about to remove.
pytestmark = pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")

PLACE = ["--config=configs/quickstart.py", "--workdir=nowhere"]


def test_help_and_unknown_command(capsys):
    assert main(["famus", "--help"]) == 0
    assert "famus train" in capsys.readouterr().out
    assert main(["famus", "trian"]) == 2
    assert "famus train" in capsys.readouterr().err


def test_version(capsys):
    assert main(["famus", "--version"]) == 0
    assert capsys.readouterr().out == f"famus {__version__}\n"


@pytest.mark.parametrize("command", ["train", "benchmark", "noise"])
def test_every_command_has_a_help(command, capsys):
    """Fails where a library of flags takes --help for an unknown one."""
    assert main(["famus", command, "--help"]) == 0
    assert f"usage: famus {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--workdirr=x"], "--workdir"),
        (["train", *PLACE, "--fdsp"], "--fdsp"),
        (["train", *PLACE, "stray"], "stray"),
        (["train", *PLACE, "--config.seeds"], "seeds"),
        (["train", *PLACE, "--config.schedule.steps=ten"], "steps=ten"),
        (["train", *PLACE, "--max_min=3"], "--max_min"),
        (["train", "--config=configs/cifar10.py:80", "--workdir=nowhere"], "choose one of 40, 60"),
        (["noise", "kinds", "stray"], "stray"),
        (["noise", "kinds", "--config.seeds=1"], "--config.seeds"),
        (["benchmark", "stray"], "stray"),
        ([], "famus train"),
    ],
)
def test_what_is_not_understood_is_refused(words, message, capsys):
    """Fails if a flag with a typing error is left out, or a stray word ends a command's flags."""
    assert main(["famus", *words]) == 2
    assert message in capsys.readouterr().err


def test_overrides_are_typed_as_in_the_config():
    """Fails if a number stayed a text, if a value after a blank were lost, or a boolean's no."""
    words = ["--config=x", "--config.seeds=(3, 4)", "--config.schedule.steps", "7", "--workdir=y"]
    words += ["--noconfig.schedule.nesterov", "--config.transition.carry"]
    others, overrides = split_overrides(words)
    assert others == ["--config=x", "--workdir=y"]
    config = load_config("configs/quickstart.py", overrides)
    assert config["seeds"] == (3, 4)
    assert config["schedule"]["steps"] == 7
    assert config["schedule"]["nesterov"] is False
    assert config["transition"]["carry"] is True


def test_train_names_a_missing_flag_and_a_missing_config(capsys, tmp_path):
    assert main(["famus", "train", f"--workdir={tmp_path}"]) == 2
    assert "config" in capsys.readouterr().err
    assert main(["famus", "train", "--config=nowhere.py", f"--workdir={tmp_path}"]) == 2
    assert "nowhere.py" in capsys.readouterr().err


def test_train_names_an_unknown_field(capsys, tmp_path):
    arguments = ["--config=configs/quickstart.py", f"--workdir={tmp_path}"]
    assert main(["famus", "train", *arguments, "--config.schedule.stps=3"]) == 2
    assert "stps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "messages"),
    [
        (
            "--config.data.tolerence=1",
            ["no 'data.tolerence'", "did you mean 'tolerance'?", "noise"],
        ),
        ("--config.dta.source=x", ["no 'dta'; did you mean 'data'?", "schedule"]),
        ("--config.data.source.x=1", ["data.source in", "is one value"]),
        ("--config.runs.0.method=ce", ["is written runs[0]"]),
    ],
)
def test_an_unknown_override_is_answered_with_what_there_is(word, messages, capsys):
    """Fails if ml_collections' own text comes out: one word, or a traceback."""
    assert main(["famus", "train", *PLACE, word]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(message in error for message in messages), error


def test_a_new_argument_of_the_network(capsys):
    """`model.overrides` takes any name; the network says which there are."""
    words = ["--config.model.overrides.widths=(8, 16)", "--config.model.overrides.norm=group"]
    config = load_config("configs/own_data.py", words)
    assert config["model"]["overrides"] == {"widths": (8, 16), "norm": "group"}
    word = "--config.model.overrides.wdths=(8, 16)"
    assert main(["famus", "train", "--config=configs/own_data.py", "--workdir=nowhere", word]) == 1
    error = capsys.readouterr().err
    assert "model.overrides: model 'cnn' has no attribute 'wdths'; it takes" in error
    assert "widths" in error


def test_train_names_a_bad_value(capsys, tmp_path):
    status = main(
        [
            "famus",
            "train",
            "--config=configs/quickstart.py",
            f"--workdir={tmp_path}",
            "--config.data.noise_rate=1.5",
        ]
    )
    assert status == 1
    assert "data.noise_rate" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_benchmark_writes_its_rows(tmp_path, capsys):
    """Independent of time: FLOPs of plain are 1 of plain, and the head alone costs less than all."""
    path = tmp_path / "deep" / "bench.json"
    arguments = ["--model=mlp", "--batch=64", "--image_size=8", "--rounds=2", f"--json={path}"]
    assert main(["famus", "benchmark", *arguments, "--rows=exact,active_only_head"]) == 0
    rows = {row["row"]: row for row in json.loads(path.read_text())["rows"]}
    assert list(rows) == ["plain", "exact", "active_only_head"]
    keys = {
        "row",
        "flops_ratio",
        "temp_bytes_ratio",
        "time_ratio",
        "step_ms",
        "compile_seconds",
    }
    assert all(keys <= row.keys() for row in rows.values())
    assert rows["plain"]["flops_ratio"] == 1
    assert 1 < rows["active_only_head"]["flops_ratio"] < 1.5 < rows["exact"]["flops_ratio"]
    assert "active_only_head" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flag", "word"), [("--rows=fast", "'fast'"), ("--model=vgg", "'vgg'"), ("--rounds=0", "0")]
)
def test_benchmark_names_a_bad_value(flag, word, capsys):
    assert main(["famus", "benchmark", "--image_size=8", "--model=mlp", flag]) == 1
    assert word in capsys.readouterr().err
