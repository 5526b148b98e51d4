"""Streaming: the same batches as in memory, from any step, for any number of hosts and workers."""

import os
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from famus_jax.data.augment import host as host_augment
from famus_jax.data.augment.crop_flip import crop_flip
from famus_jax.data.batches.in_memory import in_memory_stream
from famus_jax.data.batches.streaming import host_numbers, streaming
from famus_jax.data.sources.file_lists import list_folder
from famus_jax.data.sources.random_access import ArraySource, FileSource, TfdsSource, readable

pytest.importorskip("grain")

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 6, 6, 3)).astype(np.uint8)
LABELS = np.arange(30) % 5
KEYWORDS = {"seed": 3, "augment": crop_flip(2), "normalize": (0.5, 0.2)}


def equal(one, other):
    assert set(one) == set(other)
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])
        assert one[key].dtype == other[key].dtype


@pytest.mark.parametrize("indices", [None, np.array([4, 9, 2, 28, 11])])
def test_the_batches_of_the_in_memory_stream(indices):
    # In order, across epochs, after jumps forward and back.
    memory = in_memory_stream(IMAGES, LABELS, 8, indices=indices, **KEYWORDS)
    with streaming(ArraySource(IMAGES), LABELS, 8, indices=indices, **KEYWORDS) as stream:
        for step in (0, 1, 2, 3, 4, 5, 17, 18, 2, 3):
            equal(stream.batch(step), memory.batch(step))


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_together_see_the_stream_of_one(hosts):
    memory = in_memory_stream(IMAGES, LABELS, 8, **KEYWORDS)
    streams = [
        streaming(ArraySource(IMAGES), LABELS, 8, host_index=h, host_count=hosts, **KEYWORDS)
        for h in range(hosts)
    ]
    for step in (0, 1, 6):
        parts = [stream.batch(step) for stream in streams]
        joined = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
        equal(joined, memory.batch(step))
    for stream in streams:
        stream.close()


def test_worker_processes():
    # Fails if the workers share out examples instead of whole batches.
    memory = in_memory_stream(IMAGES, LABELS, 8, **KEYWORDS)
    with streaming(ArraySource(IMAGES), LABELS, 8, workers=2, **KEYWORDS) as stream:
        for step in (5, 6, 7, 8):
            equal(stream.batch(step), memory.batch(step))


def save_files(root):
    for c in range(5):
        os.makedirs(root / str(c))
    for i, image in enumerate(IMAGES):
        Image.fromarray(image).save(root / str(LABELS[i]) / f"{i:02d}.png")
    return list_folder(root)


def test_image_files(tmp_path):
    files = save_files(tmp_path)
    with streaming(FileSource(files), files.labels, 6, seed=0) as stream:
        batch = stream.batch(0)
    rows = [int(files.ids[i][2:4]) for i in np.asarray(batch["index"])]
    np.testing.assert_array_equal(batch["label"], LABELS[rows])
    np.testing.assert_allclose(batch["image"], IMAGES[rows] / 255, rtol=1e-6)


def test_host_transform_is_a_function_of_seed_and_step(tmp_path):
    files = save_files(tmp_path)
    crop = host_augment.RandomResizedCrop(4)
    make = lambda: streaming(  # noqa: E731
        FileSource(files), files.labels, 6, seed=1, host_transform=crop
    )
    with make() as one, make() as other:
        walked = [one.batch(t) for t in range(4)]
        equal(other.batch(3), walked[3])
    index = int(walked[3]["index"][2])
    source = FileSource(files)[index]
    expected = crop(source, host_numbers(1, 3, 2)) / np.float32(255)
    np.testing.assert_allclose(walked[3]["image"][2], expected, rtol=1e-6)


def test_damaged_files(tmp_path):
    files = save_files(tmp_path)
    files.paths[7].write_bytes(b"no image")
    with pytest.raises(ValueError, match=rf"1 of 30 images can't be read:\n +{files.ids[7]}"):
        readable(files)
    with pytest.warns(UserWarning, match="1 of 30") as caught:
        good = readable(files, tolerance=0.05)
    assert caught[0].filename == __file__  # the line that asked, not one of ours
    assert files.ids[7] not in good.ids
    assert len(good.labels) == 29
    with (
        streaming(FileSource(files), files.labels, 30, seed=0, threads=1) as stream,
        pytest.raises(ValueError, match=f"image {files.ids[7]} can't be read"),
    ):
        stream.batch(0)


def test_tfds_source_reopens_in_another_process(tmp_path):
    source = TfdsSource("famus_digits", "test", tmp_path)
    again = pickle.loads(pickle.dumps(source))
    assert len(again) == 445
    np.testing.assert_array_equal(again[17], source[17])
    assert TfdsSource("famus_digits", "test", tmp_path, size=16)[0].shape == (16, 16, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": LABELS[:4]}, "for 30 images"),
        ({"indices": np.array([30])}, r"positions in \[0, 30\)"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"host_count": 3}, "can't be divided among 3 hosts"),
        ({"workers": -1}, "workers = -1"),
        ({"threads": 0}, "threads = 0"),
    ],
)
def test_bad_input_is_named(change, words):
    good = {"source": ArraySource(IMAGES), "labels": LABELS, "batch_size": 8, "seed": 0}
    with pytest.raises(ValueError, match=words):
        streaming(**{**good, **change})


def test_missing_grain_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with (
        streaming(ArraySource(IMAGES), LABELS, 8, seed=0) as stream,
        pytest.raises(ModuleNotFoundError, match="pip install grain"),
    ):
        stream.batch(0)
