"""`famus audit --compare`: ways to train on these very data, side by side.

Every row is the same network (but for the neighbors) with the same number of steps; rows stand in the
order of simplicity, see `compare_ways`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from famus_jax.audit import compare_training as training
from famus_jax.audit.compare_choice import Point, Row, curve_of, ranked, recommendation
from famus_jax.audit.compare_split import ENOUGH_FOR_TEST, Part, parts_of
from famus_jax.audit.compare_ways import NEIGHBORS, PER_CLASS, Way, ways_of
from famus_jax.audit.items import UNLABELED, Items
from famus_jax.audit.run import NETWORKS, Audit, Known

CURVE = (10, 20, 50, 100)

OnSteps = Callable[[str, int, int], None]


class Comparison(NamedTuple):
    """What `compare` found.

    Attributes:
      rows: in the order of simplicity.
      recommendation: one sentence.
      test: what the accuracies were measured on, in words.
      test_size: examples.
      steps: of every training.
      curve_row: name of the row with which the curve was made; "" where there is none.
      curve: accuracy by the number of trusted labels; ().
      curve_says: whether more would help.
      notes: what to know before reading the table.
    """

    rows: tuple[Row, ...]
    recommendation: str
    test: str
    test_size: int
    steps: int
    curve_row: str
    curve: tuple[Point, ...]
    curve_says: str
    notes: tuple[str, ...]


def compare(
    items: Items,
    found: Audit,
    known: Known,
    *,
    own: int | None = None,
    features: np.ndarray | None = None,
    seed: int = 0,
    seconds: float | None = None,
    on_steps: OnSteps | None = None,
) -> Comparison:
    """Trains in all the ways that the labels allow, and tests on what none of them has seen.

    Args:
      items, known, features: as `audit` was given them.
      found: what it found; its network and number of epochs are used.
      own: how many examples are the data itself, before trusted ones of another source; None: all.
      seed: of splits, networks, and the bootstrap.
      seconds: as `audit` was given them, for the audit that is one of the rows.
      on_steps: called with the row, the steps since the last call and those that there are in all.

    Raises:
      ValueError: fewer than ten examples with a label to split.
    """
    data = items.inputs if features is None else np.asarray(features, np.float32)
    own = len(items.labels) if own is None else own
    seed %= 2**31  # generators take no number below 0
    parts, crossed = parts_of(items, known, own, seed)
    _check(items, parts)
    least = min(int((part.mixed != UNLABELED).sum()) for part in parts)
    setting = training.setting_of(found.choice, len(items.class_names), found.epochs, least)
    trusted = min(int((part.right != UNLABELED).sum()) for part in parts)
    ways = ways_of(items, data, setting, parts, trusted, seconds, lambda *done: tell(*done))
    sizes = [n for n in CURVE if len(items.class_names) <= n < trusted]
    total = len(parts) * sum(way.cost for way in ways)
    if any(way.curve for way in ways):
        total += len(parts) * len(sizes) * setting.steps

    def tell(name: str, steps: int) -> None:
        if on_steps is not None:
            on_steps(name, steps, total)

    def correct_of(way: Way, changed: Callable[[Part], Part] = lambda part: part) -> np.ndarray:
        return np.concatenate([
            way.run(changed(part), seed + p).argmax(1) == part.test_labels
            for p, part in enumerate(parts)
        ])  # fmt: skip

    correct, took = [], []
    for way in ways:
        start = time.monotonic()
        correct.append(correct_of(way))
        took.append(time.monotonic() - start)
    rows = ranked(
        [w.name for w in ways], [w.labels for w in ways], np.array(correct), took, seed=seed
    )
    able = [(rows[i].accuracy, -i) for i, way in enumerate(ways) if way.curve]
    curve, says, of = (), "There are too few trusted labels for a curve.", ""
    if able:
        i = -max(able)[1]
        several = [
            correct_of(ways[i], lambda part, n=n: part.with_trusted(n, items.ids)) for n in sizes
        ]
        of = ways[i].name
        curve, says = curve_of([*sizes, trusted], np.array([*several, correct[i]]), seed=seed)
    test, notes = _said(crossed, known, own, trusted, bool(able), parts)
    count = sum(len(part.test) for part in parts)
    return Comparison(
        rows, recommendation(rows), test, count, setting.steps, of, curve, says, notes
    )


def _check(items: Items, parts: tuple[Part, ...]) -> None:
    for part in parts:
        if not len(part.test) or (part.given != UNLABELED).sum() < 2 * NETWORKS:
            raise ValueError(
                f"{items.name} has too few labels for a comparison: it takes at least ten, a part of "
                "them for the test"
            )


def _said(
    crossed: bool, known: Known, own: int, trusted: int, used: bool, parts: tuple[Part, ...]
) -> tuple[str, tuple[str, ...]]:
    """The test in words, and what to know of it."""
    notes = [
        "Same network and same number of steps for every row, but for nearest neighbors, which trains "
        f"none; mended labels needs {NETWORKS} networks more, that look for the wrong labels."
    ]
    if crossed:
        test = "trusted labels, each tested once by networks that learned from the other half"
        if (known.right[:own] != UNLABELED).any():
            notes.append(
                "Some of the test are decisions about your data: if you decided about the most "
                "suspicious examples, these are harder than others, and the accuracies lower."
            )
    else:
        test = "given labels that were held out (a fifth)"
        notes.append(
            f"There are fewer than {ENOUGH_FOR_TEST} trusted labels, so that the test has the given "
            "ones, some of them wrong: as a rule the accuracies are too low, for every row."
        )
    if not used:
        notes.append(
            f"Rows that learn from trusted labels are left out: there are {trusted} to learn from, and "
            f"it takes {PER_CLASS} per class on average."
        )
    if sum(len(part.test) for part in parts) < 2 * NEIGHBORS:
        notes.append("The test is tiny: the intervals say nearly nothing.")
    return test, tuple(notes)
