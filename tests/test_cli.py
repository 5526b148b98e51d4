"""The command line: what it prints, and its exit status."""

import json

import pytest

from famus_jax.cli import main

# ml_collections reads config files with a loader method that Python is about to remove.
pytestmark = pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")


def test_help_and_unknown_command(capsys):
    assert main(["famus", "--help"]) == 0
    assert "famus train" in capsys.readouterr().out
    assert main(["famus", "trian"]) == 2
    assert "famus train" in capsys.readouterr().err


def test_train_names_a_missing_flag_and_a_missing_config(capsys, tmp_path):
    assert main(["famus", "train", f"--workdir={tmp_path}"]) == 2
    assert "config" in capsys.readouterr().err
    assert main(["famus", "train", "--config=nowhere.py", f"--workdir={tmp_path}"]) == 2
    assert "nowhere.py" in capsys.readouterr().err


def test_train_names_an_unknown_field(capsys, tmp_path):
    arguments = ["--config=configs/quickstart.py", f"--workdir={tmp_path}"]
    assert main(["famus", "train", *arguments, "--config.schedule.stps=3"]) == 2
    assert "stps" in capsys.readouterr().err


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
