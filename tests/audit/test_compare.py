"""`famus audit --compare`: splits that leak nothing, intervals, the rows, and what is written."""

import csv
import json
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.audit import compare_training as training
from famus_jax.audit.compare import compare
from famus_jax.audit.compare_choice import bootstrap_means, curve_of, ranked, recommendation
from famus_jax.audit.compare_report import lines_of, write_comparison
from famus_jax.audit.compare_split import parts_of
from famus_jax.audit.items import Items
from famus_jax.audit.networks import choose
from famus_jax.audit.run import Audit, Known, nothing_known
from famus_jax.cli import main

CLASSES = ("a", "b")


def clouds(count, seed=0, apart=3.0, wrong=0.25):
    """(items, true labels): two clouds of points, a share of the labels wrong."""
    rng = np.random.default_rng(seed)
    true = np.arange(count) % 2
    inputs = (rng.normal(size=(count, 3)) + apart * true[:, None]).astype(np.float32)
    labels = np.where(rng.random(count) < wrong, 1 - true, true).astype(np.int32)
    ids = np.array([f"i{i:03d}" for i in range(count)])
    return Items("features", inputs, labels, ids, CLASSES, "clouds"), true


def believed(items, true, trusted):
    known = nothing_known(len(items.labels))
    known.right[trusted] = true[trusted]
    known.wrong[trusted] = items.labels[trusted] != true[trusted]
    return known


def audited(items, epochs=3):
    unread: Any = None  # the issues
    return Audit(unread, choose(items.inputs, 2), None, epochs, 0.0)


def test_trusted_labels_are_tested_once_and_never_learned_from_there():
    """Fails if a test example's label, given or trusted, is left in its training."""
    items, true = clouds(100)
    known = believed(items, true, np.arange(30, 75))
    parts, crossed = parts_of(items, known, 90, seed=0)
    assert crossed
    tested = np.concatenate([part.test for part in parts])
    assert sorted(tested) == list(range(30, 75))
    for part in parts:
        assert (part.given[part.test] == -1).all()
        assert (part.right[part.test] == -1).all()
        assert (part.mixed[part.test] == -1).all()
        assert not part.wrong[part.test].any()
        assert (part.test_labels == true[part.test]).all()
        assert (part.given[90:] == -1).all()  # of another source: not the data's own labels
        assert abs(np.bincount(part.test_labels) - len(part.test) / 2).max() <= 1
        learned = np.flatnonzero(part.right != -1)
        assert (part.mixed[learned] == true[learned]).all()
    assert set(parts[0].test) == set(np.flatnonzero(parts[1].right != -1))


def test_without_enough_trusted_labels_a_fifth_of_the_given_ones_is_the_test():
    """Fails if labels that a person has looked at are tested as they were given."""
    items, true = clouds(100)
    known = believed(items, true, np.arange(10))
    (part,), crossed = parts_of(items, known, 100, seed=0)
    assert not crossed
    assert 17 <= len(part.test) <= 20
    assert part.test.min() >= 10
    assert (part.test_labels == items.labels[part.test]).all()
    assert (part.right[:10] == true[:10]).all()


def test_fewer_trusted_labels_are_of_all_classes_and_nested():
    items, true = clouds(100)
    (part, _), _ = parts_of(items, believed(items, true, np.arange(80)), 100, seed=0)
    four, ten = (part.with_trusted(n, items.ids) for n in (4, 10))
    assert np.bincount(four.right[four.right != -1]).tolist() == [2, 2]
    assert (ten.right != -1).sum() == 10
    assert set(np.flatnonzero(four.right != -1)) < set(np.flatnonzero(ten.right != -1))
    decided = np.flatnonzero((part.right != -1) & (four.right == -1))
    assert (four.mixed[decided] == items.labels[decided]).all()  # as if nobody had looked


def test_intervals_against_the_normal_one():
    """A hundred and fifty of two hundred right: 0.75 ± 1.96 sqrt(p q / n)."""
    correct = np.zeros((2, 200), bool)
    correct[0, :150] = True
    correct[1, 10:150] = True
    means = bootstrap_means(correct)
    half = 1.96 * math.sqrt(0.75 * 0.25 / 200)
    rows = ranked("xy", "xy", correct, (0.0, 0.0))
    assert rows[0].low == pytest.approx(0.75 - half, abs=0.012)
    assert rows[0].high == pytest.approx(0.75 + half, abs=0.012)
    # Paired: ten of two hundred differ, which the two intervals by themselves would not show.
    assert rows[1].high > rows[0].low
    assert rows[1].behind == pytest.approx(0.05)
    assert rows[1].behind_low > 0.01
    assert [row.ties for row in rows] == [True, False]
    assert means.shape == (2000, 2)
    np.testing.assert_array_equal(means, bootstrap_means(correct))


def test_the_simplest_that_ties_is_recommended():
    correct = np.zeros((3, 100), bool)
    correct[0, :50] = True
    correct[1, 5:90] = True
    correct[2, :89] = True
    said = recommendation(ranked(("plain", "x", "y"), "abc", correct, (0.0,) * 3))
    assert said.startswith(
        "Recommended: x (85.0%): the simplest that ties with the best, y (89.0%;"
    )
    correct[0, :95] = True
    said = recommendation(ranked(("plain", "x", "y"), "abc", correct, (0.0,) * 3))
    assert said.startswith("Recommended: plain (95.0%): no other row was better")


def test_the_curve_says_whether_more_would_help():
    correct = np.zeros((2, 200), bool)
    correct[0, :100] = True
    correct[1, :140] = True
    assert curve_of([10, 20], correct)[1].startswith("More trusted labels would most likely help")
    same = np.repeat(correct[:1], 2, 0)
    points, said = curve_of([10, 20], same)
    assert "is open" in said  # 3 / 200 is more than one in a hundred
    assert (points[0].trusted, points[0].accuracy) == (10, 0.5)
    assert "hardly" in curve_of([10, 20], np.repeat(same, 4, 1))[1]
    assert "too few" in curve_of([10], correct[:1])[1]


def test_every_batch_is_full_and_every_example_comes_equally_often():
    order = training.batches_of(np.array([3, 5, 9]), 6, 2, seed=0)
    assert order.shape == (6, 2)
    assert np.bincount(order.ravel(), minlength=10)[[3, 5, 9]].tolist() == [4, 4, 4]


def test_early_learning_regularization_by_hand():
    """Fails if the target is of the old step only, or the sign is turned."""
    p, old = np.array([0.8, 0.2]), np.array([0.1, 0.4])
    new = 0.7 * old + 0.3 * p
    target, term = training.early_learning(jnp.log(jnp.asarray([p])), jnp.asarray([old]))
    np.testing.assert_allclose(target[0], new, atol=1e-6)
    assert float(term[0]) == pytest.approx(math.log(1 - (p * new).sum()), abs=1e-5)


@pytest.fixture(scope="module")
def compared():
    """Two clouds, 240 points, a quarter of the labels wrong, 60 trusted."""
    items, true = clouds(240)
    said = []
    found = compare(
        items, audited(items), believed(items, true, np.arange(60)),
        on_steps=lambda *args: said.append(args),
    )  # fmt: skip
    return found, said


@pytest.mark.slow
def test_every_row_is_there_and_learns(compared):
    """Clouds three apart in each of three directions: even few steps tell them apart."""
    found, _ = compared
    names = [row.name for row in found.rows]
    assert names == [
        "plain", "nearest neighbors", "trusted only", "noisy + trusted", "fine-tuned on trusted",
        "mended labels", "ELR", "L2R", "MW-Net",
    ]  # fmt: skip
    assert found.test_size == 60
    for row in found.rows:
        assert row.accuracy > 0.8, row
        assert 0 <= row.low <= row.accuracy <= row.high <= 1, row
        assert row.behind_low <= row.behind <= row.behind_high, row
    assert [point.trusted for point in found.curve] == [10, 20, 30]
    assert any("decisions about your data" in note for note in found.notes)


@pytest.mark.slow
def test_steps_are_counted_to_the_last(compared):
    """Fails if the time left is reckoned from a wrong total."""
    _, said = compared
    assert len({total for _, _, total in said}) == 1
    assert sum(steps for _, steps, _ in said) == said[0][2]


@pytest.mark.slow
def test_what_is_written_and_printed(compared, tmp_path):
    found, _ = compared
    table, whole = write_comparison(tmp_path, found, {"version": "x"})
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [row.name for row in found.rows]
    assert float(rows[0]["accuracy"]) == found.rows[0].accuracy
    read = json.loads(whole.read_text())
    assert read["recommendation"] == found.recommendation
    assert read["curve"][0]["trusted"] == 10
    assert read["version"] == "x"
    lines = lines_of(found)
    assert lines[-1] == found.recommendation
    assert sum("95 % interval" in line for line in lines[:2]) == 1


def test_without_trusted_labels_the_rows_that_need_them_are_left_out():
    items, _ = clouds(80)
    found = compare(items, audited(items, 2), nothing_known(80))
    assert [row.name for row in found.rows] == [
        "plain", "nearest neighbors", "mended labels", "ELR",
    ]  # fmt: skip
    assert found.curve == ()
    assert any("as a rule the accuracies are too low" in note for note in found.notes)
    assert any("left out" in note for note in found.notes)


def test_too_few_labels_are_refused():
    items, _ = clouds(12)
    items = items._replace(labels=np.where(np.arange(12) < 8, items.labels, -1).astype(np.int32))
    with pytest.raises(ValueError, match="too few labels"):
        compare(items, audited(items), Known(np.full(12, -1, np.int32), np.zeros(12, bool)))


def command(folder, capsys, *flags):
    """`famus audit --compare` of sixty-four points, and the compare.json that it leaves."""
    items, _ = clouds(64)
    np.savez(folder / "set.npz", features=items.inputs, labels=items.labels)
    words = [f"--workdir={folder / 'out'}", "--compare", "--minutes=0.01", *flags]
    assert main(["famus", "audit", str(folder / "set.npz"), *words]) == 0
    assert "Recommended: " in capsys.readouterr().out
    assert (folder / "out" / "compare.csv").exists()
    return json.loads((folder / "out" / "compare.json").read_text())


@pytest.mark.slow
def test_the_command_writes_the_comparison(tmp_path, capsys):
    """Fails if the flag is not wired."""
    found = command(tmp_path, capsys)
    assert found["test"].startswith("given labels")
    assert len(found["rows"]) == 4


@pytest.mark.slow
def test_the_command_with_trusted_examples_of_another_source(tmp_path, capsys):
    """Fails if these are not told from the data itself."""
    more, true = clouds(44, seed=1)
    np.savez(tmp_path / "trusted.npz", features=more.inputs, labels=true)
    found = command(tmp_path, capsys, f"--trusted={tmp_path / 'trusted.npz'}")
    assert found["test_size"] == 44
    assert found["test"].startswith("trusted labels")
    assert len(found["rows"]) == 9
    assert not any("decisions about your data" in note for note in found["notes"])
