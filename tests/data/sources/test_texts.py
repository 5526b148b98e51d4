"""Tables of texts as examples, and a network trained on them."""

import json

import numpy as np
import pytest

from famus_jax import data
from famus_jax.data.hashed_texts import hashed_texts
from famus_jax.data.sources import texts
from famus_jax.data.sources.load import load_labels, load_source
from famus_jax.predictor import load_predictor, predict
from famus_jax.train.experiment import run_experiment
from famus_jax.train.predictors import find_predictor

WORDS = {"animal": ("cat", "dog", "owl"), "vehicle": ("car", "bus", "van")}


def written(path, rows, header="id\ttext\tlabel"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *("\t".join(row) for row in rows)]) + "\n")
    return path


def rows(count, start=0):
    kinds = list(WORDS)
    return [
        (f"t{i}", f"a {WORDS[kinds[i % 2]][i % 3]} number {i}", kinds[i % 2])
        for i in range(start, start + count)
    ]


def test_a_table_of_texts(tmp_path):
    """Fails if ids, labels or texts come apart, or if features depend on the other texts."""
    path = written(tmp_path / "all.tsv", rows(16))
    found = data.load_path(path, "train", buckets=64)
    assert found.images.shape == (12, 128)  # a quarter of each class is held out
    assert (found.class_names, found.buckets) == (("animal", "vehicle"), 64)
    number = int(found.ids[5][1:])
    alone = hashed_texts([rows(16)[number][1]], 64).toarray()[0]
    np.testing.assert_array_equal(found.images[5], alone)
    assert found.labels[5] == number % 2
    test = load_labels(str(path), "test")
    assert set(test.ids) | set(found.ids) == {f"t{i}" for i in range(16)}


def test_tables_called_like_splits(tmp_path):
    """ "train" says which classes there are. Fails if the test table numbers its own."""
    written(tmp_path / "train.tsv", rows(8))
    written(tmp_path / "test.csv", [("x", "a bus", "vehicle")], "id,text,label")
    (tmp_path / "test.csv").write_text("id,text,label\nx,a bus,vehicle\n")
    test = load_source(f"{tmp_path}", "test", buckets=8)
    assert (test.labels.tolist(), test.num_classes) == ([1], 2)
    assert len(load_source(f"{tmp_path}", "train", buckets=8).labels) == 8
    (tmp_path / "test.tsv").write_text("id\ttext\tlabel\nx\ta bus\tvehicle\n")
    with pytest.raises(ValueError, match="each of which could be 'test': leave one"):
        load_source(f"{tmp_path}", "test")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (("b", "", "animal"), "line 3: there is no text; fill it in or leave the row out"),
        (("", "a cat", "animal"), "line 3: there is no id"),
        (("b", "a cat", ""), "line 3"),
        (("a", "a cat", "animal"), "'a'"),
    ],
)
def test_bad_rows_are_named(tmp_path, bad, said):
    path = written(tmp_path / "t.tsv", [("a", "a dog", "animal"), bad])
    with pytest.raises(ValueError, match=said):
        texts.list_texts(path)


def test_more_numbers_than_memory_holds(tmp_path):
    table = texts.list_texts(written(tmp_path / "t.tsv", rows(4)))
    with pytest.raises(ValueError, match="4 texts of 1,073,741,824 numbers take 16 GiB"):
        texts.as_examples(table, 2**29)


def test_training_on_what_was_said_and_predicting(tmp_path):
    """The true label is a column, what was said another: wrong ones are known. The network predicts new
    texts. Fails if the noise table is not read, or the predictor forgets how texts become numbers."""
    said = [(i, t, "animal" if i == "t1" else y, y) for i, t, y in rows(40)]
    written(tmp_path / "texts" / "train.tsv", said, "id\ttext\tlabel\ttrue_label")
    tests = [(*row, row[2]) for row in rows(12, start=100)]
    written(tmp_path / "texts" / "test.tsv", tests, "id\ttext\tlabel\ttrue_label")
    folder = str(tmp_path / "texts")
    config = {
        "data": {
            "source": folder,
            "label_column": "true_label",
            "noise": "none",
            "noise_table": f"{folder}/train.tsv",
            "text_buckets": 32,
            "trusted_per_class": 0,
            "validation_per_class": 2,
        },
        "model": {"name": "mlp", "overrides": {"hidden": (8,)}},
        "schedule": {
            "steps": 30,
            "batch_size": 16,
            "eval_every": 30,
            "checkpoint_every": 30,
            "learning_rate": 0.5,
        },
        "runs": ({"method": "ce"},),
        "seeds": [0],
    }
    run_experiment(config, tmp_path / "run", show=lambda text: None)
    (row,) = json.loads((tmp_path / "run" / "summary.json").read_text())["rows"]
    assert row["noise_rate_realized"] in (0.0, 1 / 36)  # t1 may have been held out
    assert row["acc_last"] == 1.0
    predictor = load_predictor(find_predictor(tmp_path / "run"))
    chosen = predict(predictor, np.array([row[1] for row in tests], object)).argmax(1)
    assert [predictor.class_names[int(c)] for c in chosen] == [row[2] for row in tests]


def test_streams_are_refused(tmp_path):
    from famus_jax.train.lazy_images import load_lazily

    with pytest.raises(ValueError, match=r"read as a whole: set data\.path = 'memory'"):
        load_lazily(str(written(tmp_path / "t.tsv", rows(4))), "train")
