"""Streamed and in-memory experiments are the same experiment; nothing that reads is left behind."""

import json
import multiprocessing
import time

import jax
import numpy as np
import pytest
from PIL import Image

from famus_jax.data import load_source
from famus_jax.train import evaluation, loop, one_network, streams
from famus_jax.train.config import parse_config
from famus_jax.train.data_config import DataConfig
from famus_jax.train.data_setup import load_sources, seed_data
from famus_jax.train.experiment import run_experiment
from famus_jax.train.lazy_images import LazyImages, load_lazily
from famus_jax.train.methods import METHODS
from famus_jax.train.schema import ScheduleConfig

pytest.importorskip("grain")
SCHEDULE = ScheduleConfig(batch_size=16, meta_batch_size=30)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def configs(data_dir, **more):
    common = {"data_dir": data_dir, "augment": "shift", "noise": "pair_flip", "max_test": 300}
    return [DataConfig(**{**common, **more, "path": path}) for path in ("memory", "stream")]


def batches(config, method, seed=3, steps=(0, 0, 1, 100)):
    """Training and meta batches of some steps, the set's labels, and the evaluation sets."""
    sources = load_sources(config)
    seeded = seed_data(sources, config, seed)
    with streams.open_streams(METHODS[method], seeded, config, SCHEDULE, seed) as opened:
        found = [part.batch(t) for part in opened if part is not None for t in steps]
    evaluation = streams.evaluation_sets(sources, seeded, config)
    return found, seeded, {k: list(v) for k, v in evaluation.items()}


@pytest.mark.parametrize("method", ["mwnet", "noisy_plus_trusted", "clean", "trusted_only"])
def test_equal_batches(data_dir, method):
    """Fails if splits, labels, order, augmentation or normalization differ between the paths."""
    memory, streamed = (batches(config, method) for config in configs(data_dir))
    assert isinstance(streamed[1].images, LazyImages)
    assert len(memory[0]) == (8 if method == "mwnet" else 4)
    for one, other in zip(memory[0], streamed[0], strict=True):
        assert set(one) == set(other)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_the_labels_seen_are_the_noisy_ones(data_dir):
    """By id, against the labels of the source. Fails if streaming gives the clean labels."""
    found, seeded, _ = batches(configs(data_dir)[1], "mwnet", steps=range(20))
    clean = load_source("famus_digits", "train", data_dir).labels
    index, label = (np.concatenate([b[k] for b in found[:20]]) for k in ("index", "label"))
    moved = label != clean[index]
    np.testing.assert_array_equal(moved, seeded.wrong[index])
    assert 0.3 < moved.mean() < 0.5
    np.testing.assert_array_equal(label[moved], (clean[index][moved] + 1) % 10)
    for batch in found[20:]:
        np.testing.assert_array_equal(batch["label"], clean[np.asarray(batch["index"])])


def test_evaluation_counts_every_example_once(data_dir):
    """Fails if the rows that fill up the last batch are counted."""
    memory, streamed = (batches(config, "ce")[2] for config in configs(data_dir))
    for name, size in (("test", 300), ("validation", 200)):
        rows = []
        for found in (memory[name], streamed[name]):
            mask, index, label = (
                np.concatenate([b[k] for b in found]) for k in ("mask", "index", "label")
            )
            image = np.concatenate([b["image"] for b in found])[mask == 1]
            order = np.argsort(index[mask == 1])
            assert mask.sum() == size
            rows.append([x[mask == 1][order] for x in (index, label)] + [image[order]])
        for one, other in zip(*rows, strict=True):
            np.testing.assert_array_equal(one, other)


def images_in(root, kind):
    """40 pictures in two classes: a folder, folders of parts, or a table."""
    rng, lines = np.random.default_rng(0), ["path,label"]
    parts = ("train", "test") if kind == "parts" else ("",)
    for part in parts:
        for i in range(40):
            path = root / part / "ab"[i % 2] / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(path)
            lines.append(f"{path.relative_to(root)},{'ab'[i % 2]}")
    if kind == "table":
        (root / "table.csv").write_text("\n".join(lines))
        return str(root / "table.csv")
    return str(root)


@pytest.mark.parametrize("kind", ["folder", "parts", "table", "tfds"])
def test_lazy_examples_are_those_in_memory(kind, tmp_path, data_dir):
    """Fails if an id, a label, a class name, the order or a pixel differs."""
    source = "famus_digits" if kind == "tfds" else images_in(tmp_path, kind)
    for split in ("train", "test"):
        memory = load_source(source, split, data_dir, size=5)
        lazy = load_lazily(source, split, data_dir, size=5)
        assert lazy.images.shape == memory.images.shape
        for one, other in zip(memory, lazy, strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_images_of_several_sizes_are_named(tmp_path):
    source = images_in(tmp_path, "folder")
    Image.fromarray(np.zeros((7, 6, 3), np.uint8)).save(tmp_path / "b" / "39.png")
    images = load_lazily(source, "all").images
    with pytest.raises(ValueError, match=r"b/39.png has the shape \(7, 6, 3\).*data.image_size"):
        np.asarray(images)


def test_trusted_folder(tmp_path):
    """Fails if a row of the joined set is read from the wrong one of the two."""
    noisy, trusted = (images_in(tmp_path / name, "folder") for name in ("noisy", "trusted"))
    for path in (tmp_path / "trusted").rglob("*.png"):
        Image.fromarray(np.full((6, 6, 3), int(path.stem), np.uint8)).save(path)
    both = [
        load_sources(c)
        for c in configs(None, source=noisy, trusted_source=trusted, noise="none", max_train=20)
    ]
    np.testing.assert_array_equal(both[0].train.images, np.asarray(both[1].train.images))
    np.testing.assert_array_equal(both[0].train.ids, both[1].train.ids)
    assert both[1].num_trusted == 40


def tiny(data_dir, path, *runs, **data):
    return {
        "data": {
            "data_dir": data_dir,
            "noise": "pair_flip",
            "validation_per_class": 5,
            "max_test": 50,
            "augment": "shift",
            "path": path,
            **data,
        },
        "model": {"name": "mlp", "overrides": {"hidden": (16,)}},
        "schedule": {
            "steps": 6,
            "batch_size": 16,
            "meta_batch_size": 8,
            "eval_every": 2,
            "checkpoint_every": 2,
        },
        "runs": runs or ({"method": "mwnet", "estimator": {"kind": "all_layers"}},),
        "seeds": [0],
    }


class Interrupted(BaseException):
    """Like KeyboardInterrupt: no `except Exception` stops it."""


def interrupt_after(monkeypatch, steps):
    train = loop.train

    def interrupted(run, folder, on_progress, clock):
        def stop(count, newest):
            interrupted.taken += count
            if interrupted.taken >= steps:
                raise Interrupted

        return train(run, folder, stop, clock)

    interrupted.taken = 0
    monkeypatch.setattr(loop, "train", interrupted)


def test_equal_metrics_also_when_resumed(data_dir, tmp_path, monkeypatch):
    """In memory, streamed, and streamed with an interruption: the same records, to the digit."""
    make, made = one_network.train_step, []  # they share one compiled step, to save time
    monkeypatch.setattr(
        one_network,
        "train_step",
        lambda *a, **k: (made or made.append(make(*a, **k)) or made)[0],
    )
    quiet = {"show": lambda text: None}
    run_experiment(tiny(data_dir, "memory"), tmp_path / "memory", **quiet)
    run_experiment(tiny(data_dir, "stream"), tmp_path / "stream", **quiet)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        with pytest.raises(Interrupted):
            run_experiment(tiny(data_dir, "stream"), tmp_path / "parts", **quiet)
    run_experiment(tiny(data_dir, "stream"), tmp_path / "parts", **quiet)
    texts = [
        (tmp_path / name / "runs" / "mwnet-all_layers" / "seed_0" / "metrics.jsonl").read_text()
        for name in ("memory", "stream", "parts")
    ]
    assert len(texts[0].splitlines()) == 3
    assert texts[0] == texts[1] == texts[2]
    evidence = [
        np.load(next((tmp_path / name).rglob("weights.npz")))
        for name in ("memory", "stream", "parts")
    ]
    assert {"aum", "probabilities", "weights"} <= set(evidence[0].files)
    for other in evidence[1:]:
        for name in evidence[0].files:
            np.testing.assert_array_equal(evidence[0][name], other[name])


def test_worker_processes_end_with_the_run_and_with_an_error(data_dir, tmp_path, monkeypatch):
    """Fails if the streams are left to the garbage collector."""
    during = []
    accuracies = evaluation.Evaluator.accuracies

    def watched(self, *args):
        during.append(len(multiprocessing.active_children()))
        return accuracies(self, *args)

    monkeypatch.setattr(evaluation.Evaluator, "accuracies", watched)
    config = tiny(data_dir, "stream", {"method": "ce"}, workers=1)
    interrupt_after(monkeypatch, 2)
    with pytest.raises(Interrupted) as caught:
        run_experiment(config, tmp_path, show=lambda text: None)
    assert caught.traceback  # its frames keep the streams alive
    assert min(during) == 1
    deadline = time.monotonic() + 20
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not multiprocessing.active_children()


def test_the_first_batch_is_read_once(data_dir):
    """The experiment asks for batch 0 for its shapes, then trains on it."""
    config = configs(data_dir)[1]
    seeded = seed_data(load_sources(config), config, 0)
    with streams.open_streams(METHODS["ce"], seeded, config, SCHEDULE, 0) as opened:
        one, other = opened.training.batch(0), opened.training.batch(0)
    assert isinstance(one["image"], jax.Array)
    assert one["image"] is other["image"]


def test_result_carries_the_transition_counted_by_hand(data_dir, tmp_path):
    """Fails if it is that of all examples, or its columns are the clean classes."""
    config = tiny(data_dir, "memory", {"method": "ce"}, noise="asymmetric_cifar10")
    run_experiment(config, tmp_path, show=lambda text: None)
    folder = tmp_path / "runs" / "ce" / "seed_0"
    matrix = json.loads((folder / "result.json").read_text())["noise_transition"]
    parsed = parse_config(config).data
    seeded = seed_data(load_sources(parsed), parsed, 0)
    expected = np.zeros((10, 10))
    for position in seeded.splits.train.tolist():
        expected[seeded.clean[position], seeded.noisy[position]] += 1
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(matrix, expected, rtol=1e-12)
    assert 0.2 < matrix[9][1] < 0.6  # trucks become cars, never the other way round
    assert matrix[1][9] == 0
    rows = json.loads((tmp_path / "summary.json").read_text())["rows"]
    assert "noise_transition" not in rows[0]
