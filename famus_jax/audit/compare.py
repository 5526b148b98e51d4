"""`famus audit --compare`: ways to train on these very data, side by side.

Every row is the same network (but for the neighbors) with the same number of steps; rows stand in the
order of simplicity. What a row learns from:

  plain            the given labels, with cross-entropy
  neighbors        a vote of the ten nearest examples
  trusted only     the trusted labels (half of them, where the other half is the test)
  + trusted        the given labels, those that a person has decided corrected
  fine-tuned       the same, then a quarter of the steps on the trusted ones alone
  mended           the labels as an audit of the training examples mends them
  ELR              as `+ trusted`, with early-learning regularization
  L2R, MW-Net      the given labels, weighted by what helps on the trusted ones
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from famus_jax.audit import compare_training as training
from famus_jax.audit.compare_choice import Point, Row, curve_of, ranked, recommendation
from famus_jax.audit.compare_split import ENOUGH_FOR_TEST, Part, parts_of
from famus_jax.audit.items import UNLABELLED, Items
from famus_jax.audit.run import NETWORKS, Audit, Known, audit, mended_labels
from famus_jax.methods import l2r, mwnet

CURVE = (10, 20, 50, 100)
_PER_CLASS = 2  # trusted labels to learn from, on average
_NEIGHBORS = 10
_TUNED = 0.25  # share of the steps of fine-tuning

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


class _Way(NamedTuple):
    """A row to be: `run(part, seed)` gives probabilities [n, C] of the part's test."""

    name: str
    labels: str
    run: Callable[[Part, int], np.ndarray]
    cost: int  # in steps
    curve: bool = False  # whether it may be the curve's


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
    parts, crossed = parts_of(items, known, own, seed)
    _check(items, parts)
    least = min(int((part.mixed != UNLABELLED).sum()) for part in parts)
    setting = training.setting_of(found.choice, len(items.class_names), found.epochs, least)
    trusted = min(int((part.right != UNLABELLED).sum()) for part in parts)
    ways = _ways(items, data, setting, parts, trusted, seconds, lambda *done: tell(*done))
    sizes = [n for n in CURVE if len(items.class_names) <= n < trusted]
    total = len(parts) * sum(way.cost for way in ways)
    if any(way.curve for way in ways):
        total += len(parts) * len(sizes) * setting.steps

    def tell(name: str, steps: int) -> None:
        if on_steps is not None:
            on_steps(name, steps, total)

    def correct_of(way: _Way, changed: Callable[[Part], Part] = lambda part: part) -> np.ndarray:
        return np.concatenate([
            way.run(changed(part), seed * 100 + p).argmax(1) == part.test_labels
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


def _ways(
    items: Items,
    data: np.ndarray,
    setting: training.Setting,
    parts: tuple[Part, ...],
    trusted: int,
    seconds: float | None,
    tell: Callable[[str, int], None],
) -> list[_Way]:
    """The rows that these labels allow, the simplest first."""

    def trained(name: str, labels_of: Callable[[Part], np.ndarray], *, tuned=False, strength=0.0):
        def run(part: Part, seed: int) -> np.ndarray:
            labels = labels_of(part)
            tuning = int(_TUNED * setting.steps) if tuned else 0
            order = _batches(labels, setting, setting.steps - tuning, seed)
            if tuning:
                order = np.concatenate([order, _batches(part.right, setting, tuning, seed)])
            variables = training.train(
                setting, data, labels, order, seed=seed, strength=strength,
                on_steps=lambda steps: tell(name, steps),
            )  # fmt: skip
            return training.probabilities_at(setting, variables, data, part.test)

        return run

    def weighted(name: str, step: training.TrainStep):
        def run(part: Part, seed: int) -> np.ndarray:
            noisy = np.where((part.right != UNLABELLED) | part.wrong, UNLABELLED, part.given)
            noisy = noisy if (noisy != UNLABELLED).any() else part.mixed
            variables = training.train_with_meta(
                step, setting, data, np.where(part.right != UNLABELLED, part.right, noisy),
                _batches(noisy, setting, setting.steps, seed),
                np.flatnonzero(part.right != UNLABELLED), seed=seed,
                on_steps=lambda steps: tell(name, steps),
            )  # fmt: skip
            return training.probabilities_at(setting, variables, data, part.test)

        return run

    def mended_of(part: Part) -> np.ndarray:
        return _mended(items, data, part, setting, seconds, lambda n: tell("mended labels", n))

    some = any((part.right != UNLABELLED).any() for part in parts)
    mixed = "given and trusted" if some else "given"
    ways = [
        _Way("plain", "given", trained("plain", lambda part: part.given), setting.steps),
        _Way("nearest neighbors", mixed, lambda part, _: _neighbors(data, part, setting), 0),
    ]
    enough = trusted >= _PER_CLASS * setting.num_classes
    if enough:
        for name, labels, labels_of, tuned in (
            ("trusted only", "trusted", lambda part: part.right, False),
            ("noisy + trusted", mixed, lambda part: part.mixed, False),
            ("fine-tuned on trusted", mixed, lambda part: part.mixed, True),
        ):
            run = trained(name, labels_of, tuned=tuned)
            ways.append(_Way(name, labels, run, setting.steps, curve=True))
    if all(_auditable(part) for part in parts):
        ways.append(
            _Way(
                "mended labels", f"{mixed}, mended", trained("mended labels", mended_of),
                (1 + NETWORKS) * setting.steps,
            )
        )  # fmt: skip
    strength = training.ELR_STRENGTH
    run = trained("ELR", lambda part: part.mixed, strength=strength)
    ways.append(_Way("ELR", mixed, run, setting.steps))
    if enough:
        for name, method in (("L2R", l2r()), ("MW-Net", mwnet())):
            run = weighted(name, training.meta_step(setting, method))
            ways.append(_Way(name, "given, weighted by trusted", run, setting.steps, curve=True))
    return ways


def _batches(labels: np.ndarray, setting: training.Setting, steps: int, seed: int) -> np.ndarray:
    at = np.flatnonzero(labels != UNLABELLED)
    return training.batches_of(at, steps, setting.batch, seed)


def _neighbors(data: np.ndarray, part: Part, setting: training.Setting) -> np.ndarray:
    """Votes, by the cosine of centered inputs."""
    from sklearn.neighbors import KNeighborsClassifier

    labels = part.mixed
    at = np.flatnonzero(labels != UNLABELLED)
    rows = data.reshape(len(data), -1).astype(np.float32)
    rows = rows - rows[at].mean(0)
    near = KNeighborsClassifier(min(_NEIGHBORS, len(at)), metric="cosine", algorithm="brute")
    near.fit(rows[at], labels[at])
    found = np.zeros((len(part.test), setting.num_classes))
    found[:, near.classes_] = near.predict_proba(rows[part.test])
    return found


def _mended(
    items: Items,
    data: np.ndarray,
    part: Part,
    setting: training.Setting,
    seconds: float | None,
    on_steps: training.OnSteps,
) -> np.ndarray:
    """int32 [N]: labels mended by an audit that sees nothing of the test."""
    kept = np.flatnonzero(part.trained_on)
    given = np.where(part.given == UNLABELLED, part.right, part.given)[kept]
    inside = Items(
        items.kind, items.inputs[kept], given, items.ids[kept], items.class_names, items.name
    )
    told, whole = 0, NETWORKS * setting.steps

    def on_epoch(_: str, done: int, of: int) -> None:
        nonlocal told
        now = whole * done // of
        on_steps(max(0, now - told))
        told = max(told, now)

    found = audit(
        inside, features=data[kept], known=Known(part.right[kept], part.wrong[kept]), final=False,
        seconds=None if seconds is None else 0.75 * seconds, on_epoch=on_epoch,
    )  # fmt: skip
    labels = np.full(len(data), UNLABELLED, np.int32)
    labels[kept] = mended_labels(found.issues, given)
    return labels


def _auditable(part: Part) -> bool:
    labels = part.mixed[part.mixed != UNLABELLED]
    return len(labels) >= 2 * NETWORKS and len(np.unique(labels)) > 1


def _check(items: Items, parts: tuple[Part, ...]) -> None:
    for part in parts:
        if not len(part.test) or (part.given != UNLABELLED).sum() < 2 * NETWORKS:
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
        if (known.right[:own] != UNLABELLED).any():
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
            f"it takes {_PER_CLASS} per class on average."
        )
    if sum(len(part.test) for part in parts) < 2 * _NEIGHBORS:
        notes.append("The test is tiny: the intervals say nearly nothing.")
    return test, tuple(notes)
