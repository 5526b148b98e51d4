"""Label noise: golden tables, distributions, invariance, refusals."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from famus_jax.data import hashing
from famus_jax.data.noise.transition import (
    corrupt_labels,
    draw_from_rows,
    expected_rate,
    flip_next,
    symmetric,
)

IDS = [f"train_{i:05d}" for i in range(10_000)]
LABELS = np.arange(10_000) % 10


def test_uniform_is_the_documented_hash():
    # The definition written out once more. Fails if the framing, endianness or scaling changes.
    message = b"famus_jax\x007\x004\x00some\x00" + "bild_ü".encode()
    word = int.from_bytes(hashlib.blake2b(message, digest_size=8).digest(), "little")
    assert hashing.uniform(7, "some", ["bild_ü"])[0] == (word >> 11) / 2**53


@pytest.mark.parametrize(
    ("transition", "seed", "digest"),
    [
        (symmetric(10, 0.6), 0, "5b95965eb54514b7c6687f7d68b122a0"),
        (symmetric(10, 0.6), 1, "b6c148ea52576813b06dbc2f946d5e51"),
        (symmetric(10, 0.4, inclusive=False), 0, "5925227797aad9157915b94aaadf9e36"),
        (flip_next(10, 0.4), 0, "45e65f4405695a6c470f84ac04ec812e"),
    ],
)
def test_golden_digests(transition, seed, digest):
    # Pinned for ever: published results name these tables.
    assert corrupt_labels(LABELS, IDS, transition, seed).digest == digest


def test_same_table_in_another_process_without_data_libraries():
    # One process for both: another hash seed, and nothing heavy imported by famus_jax.data.
    code = (
        "import sys, numpy as np; from famus_jax.data import corrupt_labels, flip_next;"
        "ids=[f'train_{i:05d}' for i in range(10000)];"
        "print(corrupt_labels(np.arange(10000)%10, ids, flip_next(10,0.4), 0).digest);"
        "heavy = ('tensorflow', 'tensorflow_datasets', 'sklearn', 'PIL', 'grain', 'pyarrow');"
        "print([m for m in heavy if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONHASHSEED": "12345"}
    out = subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True
    )
    digest, heavy = out.stdout.split("\n")[:2]
    assert digest == corrupt_labels(LABELS, IDS, flip_next(10, 0.4), 0).digest
    assert heavy == "[]"


def test_order_and_subset_do_not_matter():
    # Fails if the randomness follows the position, as numpy's generators do.
    whole = corrupt_labels(LABELS, IDS, symmetric(10, 0.5), 3)
    order = np.random.default_rng(0).permutation(len(IDS))
    shuffled = corrupt_labels(LABELS[order], np.array(IDS)[order], symmetric(10, 0.5), 3)
    np.testing.assert_array_equal(shuffled.labels, whole.labels[order])
    assert shuffled.digest == whole.digest
    part = corrupt_labels(LABELS[5000:], IDS[5000:], symmetric(10, 0.5), 3)
    np.testing.assert_array_equal(part.labels, whole.labels[5000:])


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("rate", [0.2, 0.6])
def test_symmetric_rates(rate, inclusive):
    # Fails if "inclusive" forgets that a redraw may give the true class: 0.6 -> 0.54 on 10 classes.
    matrix = symmetric(10, rate, inclusive=inclusive)
    expected = rate * 0.9 if inclusive else rate
    assert expected_rate(matrix, LABELS) == pytest.approx(expected)
    noisy = corrupt_labels(LABELS, IDS, matrix, 5)
    assert abs(noisy.realized_rate - expected) < 4 * np.sqrt(expected * (1 - expected) / 10_000)
    # every cell within five standard deviations of the matrix (1,000 examples per row)
    spread = np.sqrt(matrix * (1 - matrix) / 1000)
    assert (abs(noisy.realized_transition - matrix) < 5 * spread).all()


def test_realized_numbers_by_hand():
    noisy = corrupt_labels([0, 0, 1, 2], list("abcd"), np.roll(np.eye(3), 1, axis=1), 0)
    assert noisy.labels.dtype == np.int32
    assert noisy.labels.tolist() == [1, 1, 2, 0]
    assert noisy.realized_rate == 1.0
    np.testing.assert_array_equal(noisy.realized_transition, [[0, 1, 0], [0, 0, 1], [1, 0, 0]])


def test_flip_next_goes_up_and_wraps():
    # Fails if it flips to the previous class.
    matrix = flip_next(4, 0.3)
    np.testing.assert_allclose(matrix[3], [0.3, 0, 0, 0.7])
    np.testing.assert_allclose(matrix[0], [0.7, 0.3, 0, 0])


def test_impossible_labels_are_never_drawn():
    # Fails if the last class absorbs rounding: ten tenths sum to less than the largest u.
    row = np.array([[0.1] * 10 + [0.0]])
    largest = np.nextafter(1.0, 0.0)
    assert np.cumsum(row)[-1] <= largest
    assert draw_from_rows(row, np.zeros(1, int), np.array([largest])).tolist() == [9]
    # the edges belong to the next class: u < 0.5 is class 1, u = 0.5 is class 3
    row, u = np.array([[0.0, 0.5, 0.0, 0.5]]), np.array([0.0, np.nextafter(0.5, 0), 0.5, 0.75])
    assert draw_from_rows(row, np.zeros(4, int), u).tolist() == [1, 1, 3, 3]
    assert corrupt_labels(LABELS, IDS, np.eye(10), 0).realized_rate == 0


def test_seeds_and_purposes_are_independent():
    a = hashing.uniform(0, "label_noise", IDS)
    for other in (hashing.uniform(1, "label_noise", IDS), hashing.uniform(0, "split", IDS)):
        assert abs(np.corrcoef(a, other)[0, 1]) < 0.04
    assert a.min() >= 0
    assert a.max() < 1
    # Kolmogorov's distance to the uniform distribution (99.9 % point: 1.95 / sqrt(N))
    grid = np.arange(1, len(a) + 1) / len(a)
    assert abs(np.sort(a) - grid).max() < 1.95 / 100


def test_digest_sees_labels_and_ids():
    base = hashing.table_digest(["a", "b"], np.array([0, 1]))
    assert hashing.table_digest(["b", "a"], np.array([1, 0])) == base
    assert hashing.table_digest(["a", "b"], np.array([1, 0])) != base
    assert hashing.table_digest(["a", "c"], np.array([0, 1])) != base


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: symmetric(10, 1.2), ValueError, r"rate = 1\.2 is outside \[0, 1\]"),
        (lambda: symmetric(10, 40), ValueError, r"for 40 % write 0\.4"),
        (lambda: symmetric(10, float("nan")), ValueError, "outside"),
        (lambda: flip_next(1, 0.1), ValueError, "at least 2 classes"),
        (lambda: corrupt_labels([0, 10], ["a", "b"], np.eye(10), 0), ValueError, "label 10 at"),
        (lambda: corrupt_labels([0.5], ["a"], np.eye(2), 0), TypeError, "float64"),
        (lambda: corrupt_labels([0], ["a", "b"], np.eye(2), 0), ValueError, "2 ids for 1 labels"),
        (lambda: corrupt_labels([0, 1], ["a", "a"], np.eye(2), 0), ValueError, "'a' occurs more"),
        (lambda: corrupt_labels([0], [7], np.eye(2), 0), TypeError, "ids are strings"),
        (lambda: corrupt_labels([0], [b"a"], np.eye(2), 0), TypeError, "ids are strings"),
        (lambda: corrupt_labels([0], ["a"], np.ones((2, 2)), 0), ValueError, "row 0"),
        (lambda: corrupt_labels([0], ["a"], np.eye(3)[:2], 0), ValueError, r"shape \(2, 3\)"),
        (lambda: corrupt_labels([0], ["a"], np.eye(2), 0.5), TypeError, "seed must be an int"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
