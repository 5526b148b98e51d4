"""What `read_items` makes of folders, tables and arrays as people have them."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from famus_jax.audit.labels import read_labels, spellings
from famus_jax.audit.read import list_rows, read_items


def save(path, value=0, size=(8, 8), mode="RGB"):
    """A made-up image of one color; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size[::-1], value if mode == "L" else (value, 0, 0)).save(path)
    return path


def photos(root, classes=("cat", "dog"), each=2, **how):
    for c, name in enumerate(classes):
        for i in range(each):
            save(root / name / f"{i}.png", 10 * c + i, **how)
    return root


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


# --- labels


@pytest.mark.parametrize(
    ("values", "labels", "names"),
    [
        (["b", "a", "b"], [1, 0, 1], ("a", "b")),
        (["c10", "c9", ""], [1, 0, -1], ("c9", "c10")),
        (["3.0", "1", "3", None], [1, 0, 1, -1], ("1", "3")),
        ([1, 5, 9, -100, -1], [0, 1, 2, -1, -1], ("1", "5", "9")),
        ([10.0, 9.0, float("nan")], [1, 0, -1], ("9", "10")),
        (["x", "NA", "None", "null", "NaN", "-1", "-100.0"], [0] + [-1] * 6, ("x",)),
        ([True, False], [1, 0], ("False", "True")),
        (["", None], [-1, -1], ()),
        (["x", "x"], [0, 0], ("x",)),
        (["v2.5", "2.5"], [1, 0], ("2.5", "v2.5")),
    ],
)
def test_labels_as_people_write_them(values, labels, names):
    """Fails if "3.0" and "3" are two classes, no label is a class, or 10 comes before 9."""
    found, classes = read_labels(values, "t.csv")
    assert found.tolist() == labels
    assert found.dtype == np.int32
    assert classes == names


def test_a_class_may_have_the_name_of_no_label():
    """Fails if the codes of Namibia or of a bad review are taken for missing labels."""
    assert read_labels(["NA", "ZA", ""], "t", class_names=["ZA", "NA"])[0].tolist() == [1, 0, -1]
    given = read_labels(["-1.0", 0, 1, -100], "t", class_names=["-1", "0", "1"])[0]
    assert given.tolist() == [0, 1, 2, -1]


def test_numbers_count_the_classes_that_have_names():
    assert read_labels([1, 0, -1], "t", class_names=["cat", "dog"])[0].tolist() == [1, 0, -1]


def test_minus_one_beside_one_is_said():
    """Fails if the bad half of a set of sentiments silently loses its labels."""
    with pytest.warns(UserWarning, match=r"1 examples labeled -1 .*--class-names=-1,0,1"):
        read_labels(["-1", "0", "1"], "t.csv")


@pytest.mark.parametrize(
    ("values", "names", "words"),
    [
        (["1", "2.5", "3"], (), "t.csv, row 1: label 2.5 is no whole number"),
        (["1", "", "-2"], (), "t.csv, row 2: label -2 is negative"),
        (["cat", "dgo"], ("cat", "dog"), "row 1: there is no class 'dgo'; did you mean 'dog'"),
        (["a", ["b"]], (), "row 1: list .* is no label"),
        ([2], ("cat", "dog"), "row 0: there is no class '2'"),
        (["a"], ("a", "b", "a"), "'a' more than once"),
    ],
)
def test_labels_that_are_none(values, names, words):
    with pytest.raises(ValueError, match=words):
        read_labels(values, "t.csv", class_names=names)


def test_spellings_are_those_of_the_data():
    """Fails if a mended 3.0 would be written "3" or by a name that the file does not use."""
    assert spellings(["3.0", "1.0", "3.0"], np.array([1, 0, 1]), ["1", "3"]) == ["1.0", "3.0"]
    assert spellings(["0", ""], np.array([0, -1]), ["cat", "dog"]) == ["0", "1"]
    assert spellings(["cat"], np.array([0]), ["cat", "dog"]) == ["cat", "dog"]


# --- folders


def test_a_folder_of_classes(tmp_path):
    items = read_items(photos(tmp_path / "p"))
    assert items.kind == "images"
    assert items.inputs.shape == (4, 8, 8, 3)
    assert items.inputs[:, 0, 0, 0].tolist() == [0, 1, 10, 11]
    assert items.ids.tolist() == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    assert items.labels.tolist() == [0, 0, 1, 1]
    assert items.paths[2] == str(tmp_path / "p" / "dog" / "0.png")


def test_splits_are_read_together(tmp_path):
    """Fails if only "train" is, or classes that only "test" has are lost."""
    root = tmp_path / "p"
    photos(root / "train")
    photos(root / "test", ("cat", "dog", "eel"), 1)
    (root / "notes").mkdir()
    with pytest.warns(UserWarning, match=r"the other folders, \['notes'\], are not read"):
        items = read_items(root)
    assert items.class_names == ("cat", "dog", "eel")
    assert sorted(items.ids)[:2] == ["test/cat/0.png", "test/dog/0.png"]
    assert len(items.ids) == 7
    assert items.name == "p (test, train)"


def test_a_folder_of_images_without_a_label(tmp_path):
    """Fails if "unlabeled" is a class, or its images are lost."""
    root = photos(tmp_path / "p", ("cat", "dog", "unlabeled"), 1)
    items = read_items(root)
    assert items.class_names == ("cat", "dog")
    assert dict(zip(items.ids, items.labels.tolist())) == {
        "cat/0.png": 0, "dog/0.png": 1, "unlabeled/0.png": -1,
    }  # fmt: skip
    named = read_items(root, class_names=("cat", "dog", "unlabeled"))
    assert sorted(named.labels.tolist()) == [0, 1, 2]


def test_one_class_and_a_class_without_images_are_read(tmp_path):
    root = photos(tmp_path / "p", ("cat",), 2)
    assert read_items(root).class_names == ("cat",)
    (root / "dog").mkdir()
    assert read_items(root).class_names == ("cat", "dog")


def test_one_size_for_images_of_several(tmp_path):
    """Medians 100 x 200 shrink to 32 x 64; small ones keep theirs."""
    root = tmp_path / "p"
    for i, size in enumerate([(100, 200), (100, 200), (10, 10)]):
        save(root / "cat" / f"{i}.png", size=size)
    assert read_items(root).inputs.shape == (3, 32, 64, 3)
    assert read_items(root, size=16).inputs.shape == (3, 16, 16, 3)
    assert read_items(photos(tmp_path / "small", size=(7, 9))).inputs.shape == (4, 7, 9, 3)


def test_gray_only_if_all_are(tmp_path):
    """Fails if one photo in color loses it, or gray ones are stored three times."""
    root = photos(tmp_path / "p", mode="L")
    assert read_items(root).inputs.shape[-1] == 1
    save(root / "dog" / "9.png", 200)
    items = read_items(root)
    assert items.inputs.shape[-1] == 3
    assert items.inputs[-1, 0, 0].tolist() == [200, 0, 0]


def test_unreadable_images_within_the_tolerance(tmp_path):
    root = photos(tmp_path / "p", each=30)
    write(root / "cat" / "0.png", "no image")
    items = read_items(root)
    assert len(items.ids) == len(items.labels) == len(items.paths) == 59
    assert items.ids[0] == "cat/1.png"
    assert items.inputs[0, 0, 0, 0] == 1
    [(name, why)] = items.left_out
    assert name == "cat/0.png"
    assert "UnidentifiedImageError" in why
    with pytest.raises(ValueError, match=r"cat/0\.png.*\n.*famus audit: --tolerance"):
        read_items(root, tolerance=0.0)


def test_what_does_not_fit_into_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("famus_jax.audit.image_size.MOST_BYTES", 500)
    with pytest.raises(ValueError, match=r"4 images of 8x8 .*size=6 \(famus audit: --size\)"):
        read_items(photos(tmp_path / "p"))
    assert read_items(tmp_path / "p", size=6).inputs.shape == (4, 6, 6, 3)


# --- tables


def test_a_table_of_images(tmp_path):
    photos(tmp_path, ("a",), 3)
    text = "path,label\na/0.png,x\na/1.png,\na/2.png,y\n"
    items = read_items(write(tmp_path / "t.csv", text))
    assert items.kind == "images"
    assert items.labels.tolist() == [0, -1, 1]
    assert items.ids.tolist() == ["a/0.png", "a/1.png", "a/2.png"]


def test_paths_that_occur_twice(tmp_path):
    """Fails if a conflict, which an audit is to find, is an error, or a repetition counts twice."""
    photos(tmp_path, ("a",), 2)
    rows = ["a/0.png,x", "a/0.png,y", "./a/0.png,x", "a/1.png,y", "a/0.png,"]
    source = write(tmp_path / "t.csv", "path,label\n" + "\n".join(rows) + "\n")
    items = read_items(source)
    assert items.ids.tolist() == ["a/0.png", "a/0.png#2", "a/1.png", "a/0.png#3"]
    assert items.labels.tolist() == [0, 1, 1, -1]
    assert items.left_out == (("./a/0.png", "the same as 'a/0.png', with the same label"),)
    assert list_rows(source).example.tolist() == [0, 1, 0, 2, 3]


def test_rows_without_a_path_are_named(tmp_path):
    photos(tmp_path, ("a",), 1)
    source = write(tmp_path / "t.csv", "path,label\na/0.png,x\n,y\n")
    with pytest.raises(
        ValueError, match=r"1 of 2 images can't be read:\s+\S+t\.csv, line 3: there is"
    ):
        read_items(source)
    assert len(read_items(source, tolerance=0.5).ids) == 1


TEXTS = [("t1", "a red cat", "pet"), ("t2", "", "pet"), ("t3", "fast, blue car", "")]


def texts_csv(path):
    rows = [f'{i},"{text}",{label}' for i, text, label in TEXTS]
    return write(path, "id,text,label\n" + "\n".join(rows) + "\n")


def texts_tsv(path):
    return write(path, "id\ttext\tlabel\n" + "".join("\t".join(row) + "\n" for row in TEXTS))


def texts_jsonl(path):
    rows = [dict(zip(("id", "text", "label"), row)) for row in TEXTS]
    rows[2]["label"] = None
    return write(path, "\n".join(map(json.dumps, rows)) + "\n")


def texts_parquet(path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    columns = [list(column) for column in zip(*TEXTS)]
    columns[2][2] = None
    pyarrow.parquet.write_table(pa.table(dict(zip(("id", "text", "label"), columns))), path)
    return path


@pytest.mark.parametrize("make", [texts_csv, texts_tsv, texts_jsonl, texts_parquet])
def test_texts_in_every_format(tmp_path, make):
    items = read_items(make(tmp_path / f"t.{make.__name__.split('_')[1]}"))
    assert items.kind == "texts"
    assert items.inputs.tolist() == [text for _, text, _ in TEXTS]
    assert items.inputs.dtype == object
    assert items.ids.tolist() == ["t1", "t2", "t3"]
    assert items.labels.tolist() == [0, 0, -1]


def test_quotes_in_a_table_with_tabs(tmp_path):
    """Fails if a quote that is a letter swallows the lines up to the next one."""
    lines = ['"Jaws" the film\tx', 'they said "hi\tx', '"a ""b"" c"\ty']
    source = write(tmp_path / "t.tsv", "text\tlabel\n" + "\n".join(lines) + "\n")
    assert read_items(source).inputs.tolist() == ['"Jaws" the film', 'they said "hi', 'a "b" c']
    source = write(tmp_path / "u.tsv", 'text\tlabel\n"two\nlines\tand a tab"\tx\n')
    assert read_items(source).inputs.tolist() == ["two\nlines\tand a tab"]


def test_columns_of_other_names(tmp_path):
    source = write(tmp_path / "t.csv", "key,question,topic\nk,why?,a\n")
    items = read_items(source, text_column="question", label_column="topic", id_column="key")
    assert (items.inputs.tolist(), items.ids.tolist()) == (["why?"], ["k"])
    with pytest.raises(
        ValueError, match=r"no column 'label'; it has \['key', 'question', 'topic'\]"
    ):
        read_items(source)
    with pytest.raises(
        ValueError, match=r"neither a column 'path' .*\['key', 'question', 'topic'\]"
    ):
        read_items(source, label_column="topic")
    with pytest.raises(ValueError, match="no column 'kee'.*did you mean 'key'"):
        read_items(source, text_column="question", label_column="topic", id_column="kee")


def test_alike_texts_without_ids_are_examples_of_their_own(tmp_path):
    source = write(tmp_path / "t.csv", "text,label\nyes,a\nyes,a\n")
    assert read_items(source).ids.tolist() == ["row_0000000", "row_0000001"]


# --- arrays


def test_an_npz_of_features(tmp_path):
    """Fails if class names in the file, gaps, or what is not finite are not seen."""
    x = np.arange(8.0).reshape(4, 2)
    x[3, 1] = np.inf
    np.savez(tmp_path / "s.npz", features=x, labels=[5.0, np.nan, 9.0, 5.0])
    items = read_items(tmp_path / "s.npz", tolerance=0.5)
    assert items.kind == "features"
    assert items.inputs.tolist() == x[:3].tolist()
    assert items.inputs.dtype == np.float32
    assert items.labels.tolist() == [0, -1, 1]
    assert items.class_names == ("5", "9")
    assert items.left_out == (("row_0000003", "not finite as float32"),)
    np.savez(tmp_path / "n.npz", features=x[:3], labels=[1, 0, -1], class_names=["cat", "dog"])
    assert read_items(tmp_path / "n.npz").class_names == ("cat", "dog")


def test_an_npz_of_images(tmp_path):
    images = np.zeros((3, 128, 64), np.uint8)
    ids = np.array(["a", "a", "a"])
    np.savez(tmp_path / "s.npz", images=images, labels=["x", "x", "y"], ids=ids)
    items = read_items(tmp_path / "s.npz")
    assert items.inputs.shape == (2, 64, 32, 1)
    assert items.ids.tolist() == ["a", "a#2"]
    assert items.paths == ()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": [1]}, r"has the arrays \['x'\]; expected one of 'images' and 'features'"),
        ({"features": np.ones((2, 2)), "labels": [0]}, "1 labels for 2 features"),
        ({"features": np.ones((2, 2)), "labels": [[0, 1], [1, 0]]}, r"labels.argmax\(axis=1\)"),
        ({"features": np.ones((2, 2)), "labels": [0, 1.5]}, "row 1: label 1.5 is no whole"),
        ({"features": np.ones((2, 2), int), "labels": [0, 1]}, "astype"),
        ({"features": np.ones((0, 2)), "labels": np.zeros(0, int)}, "no examples"),
        ({"features": np.ones((1, 2)), "labels": [0], "ids": [0.5]}, "expected 1 strings"),
    ],
)
def test_arrays_that_are_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(ValueError, match=words):
        read_items(tmp_path / "s.npz")


def test_features_and_labels_by_row_and_by_id(tmp_path):
    """Fails if rows are matched by place where both files have ids."""
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", features=x, ids=np.array(["a", "b", "c"]))
    table = write(tmp_path / "t.csv", "id,label\nc,dog\na,cat\n")
    items = read_items(features=tmp_path / "x.npz", labels=table)
    assert items.ids.tolist() == ["a", "b", "c"]
    assert items.labels.tolist() == [0, -1, 1]
    assert list_rows(features=tmp_path / "x.npz", labels=table).example.tolist() == [2, 0]
    words = write(tmp_path / "t.txt", "dog\n\ncat\n")
    assert read_items(features=tmp_path / "x.npy", labels=words).labels.tolist() == [1, -1, 0]
    np.save(tmp_path / "y.npy", np.array([2, 0, -1]))
    by_row = read_items(features=tmp_path / "x.npy", labels=tmp_path / "y.npy")
    assert (by_row.labels.tolist(), by_row.class_names) == ([1, 0, -1], ("0", "2"))
    with pytest.raises(ValueError, match="2 labels, .* 3 rows of features"):
        read_items(features=tmp_path / "x.npy", labels=table)
    write(tmp_path / "t.csv", "id,label\nz,dog\n")
    with pytest.raises(ValueError, match="line 2: 'z' has a label, but no features"):
        read_items(features=tmp_path / "x.npz", labels=table)


def test_sources_that_are_none(tmp_path):
    texts_csv(tmp_path / "texts.csv")
    with pytest.raises(FileNotFoundError, match=r"no data at .*did you mean 'texts\.csv'"):
        read_items(tmp_path / "text.csv")
    np.save(tmp_path / "x.npy", np.ones(2))
    with pytest.raises(ValueError, match="give features=… and labels=… instead"):
        read_items(tmp_path / "x.npy")
    with pytest.raises(ValueError, match="belong together"):
        read_items(features=tmp_path / "x.npy")
    with pytest.raises(ValueError, match="one of the two"):
        read_items()
    with pytest.raises(ValueError, match="expected at least two folders"):
        read_items(tmp_path)


def test_nothing_is_warned_about_a_plain_set(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_items(photos(tmp_path / "p"))
