"""The command line: what it prints, and its exit status."""

import json
import signal
import sys

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


@pytest.mark.parametrize("command", ["train", "predict", "methods", "benchmark", "noise", "mend"])
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
        (["train", "--config=configs/cifar10.py:4\x1e", "--workdir=nowhere"], "choose one of 40, 60"),
        (["train", *PLACE, "config.schedule.steps=9"], "config.schedule.steps=9"),
        (["train", *PLACE, "--workdir="], "--workdir is empty"),
        (["train", *PLACE, "--coordinator=127.0.0.1:1234"], "--coordinator is for several"),
        (["train", *PLACE, "--process=0"], "add --distributed"),
        (["train", *PLACE, "--fsdp"], "add --devices=all"),
        (["noise", "kinds", "stray"], "stray"),
        (["noise", "kinds", "--config.seeds=1"], "--config.seeds"),
        (["benchmark", "stray"], "stray"),
        ([], "famus train"),
    ],
)
def test_what_is_not_understood_is_refused(words, message, capsys):
    """Fails if a flag with a typing error is left out, or a stray word ends a command's flags."""
    assert main(["famus", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


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
        ("--config.runs[0].methd=ce", ["runs[0] has no 'methd'; did you mean 'method'?"]),
        ("--config.data.nosuch[0]=1", ["data has no 'nosuch'", "noise"]),
        ("--config.runs[99].method=ce", ["runs has 10 parts, runs[0] … runs[9]; none is [99]"]),
        ("--config.runs[-1].method=ce", ["none is [-1]"]),
        ("--config.data.source[0]=x", ["data.source is no list but one value"]),
        ("--config.data[0]=x", ["data is no list but a section"]),
        ("--config.runs[0=x", ["'runs[0' is neither a field nor"]),
        ("--config.model.overrides.wdths[0]=8", ["model.overrides has no 'wdths'"]),
    ],
)
def test_an_unknown_override_is_answered_with_what_there_is(word, messages, capsys):
    """Fails if ml_collections' own text comes out: one word, or a traceback."""
    assert main(["famus", "train", *PLACE, word]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(message in error for message in messages), error


def test_a_part_of_a_list_is_changed(tmp_path):
    """In place of the old value; the file is run once, and again only for overrides. Fails if the check
    refuses the way that it names, or if a config without overrides is made twice."""
    assert load_config("configs/quickstart.py", ["--config.runs[1].method=ce"])["runs"][1] == {
        "method": "ce"
    }
    path, ran = tmp_path / "counted.py", tmp_path / "ran"
    path.write_text(
        "from ml_collections import ConfigDict\n"
        f"open({str(ran)!r}, 'a').write('x')\n"
        "def get_config(): return ConfigDict({'a': 1})\n"
    )
    assert load_config(str(path)) == {"a": 1}
    assert ran.read_text() == "x"


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


def test_benchmark_writes_its_rows(tmp_path, capsys, as_shipped):
    """Independent of time: FLOPs of plain are 1 of plain, and the head alone costs less than all."""
    path = tmp_path / "deep" / "bench.json"
    arguments = ["--model=mlp", "--batch=64", "--image_size=8", "--rounds=2", f"--json={path}"]
    assert main(["famus", "benchmark", *arguments, "--rows=all_layers,last_layer_active"]) == 0
    rows = {row["row"]: row for row in json.loads(path.read_text())["rows"]}
    assert list(rows) == ["plain", "all_layers", "last_layer_active"]
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
    assert 1 < rows["last_layer_active"]["flops_ratio"] < 1.5 < rows["all_layers"]["flops_ratio"]
    assert "last_layer_active" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flag", "word"), [("--rows=fast", "'fast'"), ("--model=vgg", "'vgg'"), ("--rounds=0", "0")]
)
def test_benchmark_names_a_bad_value(flag, word, capsys):
    assert main(["famus", "benchmark", "--image_size=8", "--model=mlp", flag]) == 1
    assert word in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise NameError('no such name')", "failed with NameError: no such name"),
        ("import sys; sys.exit(3)", "failed with SystemExit: 3"),
        ("def get_config(:", "failed with SyntaxError"),
        ("get_configs = 1", "is no config file"),
        ("def get_config(): return 5", "is no config file"),
        ("def get_config(): return {}['a']", "failed with KeyError: 'a'"),
    ],
)
def test_a_config_file_that_fails_is_named(code, words, tmp_path, capsys, monkeypatch):
    """It is a program, so anything may happen in it. Fails if a traceback or its own exit came out."""
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # of the file read before
    path = tmp_path / "config.py"
    path.write_text(code)
    assert main(["famus", "train", f"--config={path}", f"--workdir={tmp_path / 'x'}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"famus train: {path} {words}")
    assert said.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_traceback_shows_where_a_config_file_fails(tmp_path, capsys):
    path = tmp_path / "failing.py"
    path.write_text("def get_config():\n    def below(): return 1 / 0\n    return below()\n")
    words = [f"--config={path}", f"--workdir={tmp_path / 'x'}", "--traceback"]
    assert main(["famus", "train", *words]) == 2
    said = capsys.readouterr().err
    assert "in below" in said
    assert said.splitlines()[-1].startswith(f"famus train: {path} failed with ZeroDivisionError")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("file", "not a folder: "),
        ("file/below", "Not a directory: "),
        ("dangling", "not a folder: "),
        ("dangling/below", "not a folder: "),
        ("loop/below", "symbolic links"),
        ("x" * 300, "File name too long: "),
        ("/".join(["x" * 200] * 30), "File name too long: "),
    ],
)
def test_a_folder_that_cannot_be_is_said_in_a_line(place, words, tmp_path, capsys):
    """What the system refuses, before data are read. Fails if it came out as a traceback, or without
    the folder's name."""
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    arguments = [PLACE[0], f"--workdir={tmp_path / place}"]
    assert main(["famus", "train", *arguments]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.startswith("famus train: ")
    assert len(said.splitlines()) == 1
    assert len(said) < 1100


def test_a_damaged_file_is_said_in_a_line(tmp_path, capsys):
    """A zip archive that is none. Fails if zipfile's error came out as a traceback."""
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 and nothing else")
    arguments = [
        PLACE[0],
        f"--workdir={tmp_path / 'x'}",
        f"--config.data.source={tmp_path / 'a.npz'}",
    ]
    assert main(["famus", "train", *arguments]) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "zip file" in said
    assert not (tmp_path / "x").exists()


class Strange(Exception):
    """What nobody has thought of."""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Strange("a\nb"), "Strange: a b (--traceback shows where)"),
        (KeyError("x"), "KeyError: 'x' (--traceback shows where)"),
        (TypeError("no int"), "no int"),
        (ModuleNotFoundError("pip install grain"), "pip install grain"),
        (PermissionError(13, "Permission denied", "/a"), "Permission denied: /a"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError("RESOURCE_EXHAUSTED: 9 GB"), "out of memory: take smaller batches"),
        (MemoryError(), "out of memory: take smaller batches"),
    ],
)
def test_whatever_is_raised_becomes_one_line(error, line, capsys, monkeypatch):
    """Fails if some type of error is forgotten; `--traceback` still shows where it comes from."""

    def fail(arguments):
        raise error

    monkeypatch.setattr("famus_jax.data.noise.cli.run", fail)
    assert main(["famus", "noise", "kinds"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"famus noise: {line}")
    assert len(said.splitlines()) == 1
    assert main(["famus", "noise", "kinds", "--traceback"]) == 1
    assert "in fail" in capsys.readouterr().err


def test_a_signal_before_training_ends_the_command(capsys, monkeypatch):
    """Nothing is to be saved while data are read. Fails with a traceback, or if it is waited for."""
    monkeypatch.setattr(
        "famus_jax.data.noise.cli.run", lambda arguments: signal.raise_signal(signal.SIGINT)
    )
    assert main(["famus", "noise", "kinds"]) == 130
    assert capsys.readouterr().err.startswith("famus noise: ended by SIGINT")
