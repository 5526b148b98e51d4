"""`famus mend`: what was decided is changed, and nothing else."""

import json

import numpy as np
import pytest
from PIL import Image

from famus_jax.audit.read import list_rows, read_items
from famus_jax.cli import main
from famus_jax.data.sources.file_lists import list_table


def write(path, text):
    path.write_bytes(text.encode())
    return path


def decide(folder, *rows):
    """A file of decisions: (id, label, decision, new_label)."""
    lines = ["id,label,decision,new_label", *(",".join(row) for row in rows)]
    return write(folder / "decisions.csv", "\r\n".join(lines) + "\r\n")


def mend(source, decisions, out, *flags):
    return main(["famus", "mend", str(source), f"--decisions={decisions}", f"--out={out}", *flags])


DECISIONS = (
    ("a", "dog", "relabel", "cat"),
    ("b", "cat", "wrong", ""),
    ("c", "dog", "right", ""),
)


def test_a_csv_stays_as_it_was_to_the_byte(tmp_path, capsys):
    """Fails if quotes, line ends, the byte order mark or other columns of other rows change."""
    text = (
        '\ufeffid,text,label,note\r\na,"x, y",dog,007\r\n"b","z",cat,"two\r\nlines"\r\n\r\n'
        '"c","=1",dog,\r\nd,,"dog", \r\n'
    )
    source = write(tmp_path / "t.csv", text)
    out = tmp_path / "new.csv"
    assert mend(source, decide(tmp_path, *DECISIONS), out) == 0
    expected = text.replace('a,"x, y",dog,007', 'a,"x, y",cat,007')
    expected = expected.replace('"b","z",cat,"two', 'b,z,,"two')
    assert out.read_bytes().decode() == expected
    assert source.read_bytes().decode() == text
    printed = capsys.readouterr().out
    assert "relabeled       1\n" in printed
    assert "wrong           1 (label left empty)" in printed
    assert "right           1 confirmed" in printed
    assert "1 dog -> cat\n" in printed
    assert "1 cat -> (no label)\n" in printed


def test_wrong_ones_can_be_left_out(tmp_path):
    source = write(tmp_path / "t.csv", "id,text,label\na,x,dog\nb,y,cat\nc,z,dog\n")
    assert mend(source, decide(tmp_path, *DECISIONS), tmp_path / "n.csv", "--drop-wrong") == 0
    assert (tmp_path / "n.csv").read_text() == "id,text,label\na,x,cat\nc,z,dog\n"


def test_tabs(tmp_path):
    """Fails if a quote that is a letter is written doubled."""
    text = 'id\ttext\tlabel\na\t"Jaws" x\tdog\n\nb\t"\tcat\nc\tz\tdog'
    source = write(tmp_path / "t.tsv", text)
    assert mend(source, decide(tmp_path, *DECISIONS), tmp_path / "n.tsv") == 0
    expected = text.replace("x\tdog", "x\tcat").replace('"\tcat\n', '"\t\n')
    assert (tmp_path / "n.tsv").read_text() == expected


def test_json_lines(tmp_path):
    """Fails if other lines are written anew, or numbers become text."""
    lines = ['{"id":"a",  "text": "x", "label": 1}', '{"text": "y", "id": "b", "label": 0}']
    source = write(tmp_path / "t.jsonl", "\n".join([*lines, '{"id": "c",   "text": ""}']) + "\n")
    decisions = decide(tmp_path, ("b", "0", "wrong", ""), ("c", "", "relabel", "1"))
    assert mend(source, decisions, tmp_path / "n.jsonl") == 0
    first, second, third = (tmp_path / "n.jsonl").read_text().splitlines()
    assert first == lines[0]
    assert json.loads(second) == {"text": "y", "id": "b", "label": None}
    assert json.loads(third) == {"id": "c", "text": "", "label": 1}


@pytest.mark.parametrize("kind", ["string", "int64", "double", "dictionary"])
def test_parquet_keeps_types_and_columns(tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    words = kind in ("string", "dictionary")
    values = ["dog", "cat", "dog"] if words else [1, 0, 1]
    column = pa.array(
        values, pa.string() if words else getattr(pa, kind.replace("double", "float64"))()
    )
    column = column.dictionary_encode() if kind == "dictionary" else column
    table = pa.table(
        {"n": [1.5, None, 2.0], "label": column, "text": ["x", "y", "z"], "id": list("abc")}
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    name = dict(dog="dog", cat="cat") if words else dict(dog="1", cat="0")
    rows = [(i, name[label], word, name.get(new, "")) for i, label, word, new in DECISIONS]
    assert mend(tmp_path / "t.parquet", decide(tmp_path, *rows), tmp_path / "n.parquet") == 0
    new = parquet.read_table(tmp_path / "n.parquet")
    assert new.schema.types == table.schema.types
    assert new.column("label").to_pylist() == (["cat", None, "dog"] if words else [0, None, 1])
    assert new.drop_columns("label").equals(table.drop_columns("label"))


def test_rows_that_repeat_an_example_are_mended_too(tmp_path):
    """Fails if the second row of the same file keeps the wrong label."""
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    source = write(tmp_path / "t.csv", "path,label\na.png,dog\n./a.png,dog\na.png,cat\n")
    decisions = decide(tmp_path, ("a.png", "dog", "relabel", "cat"))
    assert mend(source, decisions, tmp_path / "n.csv") == 0
    assert (tmp_path / "n.csv").read_text() == "path,label\na.png,cat\n./a.png,cat\na.png,cat\n"


def photos(root):
    for c, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(2):
            Image.new("L", (4, 4), 100 * c + i).save(root / name / f"{i}.png")
    return root


def test_a_folder_becomes_a_table_that_can_be_read_wherever_it_lies(tmp_path):
    """Fails if paths start elsewhere than at the table, or ids change."""
    root = photos(tmp_path / "photos")
    decisions = decide(tmp_path, ("dog/1.png", "dog", "relabel", "cat"))
    for out in (tmp_path / "deep" / "er" / "new.csv", root / "new.csv"):
        assert mend(root, decisions, out) == 0
        items = read_items(out)
        assert items.ids.tolist() == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
        assert items.labels.tolist() == [0, 0, 1, 0]
        assert items.inputs[:, 0, 0, 0].tolist() == [0, 1, 100, 101]
        files = list_table(out)  # as an experiment reads it
        assert all(path.is_file() for path in files.paths)
        assert files.labels.tolist() == [0, 0, 1, 0]


def test_paths_of_a_table_that_goes_elsewhere_are_moved(tmp_path):
    root = photos(tmp_path / "photos")
    source = write(root / "t.csv", f"label,path\ncat,cat/0.png\ndog,{root}/dog/0.png\n")
    out = tmp_path / "mended" / "n.csv"
    assert mend(source, decide(tmp_path, ("cat/0.png", "cat", "relabel", "dog")), out) == 0
    assert out.read_text() == f"label,path\ndog,../photos/cat/0.png\ndog,{root}/dog/0.png\n"
    assert all(path.is_file() for path in list_rows(out).paths)


def test_an_npz_keeps_its_other_arrays(tmp_path):
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.savez_compressed(
        tmp_path / "s.npz", features=x, labels=np.array([1, 0, 1], np.uint8), ids=list("abc"),
        class_names=np.array(["cat", "dog", "eel"]), extra=np.float64(3),
    )  # fmt: skip
    decisions = decide(tmp_path, *DECISIONS[:2], ("c", "dog", "relabel", "eel"))
    assert mend(tmp_path / "s.npz", decisions, tmp_path / "n.npz") == 0
    new = np.load(tmp_path / "n.npz")
    assert new["labels"].tolist() == [0, -1, 2]
    assert new["features"].tobytes() == x.tobytes()
    assert new["extra"] == 3
    assert mend(tmp_path / "s.npz", decisions, tmp_path / "d.npz", "--drop-wrong") == 0
    dropped = np.load(tmp_path / "d.npz")
    assert dropped["labels"].tolist() == [0, 2]
    assert dropped["ids"].tolist() == ["a", "c"]
    assert dropped["features"].tolist() == x[[0, 2]].tolist()
    assert dropped["class_names"].tolist() == ["cat", "dog", "eel"]


def test_labels_of_features(tmp_path):
    """Fails if rows that were matched by id are mended by place."""
    x = np.ones((3, 2), np.float32)
    np.savez(tmp_path / "x.npz", features=x, ids=np.array(list("abc")))
    np.save(tmp_path / "x.npy", x)
    table = write(tmp_path / "t.csv", "id,label\nc,dog\nb,cat\na,dog\n")
    lines = write(tmp_path / "t.txt", "dog\ncat\ndog\n")
    np.save(tmp_path / "t.npy", np.array(["dog", "cat", "dog"]))
    rows = [("row_0000000", *DECISIONS[0][1:]), ("row_0000001", *DECISIONS[1][1:])]

    def run(features, labels, *rows):
        out = tmp_path / f"n{labels.suffix}"
        words = [f"--features={features}", f"--labels={labels}", f"--out={out}"]
        assert main(["famus", "mend", *words, f"--decisions={decide(tmp_path, *rows)}"]) == 0
        return out

    by_id = run(tmp_path / "x.npz", table, *DECISIONS)
    assert by_id.read_text() == "id,label\nc,dog\nb,\na,cat\n"
    assert run(tmp_path / "x.npy", lines, *rows).read_text() == "cat\n\ndog\n"
    array = np.load(run(tmp_path / "x.npy", tmp_path / "t.npy", *rows))
    assert array.tolist() == ["cat", "", "dog"]


def test_suggestions_above_a_threshold(tmp_path, capsys):
    """Fails if 0.9 itself is taken, or a suggestion overrules what a person said."""
    source = write(tmp_path / "t.csv", "id,text,label\na,x,dog\nb,y,cat\nc,z,dog\nd,w,\n")
    table = (
        "id,label,p_wrong,suggested_label\nc,dog,0.95,cat\na,dog,0.99,cat\nb,cat,0.9,dog\nd,,,cat\n"
    )
    issues = write(tmp_path / "issues.csv", table)
    words = ["famus", "mend", str(source), f"--label-issues={issues}", f"--out={tmp_path}/n.csv"]
    assert main(words) == 0
    assert (tmp_path / "n.csv").read_text() == "id,text,label\na,x,cat\nb,y,cat\nc,z,cat\nd,w,\n"
    assert "2 labels changed without a person (p_wrong above 0.9)" in capsys.readouterr().out
    decisions = decide(tmp_path, ("c", "dog", "right", ""))
    assert main([*words, f"--decisions={decisions}", "--overwrite", "--above=0.5"]) == 0
    assert (tmp_path / "n.csv").read_text() == "id,text,label\na,x,cat\nb,y,dog\nc,z,dog\nd,w,\n"


TEXT = "id,text,label\na,x,dog\nb,y,cat\n"


@pytest.mark.parametrize(
    ("rows", "flags", "words"),
    [
        ([("z", "dog", "wrong", "")], [], "no id 'z'"),
        ([("a", "cat", "wrong", "")], [], "has the label 'dog' today"),
        ([("a", "dog", "relabel", "eel")], [], "no class 'eel'"),
        ([("a", "dog", "wrong", "")], ["--out={}/t.csv", "--overwrite"], "never changed"),
        ([("a", "dog", "wrong", "")], ["--out={}/decisions.csv", "--overwrite"], "never changed"),
        ([("a", "dog", "wrong", "")], ["--out={}/there.csv"], "--overwrite replaces it"),
        ([("a", "dog", "wrong", "")], ["--out={}/n.parquet"], r"t.csv stays, .csv"),
        ([], ["--label-issues={}/there.csv", "--above=2"], "probability in [0, 1)"),
        ([], ["--label-issues={}/there.csv"], "no column 'p_wrong'"),
    ],
)
def test_refusals(tmp_path, capsys, rows, flags, words):
    """Nothing is written, and the line says why."""
    source = write(tmp_path / "t.csv", TEXT)
    write(tmp_path / "there.csv", "id,label\na,dog\n")
    flags = [flag.format(tmp_path) for flag in flags]
    rows = rows or [("a", "dog", "right", "")]
    assert mend(source, decide(tmp_path, *rows), tmp_path / "n.csv", *flags) == 1
    assert words in capsys.readouterr().err
    assert source.read_text() == TEXT
    assert sorted(p.name for p in tmp_path.iterdir()) == ["decisions.csv", "t.csv", "there.csv"]


def test_nothing_to_go_by_is_refused(tmp_path, capsys):
    assert main(["famus", "mend", "x.csv", "--out=y.csv"]) == 1
    assert "give --decisions, or --label-issues" in capsys.readouterr().err
