"""Texts: their hashed counts, what is kept of a classifier, and what `famus predict` reads."""

import csv

import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.audit.text_classifier import train_text_classifier
from famus_jax.cli import main
from famus_jax.data.hashed_texts import hashed_texts
from famus_jax.predictor import Features, Network, Predictor, Texts, logits, predict, save_predictor
from famus_jax.predictor.text_inputs import texts_of

FOOD = [
    "a red apple",
    "green apples taste good",
    "bread and butter",
    "the apple bread",
    "good butter",
]
CARS = [
    "a red car",
    "the car drives fast",
    "fast motor",
    "a motor and a wheel",
    "the wheel of cars",
]


def dense(texts, buckets=2**14):
    return hashed_texts(texts, buckets).toarray()


def test_counts_by_hand():
    """Three words and two pairs fall into five buckets; "red" twice counts 1 + ln 2, and each half has
    the square length 1/2. Fails for a count without logarithm, or halves of other lengths."""
    words = dense(["red red blue"])[0, : 2**14]
    found = np.sort(words[words > 0])  # "red" (2), "blue", "red red", "red blue"
    expected = np.array([1.0, 1.0, 1.0, 1 + np.log(2)])
    np.testing.assert_allclose(found, expected / np.sqrt(2 * (expected**2).sum()), rtol=1e-5)
    np.testing.assert_allclose((dense(FOOD) ** 2).sum(1), 1.0, rtol=1e-5)


def test_the_hash_stays_what_it_was():
    """A saved classifier holds for as long as words fall into the same buckets.

    Fails for another hash or seed, in this or a later version of scikit-learn; murmurhash3 of the
    UTF-8 bytes with seed 0, of its published test: "" is 0.
    """
    words = dense(["cat"], 2**10)[0, : 2**10]
    assert np.flatnonzero(words).tolist() == [GOLDEN_CAT]
    words = dense(["日"], 2**10)[0, : 2**10]
    assert np.flatnonzero(words).tolist() == [GOLDEN_SUN]


def murmur3(data, seed=0):
    """MurmurHash3 x86 32, from its public description (A. Appleby, public domain)."""
    mask = 0xFFFFFFFF

    def turned(x, by):
        return ((x << by) | (x >> (32 - by))) & mask

    h = seed
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * 0xCC9E2D51 & mask
        h = (turned(h ^ (turned(k, 15) * 0x1B873593 & mask), 13) * 5 + 0xE6546B64) & mask
    if whole < len(data):
        k = int.from_bytes(data[whole:], "little") * 0xCC9E2D51 & mask
        h ^= turned(k, 15) * 0x1B873593 & mask
    h ^= len(data)
    h = (h ^ (h >> 16)) * 0x85EBCA6B & mask
    h = (h ^ (h >> 13)) * 0xC2B2AE35 & mask
    h ^= h >> 16
    return h - 2**32 if h >= 2**31 else h


GOLDEN_CAT, GOLDEN_SUN = (abs(murmur3(word.encode())) % 2**10 for word in ("cat", "日"))


def test_a_text_does_not_depend_on_the_others():
    """Fails for weights of words that the other texts set."""
    np.testing.assert_array_equal(dense(FOOD + CARS)[2], dense(FOOD[2:3])[0])


@pytest.mark.parametrize("texts", [[], [""], ["", "a"], ["日本語", "\0", "😀"]])
def test_odd_texts(texts):
    found = dense(texts)
    assert found.shape == (len(texts), 2**15)
    assert np.isfinite(found).all()


def test_too_few_buckets():
    with pytest.raises(ValueError, match="buckets = 1; 2 or more"):
        hashed_texts(["a"], 1)


@pytest.fixture(scope="module")
def classifier():
    labels = np.array([0] * 5 + [1] * 5 + [-1])
    return train_text_classifier([*FOOD, *CARS, "noise"], labels, 2)


def predictor_of(classifier):
    params = {"head": {"kernel": classifier.kernel, "bias": classifier.bias}}
    return Predictor(
        Network("mlp", {"hidden": ()}), ("food", "car"), Texts(classifier.buckets), ((params, {}),)
    )


def test_the_matrix_says_what_it_should(classifier):
    """New texts by their words, and as the same network says whose inputs are made here."""
    texts = ["apple butter", "a fast wheel", "cars and motors", "tasty bread"]
    found = logits(predictor_of(classifier), texts)
    assert found.argmax(1).tolist() == [0, 1, 1, 0]
    np.testing.assert_allclose(
        found, dense(texts) @ classifier.kernel + classifier.bias, rtol=1e-4, atol=1e-5
    )
    as_features = predictor_of(classifier)._replace(inputs=Features(2**15))
    np.testing.assert_allclose(found, logits(as_features, dense(texts)), rtol=1e-5, atol=1e-6)


def test_the_gradient_of_the_loss_is_zero():
    """Σ (p - y) x + w = 0 for the weights of two classes, with the penalty of scikit-learn's C = 1.

    Fails for weights of the other class, or of half the size.
    """
    labels = np.array([0] * 5 + [1] * 5)
    found = train_text_classifier([*FOOD, *CARS], labels, 2)
    x = dense([*FOOD, *CARS]).astype(np.float64)
    scores = x @ found.kernel + found.bias
    p = 1 / (1 + np.exp(scores[:, 0] - scores[:, 1]))
    weights = (found.kernel[:, 1] - found.kernel[:, 0]).astype(np.float64)
    np.testing.assert_allclose(x.T @ (p - labels) + weights, 0, atol=2e-3)
    assert abs((p - labels).sum()) < 2e-3
    assert np.abs(weights).max() > 0.05


def test_a_text_without_a_known_word_gets_the_bias(classifier):
    """And texts of which none has a word are trained on as well: the more frequent class wins."""
    np.testing.assert_allclose(
        logits(predictor_of(classifier), [""])[0], classifier.bias, rtol=1e-6
    )
    empty = train_text_classifier([""] * 9, np.array([1] * 6 + [0] * 3), 2)
    assert predict(predictor_of(empty), [""])[0].argmax() == 1


def test_classes_that_no_text_has():
    """One class alone, and two of four: the others are less likely than one text in all."""
    alone = train_text_classifier(FOOD, np.full(5, 1), 2)
    p = predict(predictor_of(alone), ["apple"])[0]
    assert p[1] > 0.9
    assert p[0] > 0
    some = train_text_classifier([*FOOD, *CARS], np.array([3] * 5 + [1] * 5), 4)
    names = ("a", "b", "c", "d")
    p = predict(predictor_of(some)._replace(class_names=names), ["red apple", "fast motor"])
    assert p.argmax(1).tolist() == [3, 1]
    assert (p[:, [0, 2]] < 0.05).all()


def test_texts_without_a_label_are_refused():
    with pytest.raises(ValueError, match="no text has a label"):
        train_text_classifier(FOOD, np.full(5, -1), 2)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [("one text", "not one text"), (["a", 3], "not int at position 1"), ([None], "not NoneType")],
)
def test_what_is_no_list_of_texts(classifier, inputs, message):
    with pytest.raises(ValueError, match=f"a list of texts, {message}"):
        logits(predictor_of(classifier), inputs)


def test_predict_reads_tables_and_lines(classifier, tmp_path):
    """The same texts from a table and from lines have the same predictions, with the ids of each."""
    save_predictor(tmp_path / "predictor", predictor_of(classifier))
    texts = ["apple butter", "", '=a "fast", wheel']
    with (tmp_path / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *zip("abc", texts, strict=True)])
    (tmp_path / "x.txt").write_text("\n".join(texts) + "\n", "utf-8")
    found = {}
    for name in ("x.csv", "x.txt"):
        out = tmp_path / f"{name}.out.csv"
        words = ["predict", str(tmp_path / "predictor"), str(tmp_path / name), f"--out={out}"]
        assert main(["famus", *words]) == 0
        with out.open(newline="") as file:
            found[name] = list(csv.DictReader(file))
    assert [row["id"] for row in found["x.csv"]] == ["a", "b", "c"]
    assert [row["id"] for row in found["x.txt"]] == [f"row_{i:07d}" for i in range(3)]
    for one, other in zip(found["x.csv"], found["x.txt"], strict=True):
        assert {**one, "id": ""} == {**other, "id": ""}
    assert found["x.csv"][0]["predicted"] == "food"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.png", b"", "takes texts: give a table with a column 'text'"),
        ("x.csv", b"id,body\n1,a\n", "has no column 'text'; it has .'id', 'body'"),
        ("x.csv", b"id,text\n,a\n", "line 2: there is no id"),
        ("x.txt", b"", "holds no line"),
        ("x.txt", b"caf\xe9\n", "is no text in UTF-8"),
        ("x.jsonl", b'{"text": ["a"]}\n', r"list .* is no text"),
    ],
)
def test_files_that_hold_no_texts(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        texts_of(tmp_path / name)


def test_kernel_of_another_number_of_buckets(classifier, tmp_path):
    """Fails if it is found out only when somebody predicts."""
    other = predictor_of(classifier)._replace(inputs=Texts(2**10))
    with pytest.raises(ValueError, match=r"kernel is float32 \[32768, 2\]"):
        save_predictor(tmp_path, other)
    assert jnp.isfinite(classifier.kernel).all()
