"""A second test set, and classes drawn equally often."""

import dataclasses

import numpy as np
import pytest

from famus_jax.data import from_arrays
from famus_jax.train import data_setup, results, streams
from famus_jax.train.data_config import DataConfig

SIZE = (4, 4, 3)


def examples(labels, names=(), name="made"):
    labels = np.asarray(labels)
    images = np.broadcast_to(labels.astype(np.uint8)[:, None, None, None], (len(labels), *SIZE))
    found = from_arrays(images.copy(), labels, name=name)
    return found._replace(class_names=tuple(names))


@pytest.fixture
def sets(monkeypatch):
    """A set of three classes, unequal in size, and one of five; `load_source` gives them by name."""
    made = {
        ("web", "train"): examples([0] * 20 + [1] * 8 + [2] * 6),
        ("web", "test"): examples([0, 1, 2]),
        ("large", "validation"): examples([4, 0, 3, 2, 1, 2]),
        ("small", "validation"): examples([0, 1]),
    }
    monkeypatch.setattr(
        data_setup.data, "load_source", lambda source, split, *rest, **more: made[source, split]
    )
    return made


def configured(**more):
    plain = {"source": "web", "noise": "none", "trusted_per_class": 0, "validation_per_class": 2}
    return DataConfig(**{**plain, **more})


def test_only_the_training_classes_are_evaluated_on(sets):
    """Fails if further classes count as errors, or labels and images come apart."""
    config = configured(second_test="large")
    sources = data_setup.load_sources(config)
    seeded = data_setup.seed_data(sources, config, 0)
    batches = streams.evaluation_sets(sources, seeded, config)["second_test"]
    (batch,) = list(batches)
    real = np.asarray(batch["mask"]) > 0
    assert np.asarray(batch["label"])[real].tolist() == [0, 2, 1, 2]
    level = np.asarray(batch["image"])[real][:, 0, 0, 0]
    assert level.argsort(kind="stable").tolist() == [0, 2, 1, 3]


def test_without_one_nothing_is_there(sets):
    config = configured()
    sources = data_setup.load_sources(config)
    seeded = data_setup.seed_data(sources, config, 0)
    assert set(streams.evaluation_sets(sources, seeded, config)) == {"test", "validation"}


def test_other_classes_are_refused(sets):
    with pytest.raises(ValueError, match=r"data\.second_test = 'small' must have the classes of"):
        data_setup.load_sources(configured(second_test="small"))
    for place, names in ((("web", "train"), "abc"), (("web", "test"), "abc")):
        sets[place] = sets[place]._replace(class_names=tuple(names))
    sets["large", "validation"] = sets["large", "validation"]._replace(class_names=tuple("abdce"))
    with pytest.raises(ValueError, match="in the same order"):
        data_setup.load_sources(configured(second_test="large"))


def test_the_row_has_both():
    """By hand: best, last, and where the noisy validation is best. Fails if the sets are mixed up."""
    history = [
        {"test_accuracy": t, "second_test_accuracy": s, "validation_accuracy": v}
        for t, s, v in ((0.3, 0.6, 0.1), (0.5, 0.2, 0.9), (0.4, 0.5, 0.2))
    ]
    row = results.make_row("ce", "none", 0, history)
    assert (row["acc_best"], row["acc_last"], row["acc_selected"]) == (0.5, 0.4, 0.5)
    second = ("acc_best_second", "acc_last_second", "acc_selected_second")
    assert [row[name] for name in second] == [0.6, 0.5, 0.2]
    for record in history:
        del record["second_test_accuracy"]
    assert not set(second) & set(results.make_row("ce", "none", 0, history))


def test_balanced_batches(sets):
    """54 draws are three epochs of 18 per class. Fails if classes come as often as they are."""
    import contextlib

    for balanced, expected in ((True, [18, 18, 18]), (False, [36, 12, 6])):
        config = configured(balanced=balanced)
        seeded = data_setup.seed_data(data_setup.load_sources(config), config, 0)
        with contextlib.ExitStack() as stack:
            stream = streams.make_stream(
                stack, seeded, seeded.splits.train, seeded.noisy, config, 6, 0
            )
            drawn = np.concatenate([stream.batch(t)["label"] for t in range(9)])
        counts = np.bincount(drawn, minlength=3)
        if balanced:
            assert counts.tolist() == expected
        else:
            assert counts[0] > 1.5 * counts[1] > counts[2]


def test_the_default_asks_for_neither():
    values = dataclasses.asdict(DataConfig())
    assert (values["second_test"], values["balanced"]) == ("", False)
