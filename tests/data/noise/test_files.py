"""Noise tables in files: round trips, published formats, and nothing that could run code."""

import argparse
import json
import pickle
import re

import numpy as np
import pytest

from famus_jax.cli import main
from famus_jax.data.noise import cli as noise_cli
from famus_jax.data.noise.files import read_table, write_table
from famus_jax.data.noise.table import align, make_table, noisy_from_table
from famus_jax.data.sources.load import load_source

TABLE = make_table(["train_00002", "train_00000", "train_00001"], [5, 3, 4], seed=7)


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    write_table(path, TABLE)
    back = read_table(path)
    assert back.digest == TABLE.digest
    assert align(back, TABLE.ids).tolist() == [5, 3, 4]
    assert suffix == ".csv" or back.about == {"seed": 7}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_equal_tables_are_equal_files(tmp_path):
    order = [1, 2, 0]
    other = make_table([TABLE.ids[i] for i in order], TABLE.labels[order], seed=7)
    write_table(tmp_path / "a.json", TABLE)
    write_table(tmp_path / "b.json", other)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_torchvision_order_is_explicit(tmp_path):
    # DivideMix's JSON, CIFAR-N's arrays. Fails if rows are matched by position in tfds order.
    (tmp_path / "noise.json").write_text("[3, 4, 5]")
    np.save(tmp_path / "noise.npy", np.array([3, 4, 5]))
    np.savez(tmp_path / "noise.npz", worse_label=np.array([3, 4, 5]))
    for name, key in [("noise.json", None), ("noise.npy", None), ("noise.npz", "worse_label")]:
        table = read_table(tmp_path / name, order="torchvision", key=key)
        assert align(table, ["train_00002", "train_00000"]).tolist() == [5, 3]
        with pytest.raises(ValueError, match="order='torchvision'"):
            read_table(tmp_path / name, key=key)


def test_tables_with_ids(tmp_path):
    (tmp_path / "plain.json").write_text('{"b": 1, "a": 0}')
    (tmp_path / "t.csv").write_text("id,other\nb,1\na,0\n")
    np.savez(tmp_path / "t.npz", ids=np.array(["b", "a"]), labels=np.array([1, 0]))
    for name, key in [("plain.json", None), ("t.csv", "other"), ("t.npz", None)]:
        assert align(read_table(tmp_path / name, key=key), ["a", "b"]).tolist() == [0, 1]


class Bomb:
    def __reduce__(self):
        return (open, ("bomb_went_off", "w"))


@pytest.mark.parametrize("name", ["labels.pt", "labels.pkl", "labels.npy", "labels.npz"])
def test_nothing_is_unpickled(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if name == "labels.npz":
        np.savez(tmp_path / name, labels=np.array([Bomb()], dtype=object))
    elif name == "labels.npy":
        np.save(tmp_path / name, np.array([Bomb()], dtype=object), allow_pickle=True)
    else:
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="pickle"):
        read_table(tmp_path / name, order="torchvision")
    assert not (tmp_path / "bomb_went_off").exists()


def test_damage_is_found(tmp_path):
    path = tmp_path / "t.json"
    write_table(path, TABLE)
    path.write_text(path.read_text().replace('"train_00001": 4', '"train_00001": 6'))
    with pytest.raises(ValueError, match="changed or damaged"):
        read_table(path)


def test_table_for_other_ids():
    with pytest.raises(ValueError, match=r"no label for 1 of 2 examples, e\.g\. 'test_00001'"):
        align(TABLE, ["train_00000", "test_00001"])


def test_realized_rate_against_clean_labels():
    noisy = noisy_from_table(TABLE, [3, 4, 0], ["train_00000", "train_00001", "train_00002"], 6)
    assert noisy.labels.tolist() == [3, 4, 5]
    assert noisy.realized_rate == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "{", "is not JSON"),
        ("a.json", '"x"', "expected a list"),
        ("a.json", '{"a": 1.5}', "whole number"),
        ("a.json", '{"a": true}', "whole number"),
        ("a.json", "[1.5]", "order='torchvision'"),
        ("a.json", '{"a": -1}', "id 'a': label -1 is negative"),
        ("a.csv", "id,y\na,1\n", "no column 'label'"),
        ("a.csv", "id,label\na,1.5\n", "no whole number"),
        ("a.csv", "id,label\na,1\na,2\n", "occurs more than once"),
        ("a.txt", "", "are .json, .csv, .tsv, .jsonl, .parquet, .npy or .npz"),
    ],
)
def test_bad_files_are_named(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words):
        read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[0, 1.5]", r"row 1: label 1\.5 is no whole number"),
        ("[0, true]", "row 1: label True is neither a whole number nor a name"),
        ("[0, null]", "row 1: label None is neither a whole number nor a name"),
    ],
)
def test_a_list_of_labels_is_checked_as_an_object_is(tmp_path, text, words):
    """Fails if true becomes a class that is called "True"."""
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_table(tmp_path / "a.json", order="torchvision")


def test_a_suffix_in_capitals(tmp_path):
    for suffix in (".CSV", ".JSON"):
        write_table(tmp_path / f"t{suffix}", TABLE)
        assert read_table(tmp_path / f"t{suffix}").digest == TABLE.digest
    (tmp_path / "t.PT").write_bytes(b"")
    with pytest.raises(ValueError, match="is a pickle"):
        read_table(tmp_path / "t.PT")


@pytest.mark.parametrize("name", ["NA", "none", "-1"])
def test_a_class_that_reads_as_no_label_goes_to_json(tmp_path, name):
    """Fails if a `.csv` is written that can't be read back."""
    table = make_table(["a", "b"], [0, 1], class_names=("ZA", name))
    with pytest.raises(
        ValueError, match=rf"the class '{name}' would be read as no label.*use \.json"
    ):
        write_table(tmp_path / "t.csv", table)
    assert not (tmp_path / "t.csv").exists()
    write_table(tmp_path / "t.json", table)
    assert read_table(tmp_path / "t.json").written_labels() == ["ZA", name]


def test_command_with_a_class_called_na(tmp_path, capsys):
    """Its labels are read as in training. Fails if the command can't be told the classes."""
    rows = "".join(f"{i}.png,{'NA' if i % 2 else 'ZA'}\n" for i in range(8))
    (tmp_path / "t.csv").write_text("path,label\n" + rows)
    source = [f"--source={tmp_path / 't.csv'}", "--split=all"]
    out = tmp_path / "noise.json"
    write = ["noise", "write", f"--out={out}", "--kind=pair_flip", "--rate=1", *source]
    assert main(["famus", *write]) == 1
    assert "data.class_names" in capsys.readouterr().err
    names = "--class_names=ZA, NA"
    assert main(["famus", *write, names]) == 0
    assert json.loads(out.read_text())["labels"]["0.png"] == "NA"
    capsys.readouterr()
    assert main(["famus", "noise", "inspect", str(out), *source, names]) == 0
    assert "wrong labels    8 (100.00 %)" in capsys.readouterr().out
    assert main(["famus", *write, "--class_names=ZA"]) == 2
    assert "two names or more" in capsys.readouterr().err
    digits = ["noise", "write", f"--out={out}", "--kind=symmetric", "--rate=0.1", names]
    assert main(["famus", *digits]) == 1
    assert "has classes of its own" in capsys.readouterr().err


def test_other_refusals(tmp_path):
    with pytest.raises(FileNotFoundError, match="no noise table at"):
        read_table(tmp_path / "missing.json")
    with pytest.raises(ValueError, match=r"use \.json or \.csv"):
        write_table(tmp_path / "t.txt", TABLE)
    with pytest.raises(ValueError, match="order = 'tfds'"):
        read_table(tmp_path / "x.json", order="tfds")
    np.savez(tmp_path / "t.npz", other=np.array([1]))
    with pytest.raises(ValueError, match="has no array 'labels'"):
        read_table(tmp_path / "t.npz")


def test_command_on_ones_own_folder(tmp_path, capsys):
    """Only names and labels matter. Fails if images are decoded, or if the table can't be matched with
    classes called by other numbers than 0, 1, 2, …"""
    for name in ("5", "10"):
        (tmp_path / "s" / name).mkdir(parents=True)
        for i in range(4):
            (tmp_path / "s" / name / f"{i}.png").write_bytes(b"no image")
    parser = argparse.ArgumentParser()
    noise_cli.add_arguments(parser)
    out, source = str(tmp_path / "t.json"), ["--source", str(tmp_path / "s"), "--split", "all"]
    write = ["write", "--out", out, "--kind", "pair_flip", "--rate", "1", *source]
    assert noise_cli.run(parser.parse_args(write)) == 0
    assert set(json.loads((tmp_path / "t.json").read_text())["labels"].values()) == {"5", "10"}
    assert noise_cli.run(parser.parse_args(["inspect", out, *source])) == 0
    assert "wrong labels    8 (100.00 %)" in capsys.readouterr().out
    (tmp_path / "high.json").write_text('{"a": 2000000000, "b": 3}')
    assert noise_cli.run(parser.parse_args(["inspect", str(tmp_path / "high.json")])) == 0
    assert "3: 1, 2000000000: 1" in capsys.readouterr().out  # without an array of that length


def test_command_writes_what_it_inspects(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    noise_cli.add_arguments(parser)
    out, folder = str(tmp_path / "t.json"), str(tmp_path)
    common = ["--data_dir", folder]
    write = ["write", "--out", out, "--kind", "dividemix/symmetric", "--rate", "0.5", "--seed", "4"]
    assert noise_cli.run(parser.parse_args(write + common)) == 0
    written = capsys.readouterr().out
    inspect = ["inspect", out, "--source", "famus_digits", *common]
    assert noise_cli.run(parser.parse_args(inspect)) == 0
    inspected = capsys.readouterr().out
    digest = re.search(r"digest +(\w+)", written).group(1)
    rate = re.search(r"wrong labels .*", written).group(0)
    assert digest in inspected
    assert rate in inspected
    clean = load_source("famus_digits", "train", folder)
    labels = align(read_table(out), clean.ids)
    assert f"{(labels != clean.labels).sum()} (" in rate
    assert json.loads((tmp_path / "t.json").read_text())["about"]["seed"] == 4
    assert noise_cli.run(parser.parse_args(["inspect", out])) == 0
    assert digest in capsys.readouterr().out
    noise_cli.run(parser.parse_args(["kinds"]))
    assert "mwnet/flip" in capsys.readouterr().out
    bad = ["write", "--out", out, "--kind", "symmetric", "--rate", "40", *common]
    with pytest.raises(ValueError, match="for 40 % write 0.4"):
        noise_cli.run(parser.parse_args(bad))
