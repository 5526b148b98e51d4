"""`famus predict` after `famus audit`, of texts and of images that a pretrained network sees."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from famus_jax.audit.items import Items
from famus_jax.audit.networks import choose
from famus_jax.audit.run import Audit, probabilities
from famus_jax.audit.saved import save
from famus_jax.cli import main
from famus_jax.evidence import Evidence, label_issues
from famus_jax.models.image_features import image_features
from famus_jax.predictor import PretrainedImages, load_predictor, predict

WORDS = {
    "food": ["apple", "bread", "butter", "cheese", "plum", "soup"],
    "cars": ["motor", "wheel", "road"],
}


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def written(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_texts_are_audited_and_then_predicted(tmp_path):
    """200 texts of two kinds of words, one label in ten wrong: new texts get the right class.

    Fails if an audit of texts leaves nothing to predict with, or a classifier of the labels as given.
    """
    generator = np.random.default_rng(0)
    lines, names = [("id", "text", "label")], sorted(WORDS)
    for i in range(200):
        name = names[i % 2]
        text = " ".join(generator.choice(WORDS[name], 4))
        lines.append((f"t{i}", text, names[1 - i % 2] if i % 20 < 2 else name))
    written(tmp_path / "x.csv", lines)
    workdir = tmp_path / "audit"
    assert main(["famus", "audit", str(tmp_path / "x.csv"), f"--workdir={workdir}"]) == 0
    asked = [("a", "soup and plum"), ("b", "a wheel on a road"), ("c", "butter bread")]
    written(tmp_path / "new.csv", [("id", "text"), *asked])
    out = tmp_path / "p.csv"
    words = [str(workdir / "predictor"), str(tmp_path / "new.csv"), f"--out={out}"]
    assert main(["famus", "predict", *words]) == 0
    found = rows_of(out)
    assert [row["id"] for row in found] == ["a", "b", "c"]
    assert [row["predicted"] for row in found] == ["food", "cars", "food"]


def test_of_pretrained_features_images_are_kept(tmp_path, monkeypatch):
    """Images as they are give the probabilities of the audit's own network on their features.

    Fails for features of another size, or if the scale of the features is forgotten.
    """
    monkeypatch.setattr("famus_jax.models.image_features.SIZE", 32)  # cheaper
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (12, 32, 32, 3), np.uint8)
    features = image_features(images)
    labels = np.arange(12, dtype=np.int32) % 2
    items = Items("images", images, labels, np.arange(12).astype(str), ("a", "b"), "x")
    choice = choose(features, 2)
    first = choice.inputs(jnp.asarray(features), jax.random.key(0), False)
    variables = dict(choice.module.init(jax.random.key(1), first))
    p = np.tile([[0.9, 0.1], [0.2, 0.8]], (6, 1))
    issues = label_issues(Evidence({"held_out": generator.normal(size=12)}, p), labels)
    found = Audit(issues, choice, variables, 1, 0.0)
    save(tmp_path / "p", items, found, {}, features=features)
    predictor = load_predictor(tmp_path / "p")
    assert isinstance(predictor.inputs, PretrainedImages)
    expected = probabilities(found, features)
    assert np.ptp(expected[:, 0]) > 0.05
    np.testing.assert_allclose(predict(predictor, images), expected, rtol=1e-3, atol=1e-4)
    for i in range(12):
        Image.fromarray(images[i]).save(tmp_path / f"{i}.png")
    out = tmp_path / "p.csv"
    files = [str(tmp_path / f"{i}.png") for i in range(12)]  # as many as above: no other program
    assert main(["famus", "predict", str(tmp_path / "p"), *files, f"--out={out}"]) == 0
    np.testing.assert_allclose(
        [float(row["p_a"]) for row in rows_of(out)], expected[:, 0], rtol=1e-3, atol=1e-4
    )
    with pytest.raises(ValueError, match=r"uint8 images \[N, 32, 32, 3\]"):
        predict(predictor, features)


def test_what_was_not_trained_is_not_saved(tmp_path):
    labels = np.array([0, 1, 0, 1], np.int32)
    x = np.zeros((4, 3), np.float32)
    items = Items("features", x, labels, np.arange(4).astype(str), ("a", "b"), "x")
    p = np.tile([[0.9, 0.1], [0.2, 0.8]], (2, 1))
    issues = label_issues(Evidence({"held_out": np.array([1.0, 2, 3, 4])}, p), labels)
    found = Audit(issues, choose(x, 2), None, 1, 0.0)
    with pytest.raises(ValueError, match="no final network"):
        save(tmp_path, items, found, {})
    with pytest.raises(ValueError, match="texts="):
        save(tmp_path, items._replace(kind="texts"), found, {})
