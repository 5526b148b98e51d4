"""Tables as spreadsheets and pandas save them; one reader for paths, labels and noise."""

import numpy as np
import pytest

from famus_jax.data.noise.files import read_table, write_table
from famus_jax.data.noise.table import align, make_table, noisy_from_table
from famus_jax.data.sources.file_lists import list_table
from famus_jax.data.sources.tables import quote_formula, read_columns, unquote_formula

TEXT = "id,path,label\na,1.png,0\nb,2.png,1\n"
READERS = {"paths": list_table, "noise": read_table}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("label", " label ").replace("\n", "\n\n").encode(),
        TEXT.replace(",0\n", ",0.0\n").encode(),
    ],
    ids=["byte order mark", "CRLF", "blanks", "floats"],
)
def test_both_readers_read_what_spreadsheets_write(tmp_path, reader, content):
    """Fails if one of them does not, as with a byte order mark before the first column."""
    (tmp_path / "t.csv").write_bytes(content)
    found = reader(tmp_path / "t.csv")
    assert found.ids == (["1.png", "2.png"] if reader is list_table else ["a", "b"])
    assert found.labels.tolist() == [0, 1]


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            TEXT.replace("2.png", "dé.png").encode("latin-1"),
            r"t\.csv: byte 0xe9 .*\(line 3\).*UTF-8",
        ),
        (TEXT.encode("utf-16"), r"t\.csv is UTF-16, not UTF-8: save it as"),
        (TEXT.encode("utf-16-le"), r"t\.csv: byte 0x00 at position 1"),
        (TEXT.replace(",", ";").encode(), "separated by semicolons: save it with commas"),
        (TEXT.replace("2.png", "2,b.png").encode(), "line 3: 4 cells, but the header has 3"),
        (TEXT.replace("2.png", '"2.png').encode(), r"t\.csv, line 3: unexpected end of data"),
        (TEXT.replace("id,path", "label,path").encode(), "has 2 columns 'label'"),
        (TEXT.replace(",1\n", ",NA\n").encode(), r"t\.csv, line 3: 'NA' stands for no label"),
        (TEXT.replace(",1\n", ",-1\n").encode(), r"t\.csv, line 3: label -1 is negative"),
        (TEXT.replace(",1\n", ",1.5\n").encode(), r"t\.csv, line 3: label 1\.5 is no whole"),
        (TEXT.replace("label", "Label").encode(), r"no column 'label'; .*did you mean 'Label'\?"),
        (b"", "no column"),
        (b"id,path,label\n", "has no rows"),
    ],
    ids=range(13),
)
def test_both_readers_name_file_and_line(tmp_path, reader, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        reader(tmp_path / "t.csv")


def test_parquet_tables(tmp_path):
    """Fails if no value becomes a class "nan", or 1.0 a class "1.0"."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    def save(labels, paths=("a", "b")):
        pyarrow.parquet.write_table(
            pa.table({"path": list(paths), "id": list(paths), "label": labels}),
            tmp_path / "t.parquet",
        )
        return tmp_path / "t.parquet"

    assert list_table(save([1.0, 0.0])).class_names == ("0", "1")
    assert read_table(save([5, 3])).labels.tolist() == [5, 3]
    for labels in ([1.0, float("nan")], [1, None]):
        with pytest.raises(ValueError, match=r"t\.parquet, row 1: there is no label"):
            list_table(save(labels))
    with pytest.raises(ValueError, match="row 1: there is no path"):
        list_table(save([0, 1], ("a", None)))
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ValueError, match=r"t\.parquet can't be read as Parquet"):
        list_table(tmp_path / "t.parquet")


def test_a_path_twice_is_found_at_once(tmp_path):
    """The last of 100,000 rows. Fails (by hours) if every row is compared with all others; or if
    one file in two spellings counts as two: then it may be in the test set and in training."""
    rows = "".join(f"{i:06d}.jpg,{i % 5}\n" for i in range(100_000))
    (tmp_path / "t.csv").write_text(f"path,label\n{rows}099999.jpg,1\n")
    with pytest.raises(ValueError, match=r"line 100002: .*more than once, first at .*line 100001"):
        list_table(tmp_path / "t.csv")
    for again in ("./a.png", "x/../a.png", f"{tmp_path}/a.png"):
        (tmp_path / "t.csv").write_text(f"path,label\na.png,0\n{again},1\n")
        with pytest.raises(ValueError, match="line 3: .*more than once, first at .*line 2"):
            list_table(tmp_path / "t.csv")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "＝1", "'=1", "''=1"])
def test_formulas_are_quoted_and_come_back(tmp_path, text):
    """Fails if a file name runs as a formula in a spreadsheet, or is another id when it is read."""
    assert quote_formula(text) == f"'{text}"
    assert unquote_formula(quote_formula(text)) == text
    for plain in ("a=1", "'tis", "cat/1.png", "'"):
        assert quote_formula(plain) == unquote_formula(plain) == plain
    write_table(tmp_path / "t.csv", make_table([text, "b"], [1, 0]))
    assert f"'{text}" in (tmp_path / "t.csv").read_text()
    assert read_table(tmp_path / "t.csv").ids == sorted([text, "b"])


def test_a_noise_table_by_class_name(tmp_path):
    """What the list of label issues holds is a table too. Fails if the names are numbered anew."""
    (tmp_path / "t.csv").write_text("rank,id,label,score\n1,a,dog,0.1\n2,b,eel,0.2\n")
    (tmp_path / "t.json").write_text('{"a": "dog", "b": "eel"}')
    np.savez(tmp_path / "t.npz", ids=np.array(["a", "b"]), labels=np.array(["dog", "eel"]))
    for name in ("t.csv", "t.json", "t.npz"):
        table = read_table(tmp_path / name)
        assert align(table, ["b", "a"], ("cat", "dog", "eel")).tolist() == [2, 1]
        with pytest.raises(ValueError, match=r"t\.\w+, id 'b': there is no class 'eel'"):
            align(table, ["b", "a"], ("cat", "dog"))
        with pytest.raises(ValueError, match="the data have none"):
            align(table, ["b"])


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_names_survive_writing(tmp_path, suffix):
    table = make_table(["a", "b"], [1, 0], class_names=("eel", "dog"), seed=3)
    write_table(tmp_path / f"t{suffix}", table)
    back = read_table(tmp_path / f"t{suffix}")
    assert align(back, ["a", "b"], ("cat", "dog", "eel")).tolist() == [1, 2]
    if suffix == ".json":
        assert (back.digest, back.class_names) == (table.digest, ("eel", "dog"))


def test_numbers_of_classes_that_are_called_by_numbers(tmp_path):
    """Folders 1 … 3 and a table that repeats their names changes nothing. Fails if 1 is read as the
    second folder."""
    (tmp_path / "t.csv").write_text("id,label\na,1\nb,2\nc,3\n")
    table = read_table(tmp_path / "t.csv")
    noisy = noisy_from_table(table, [0, 1, 2], ["a", "b", "c"], 3, ("1", "2", "3"))
    assert noisy.realized_rate == 0
    assert align(table, ["a"], ("x", "y")).tolist() == [1]  # classes with words: by number
    with pytest.raises(ValueError, match=r"t\.csv, id 'c': there is no class '3'"):
        align(table, ["c"], ("x", "y"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "'a' occurs more than once"),
        ('{"a": NaN}', r"t\.json, id 'a': there is no label"),
        ('{"a": -1}', r"t\.json, id 'a': label -1 is negative"),
        ("[" * 100_000, "is not JSON"),
        ('{"format": "famus_noise_table/1", "labels": [1]}', "expected an object"),
        ('{"a": [1]}', "neither a whole number nor a name"),
    ],
    ids=range(6),
)
def test_noise_tables_in_json_name_file_and_id(tmp_path, text, words):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_table(tmp_path / "t.json")


def test_optional_columns(tmp_path):
    (tmp_path / "t.csv").write_text(TEXT)
    table = read_columns(tmp_path / "t.csv", ["label"], ["id", "other"])
    assert list(table.columns) == ["label", "id"]


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_tabs_and_json_lines_are_tables_too(tmp_path, reader):
    """Fails if either reader knows commas alone."""
    (tmp_path / "t.tsv").write_text(TEXT.replace(",", "\t"))
    lines = [
        '{"id": "a", "path": "1.png", "label": 0}',
        "",
        '{"id": "b", "path": "2.png", "label": 1}',
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    for name in ("t.tsv", "t.jsonl"):
        found = reader(tmp_path / name)
        assert found.ids == (["1.png", "2.png"] if reader is list_table else ["a", "b"])
        assert found.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.jsonl", '{"path": "a", "label": 1}\n{"path": ', "t.jsonl, line 2 is not JSON"),
        ("t.jsonl", '\n["a", 1]\n', "t.jsonl, line 2: list; expected an object"),
        ("t.jsonl", '{"path": "a", "label": 1}\n{"path": "b"}\n', "line 2: there is no label"),
        ("t.jsonl", '{"path": "a", "Label": 1}\n', "no column 'label'.*did you mean 'Label'"),
        ("t.tsv", "path\tlabel\na\t0\tx\n", r"t.tsv, line 2: 3 cells, .* holds a tab in double"),
        ("t.tsv", "path\tlabel\tlabel\na\t0\t1\n", "has 2 columns 'label'"),
        ("t.tsv", "path\tlabel\n", "has no rows"),
        ("t.tab", "path\tlabel\n", r"tables are .csv, .tsv, .jsonl, .parquet"),
    ],
)
def test_tables_in_text_name_their_lines(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=words):
        read_columns(tmp_path / name, ["path", "label"]) if name.endswith("tab") else list_table(
            tmp_path / name
        )
