"""Labels as people write them: order, missing values, spellings, numbers that are names."""

import unicodedata

import numpy as np
import pytest

from famus_jax.data.sources.classes import natural, number_classes, numbers_or_names, spelled
from famus_jax.data.sources.labels_in_arrays import labels_of_array


def test_natural_order():
    """By hand. Fails if names are sorted as text, or a number too long for `int` is converted."""
    names = ["class_10", "class_9", "a", "10", "9", "009", "b2c10", "b2c9", "7" * 5000]
    expected = ["009", "9", "10", "7" * 5000, "a", "b2c9", "b2c10", "class_9", "class_10"]
    assert sorted(names, key=natural) == expected


def test_names_that_begin_another():
    """Fails if a name's end is compared with the number that the longer one goes on with."""
    expected = ["1", "1a", "a", "a1", "a2", "a10"]
    assert sorted(["a10", "a1", "a", "a2", "1a", "1"], key=natural) == expected
    assert number_classes(["cat2", "cat"], "t")[1] == ("cat", "cat2")


@pytest.mark.parametrize("word", ["nan", "NaN", "NA", "None", "null", "N/A", "<NA>", "", " ", None])
def test_a_missing_label_is_refused_with_its_row(word):
    """Fails if the word becomes a class, or the numbers beside it become names."""
    for others in (["dog", "cat"], ["0", "1"], [0, 1]):
        with pytest.raises(ValueError, match=r"t\.csv, row 2: .*no label \(1 such rows\)"):
            number_classes([*others, word], "t.csv")
    with pytest.raises(ValueError, match="row 1"):
        number_classes([1.0, float("nan"), 0.0], "t.csv")


def test_a_word_like_na_is_a_class_where_the_classes_say_so():
    labels, names = number_classes(["NA", "ZA", "NA"], "t", class_names=("ZA", "NA"))
    assert (labels.tolist(), names) == ([1, 0, 1], ("ZA", "NA"))
    with pytest.raises(ValueError, match="'None' stands for no label"):
        number_classes(["NA", "None"], "t", class_names=("ZA", "NA"))
    with pytest.raises(ValueError, match=r"row 1: there is no class 'cta'; did you mean 'cat'\?"):
        number_classes(["cat", "cta"], "t", class_names=("cat", "dog"))


def test_one_spelling():
    """é as one letter and as two. Fails if they are two classes, or a blank that nobody sees counts."""
    forms = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    assert forms[0] != forms[1]
    labels, names = number_classes([*forms, "thé", "thé\u200b", " thé\xa0"], "t")
    assert (labels.tolist(), names) == ([0, 0, 1, 1, 1], ("café", "thé"))
    assert spelled("a\udcff.png") == "a\\xff.png"  # as os gives the byte 0xff
    spelled("\ud800").encode()  # what is no byte of a name either


def test_whole_numbers_however_written():
    """pandas writes 1.0 beside missing values. Fails if "1" and "1.0" are two classes."""
    labels, names = number_classes(["1", "0.0", "1.0", "02"], "t")
    assert (labels.tolist(), names) == ([1, 0, 1, 2], ("0", "1", "2"))
    assert number_classes([1.0, 0.0], "t")[1] == ("0", "1")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["1.5", "0"], "row 0: label 1.5 is no whole number"),
        (["cat", "-1"], "row 1: label -1 is negative"),
        ([0, -100], "row 1: label -100 is negative"),
        (["0", "2000000000"], "class 1 has no examples although labels go up to 2000000000"),
        (["0", "9" * 30], "too large"),
        ([["a"], "b"], "row 0: list .* is no label"),
        ([], "t has no labels"),
    ],
)
def test_what_is_no_label(values, words):
    with pytest.raises(ValueError, match=words):
        number_classes(values, "t")


def test_capitals_alone_are_warned_of():
    with pytest.warns(UserWarning, match="'Cat' and 'cat' are two classes"):
        number_classes(["Cat", "cat", "dog"], "t")
    number_classes(["a", "A"], "t")  # letters may well be classes


def test_places_are_named_in_errors_alone():
    """Fails if a row's place, which may take long to find, is asked for where all is well."""

    def fail(row):
        raise AssertionError

    assert number_classes(["b", "a"], "t", at=fail, class_names=("a", "b"))[0].tolist() == [1, 0]


def test_numbers_among_named_classes():
    """Classes called 1 … 3: a number is a name. Fails if it is taken for a place (off by one)."""
    names = ("1", "2", "3")
    assert number_classes([1, "02", "3"], "t", class_names=names)[0].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="no class '0'"):
        number_classes([0], "t", class_names=names, by_number=True)
    words = ("cat", "dog")
    assert number_classes([1, 0], "t", class_names=words, by_number=True)[0].tolist() == [1, 0]
    with pytest.raises(ValueError, match="no class '1'. There are 'cat', 'dog'"):
        number_classes([1, 0], "t", class_names=words)
    assert numbers_or_names(["5", "3"], "t")[0].tolist() == [5, 3]  # part of a set's labels


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([0.0, 1.0]), r"float64; .*save labels.astype\('int64'\)"),
        (np.array([0.0, 0.5]), r"row 1 is 0.5"),
        (np.array([0, np.nan]), r"row 1 is nan"),
        (np.array([True, False]), r"bool; .*astype"),
        (np.eye(3), r"\[3, 3\].*labels.argmax\(axis=1\)"),
        (np.array([[0], [1]]), r"\[2, 1\].*labels\[:, 0\]"),
        (np.array([0, 1, -1]), r"label -1 at row 2 .*without a label"),
        (np.array([0, -100]), r"label -100 at row 1"),
        (np.array([0, 2 * 10**9]), r"class 1 has no examples although .* 2000000000; .*unique"),
        (np.array([0, 2**63], np.uint64), r"go up to 9223372036854775808"),
    ],
)
def test_labels_in_arrays_are_refused_with_the_fix(labels, words):
    """Fails if an array as long as the highest label is made first: 2e9 would take gigabytes."""
    with pytest.raises(ValueError, match=f"here: .*{words}"):
        labels_of_array(labels, "here")


def test_labels_in_arrays():
    assert labels_of_array(np.array([2, 0, 1], np.uint8), "x")[1] == ()
    labels, names = labels_of_array(np.array([b"dog", b"cat"]), "x")
    assert (labels.tolist(), names) == ([1, 0], ("cat", "dog"))
    assert labels.dtype == np.int32
    with pytest.raises(ValueError, match="label 3 at row 0 is outside the 3 classes"):
        labels_of_array([3, 0], "x", ("a", "b", "c"))


def test_given_classes_of_an_array_are_spelled_as_others_are():
    """Fails if "e" and an accent stay two letters beside labels in numbers."""
    names = (unicodedata.normalize("NFD", "café"), " thé ")
    assert labels_of_array([1, 0], "t", names)[1] == ("café", "thé")
