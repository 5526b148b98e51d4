"""Pieces of work: their commands parse, they stay within their time, and go on where they were."""

import argparse
import importlib.util
import json
import pathlib
import sys

import pytest

from experiments.accelerator import Places, fill, listing, main, run_pieces
from experiments.accelerator_pieces import PIECES, STUDIES, Piece
from famus_jax.benchmark.command import add_arguments, add_workload
from famus_jax.benchmark.rows import estimators
from famus_jax.benchmark.workload import make_workload

ROOT = pathlib.Path(__file__).parents[2]
BENCH = ("benchmark", "--json={results}/b.json")
TRAIN = ("train", "--workdir={out}/t", "--config.data.data_dir={data}")
TWO = (Piece("b", "", 1, (BENCH,), ()), Piece("t", "", 1, (TRAIN,), ()))


def places(tmp_path):
    return Places(tmp_path / "out", tmp_path / "results", "somewhere")


def study_arguments(parser):
    add_workload(parser)
    for name in ("rounds", "block"):
        parser.add_argument(f"--{name}", type=int)


def test_every_command_is_one_that_there_is():
    """Fails for a flag or a row that is not there: on the accelerator it would cost a start."""
    rows = estimators(make_workload("cnn", 8, 8, image_size=8).layers, 8)
    for piece in PIECES.values():
        for command in (*piece.commands, *piece.smoke):
            if command[0] == "train":
                config = next(p for p in command if p.startswith("--config=")).split("=")[1]
                assert (ROOT / config.split(":")[0]).exists()
                continue
            parser = argparse.ArgumentParser()
            (study_arguments if command[0] in STUDIES else add_arguments)(parser)
            args = parser.parse_args(command[1:])
            if command[0] == "benchmark":
                assert set(args.rows.split(",")) <= rows.keys()
            else:
                assert importlib.util.find_spec(f"experiments.{command[0]}")
    shown = listing(PIECES.values())
    for model, batch in (("wrn_28_10", 100), ("preact_resnet_18", 64), ("wrn_28_2", 128)):
        for precision in ("float32", "tf32", "bfloat16"):
            assert f"--model={model} --batch={batch} --precision={precision}" in shown


def test_training_gets_the_time_that_is_left(tmp_path):
    """By hand: of 9 minutes the benchmark took 4. Fails if each piece had all the time."""
    seconds, ran = [0.0], []

    def run(command):
        ran.append(command[1:])
        seconds[0] += 240
        return 0

    assert run_pieces(TWO, places(tmp_path), 9, run=run, now=lambda: seconds[0]) == 0
    assert ran[0] == ["-m", "famus_jax.cli", "benchmark", f"--json={tmp_path}/results/b.json"]
    assert ran[1][-2:] == ["--config.data.data_dir=somewhere", "--max_minutes=5.000"]
    assert run_pieces(TWO, places(tmp_path), 4, run=run, now=lambda: seconds[0]) == 0
    assert [command[2] for command in ran] == ["benchmark", "train", "benchmark"]
    lines = (tmp_path / "out" / "pieces.jsonl").read_text().splitlines()
    assert [json.loads(line)["seconds"] for line in lines] == [240, 240, 240]


def test_what_is_there_is_not_run_again_and_what_fails_does_not_stop_the_rest(tmp_path):
    results, ran = tmp_path / "results", []
    results.mkdir()
    (tmp_path / "out" / "t").mkdir(parents=True)
    (tmp_path / "out" / "t" / "summary.json").write_text("{}")

    def run(command):
        ran.append(command[3])
        return 3 if command[3] == "benchmark" else 0

    assert run_pieces(TWO, places(tmp_path), run=run) == 3
    assert ran == ["benchmark", "train"]
    assert (results / "t.json").exists()
    (results / "b.json").write_text("{}")
    assert run_pieces(TWO, places(tmp_path), run=run) == 0
    assert ran == ["benchmark", "train", "train"]


def test_without_a_data_folder_its_argument_is_left_out(tmp_path):
    assert fill(TRAIN, Places(tmp_path, tmp_path, "")) == ("train", f"--workdir={tmp_path}/t")


def test_a_study_is_a_module_of_experiments(tmp_path):
    """Fails if `famus` were asked for a command that it does not have."""
    ran = []
    study = (Piece("s", "", 1, (("strategies", "--batch=8"),), ()),)
    assert (
        run_pieces(study, places(tmp_path), run=lambda command: ran.append(command[1:]) or 0) == 0
    )
    assert ran == [["-m", "experiments.strategies", "--batch=8"]]
    assert "python -m experiments.strategies --batch=8" in listing(study)


def test_the_command_line(capsys):
    assert main(["--list"]) == 0
    assert "wrn_28_10_60_seed_0" in capsys.readouterr().out
    assert main(["--piece=benchmark"]) == 2
    assert "'benchmark'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", PIECES)
def test_the_smoke_of_every_piece_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert sys.executable
    assert main([f"--piece={name}", "--smoke", f"--out={tmp_path}"]) == 0
    assert list((tmp_path / "smoke" / "results").glob("*.json"))


COMMANDS = [*(ROOT / "experiments").glob("*.py"), *(ROOT / "experiments").glob("*/__main__.py")]
LIBRARIES = ("__init__", "accelerator_pieces", "dispatched", "on_workload", "pictures", "published")


@pytest.mark.parametrize("path", [p for p in COMMANDS if p.stem not in LIBRARIES], ids=str)
def test_every_study_is_a_command(path):
    """Fails for a study that `python -m` imports without a word."""
    assert 'if __name__ == "__main__":' in path.read_text()
