"""Images per second of the input paths, against plain numpy and tf.data doing the same work.

    python -m experiments.throughput --images=50000 --size=32 --batch=128 [--json=PATH]

The work: draw a batch of a shuffled set, reflect-pad 4 and crop, flip, normalize, float32 on the
device. Times are medians over batches of interleaved rounds, after a warm-up round; every batch is
waited for, as in the worst case of a loop that hides nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from famus_jax.data import ArraySource, crop_flip, in_memory_stream, streaming

Draw = Callable[[int], object]
MEAN, STD, PADDING = 0.5, 0.25, 4


def numpy_batches(images: np.ndarray, labels: np.ndarray, batch_size: int) -> Draw:
    """The work in plain numpy, one image after the other, as a PyTorch-style loader does it."""
    rng = np.random.default_rng(0)
    height, width = images.shape[1:3]
    pad = ((PADDING, PADDING), (PADDING, PADDING), (0, 0))

    def draw(step: int) -> object:
        del step
        index = rng.integers(0, len(images), batch_size)
        out = np.empty((batch_size, *images.shape[1:]), np.float32)
        for row, i in enumerate(index):
            top, left = rng.integers(0, 2 * PADDING + 1, 2)
            one = np.pad(images[i], pad, "reflect")[top : top + height, left : left + width]
            out[row] = one[:, ::-1] if rng.random() < 0.5 else one
        return jax.device_put(((out / 255.0 - MEAN) / STD, labels[index]))

    return draw


def tf_data_batches(images: np.ndarray, labels: np.ndarray, batch_size: int) -> Draw:
    """The work in tf.data with parallel maps and prefetching. Needs TensorFlow."""
    import tensorflow as tf

    def augment(image, label):
        size = tf.shape(image)
        padded = tf.pad(image, [[PADDING] * 2, [PADDING] * 2, [0, 0]], "REFLECT")
        cropped = tf.image.random_flip_left_right(tf.image.random_crop(padded, size))
        return (tf.cast(cropped, tf.float32) / 255.0 - MEAN) / STD, label

    data = tf.data.Dataset.from_tensor_slices((images, labels)).repeat()
    data = data.shuffle(min(len(images), 10_000)).map(augment, tf.data.AUTOTUNE)
    data = data.batch(batch_size, drop_remainder=True).prefetch(2)
    iterator: Iterator = data.as_numpy_iterator()
    return lambda step: jax.device_put(next(iterator))


def paths(images: np.ndarray, labels: np.ndarray, batch_size: int) -> dict[str, Draw]:
    """name -> draw(step), for every path that can run here."""
    options = {"seed": 0, "augment": crop_flip(PADDING), "normalize": (MEAN, STD)}
    found: dict[str, Draw] = {
        "in_memory": in_memory_stream(images, labels, batch_size, **options).batch,
        "streaming": streaming(ArraySource(images), labels, batch_size, **options).batch,
        "numpy": numpy_batches(images, labels, batch_size),
    }
    if importlib.util.find_spec("tensorflow"):  # an optional comparison, else its row is absent
        found["tf_data"] = tf_data_batches(images, labels, batch_size)
    return found


def measure(draws: dict[str, Draw], rounds: int, steps: int) -> dict[str, float]:
    """Median milliseconds per batch of each path, over `rounds` interleaved rounds."""
    times: dict[str, list[float]] = {name: [] for name in draws}
    for turn in range(rounds + 1):
        for name, draw in draws.items():
            for step in range(turn * steps, (turn + 1) * steps):
                start = time.perf_counter()
                jax.block_until_ready(draw(step))
                if turn > 0:
                    times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def main(argv: list[str] | None = None) -> int:
    """Measure and print a table; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 10_000), ("size", 32), ("batch", 128), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--steps", type=int, default=20, help="batches per round")
    parser.add_argument("--json", default=None, help="write the rows here")
    args = parser.parse_args(argv)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (args.images, args.size, args.size, 3)).astype(np.uint8)
    labels = (np.arange(args.images) % 10).astype(np.int32)
    found = measure(paths(images, labels, args.batch), args.rounds, args.steps)
    rows = [
        {"path": name, "ms_per_batch": ms, "images_per_second": 1e3 * args.batch / ms}
        for name, ms in found.items()
    ]
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, batch {args.batch}")
    for row in rows:
        print(f"{row['path']:10s} {row['ms_per_batch']:9.2f} ms {row['images_per_second']:10.0f}/s")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"rows": rows, "settings": vars(args), "jax": jax.__version__}, file)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
