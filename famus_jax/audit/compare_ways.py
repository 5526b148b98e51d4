"""The rows of a comparison, the simplest first.

What a row learns from:

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

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from famus_jax.audit import compare_training as training
from famus_jax.audit.compare_split import Part
from famus_jax.audit.items import UNLABELED, Items
from famus_jax.audit.run import NETWORKS, Known, audit, mended_labels
from famus_jax.methods import l2r, mwnet

PER_CLASS = 2  # trusted labels to learn from, on average
NEIGHBORS = 10
_TUNED = 0.25  # share of the steps of fine-tuning


class Way(NamedTuple):
    """A row to be: `run(part, seed)` gives probabilities [n, C] of the part's test."""

    name: str
    labels: str
    run: Callable[[Part, int], np.ndarray]
    cost: int  # in steps
    curve: bool = False  # whether it may be the curve's


def ways_of(
    items: Items,
    data: np.ndarray,
    setting: training.Setting,
    parts: tuple[Part, ...],
    trusted: int,
    seconds: float | None,
    tell: Callable[[str, int], None],
) -> list[Way]:
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
            noisy = np.where((part.right != UNLABELED) | part.wrong, UNLABELED, part.given)
            noisy = noisy if (noisy != UNLABELED).any() else part.mixed
            variables = training.train_with_meta(
                step, setting, data, np.where(part.right != UNLABELED, part.right, noisy),
                _batches(noisy, setting, setting.steps, seed),
                np.flatnonzero(part.right != UNLABELED), seed=seed,
                on_steps=lambda steps: tell(name, steps),
            )  # fmt: skip
            return training.probabilities_at(setting, variables, data, part.test)

        return run

    def mended_of(part: Part) -> np.ndarray:
        return _mended(items, data, part, setting, seconds, lambda n: tell("mended labels", n))

    some = any((part.right != UNLABELED).any() for part in parts)
    mixed = "given and trusted" if some else "given"
    ways = [
        Way("plain", "given", trained("plain", lambda part: part.given), setting.steps),
        Way("nearest neighbors", mixed, lambda part, _: _neighbors(data, part, setting), 0),
    ]
    enough = trusted >= PER_CLASS * setting.num_classes
    if enough:
        for name, labels, labels_of, tuned in (
            ("trusted only", "trusted", lambda part: part.right, False),
            ("noisy + trusted", mixed, lambda part: part.mixed, False),
            ("fine-tuned on trusted", mixed, lambda part: part.mixed, True),
        ):
            run = trained(name, labels_of, tuned=tuned)
            ways.append(Way(name, labels, run, setting.steps, curve=True))
    if all(_auditable(part) for part in parts):
        ways.append(
            Way(
                "mended labels", f"{mixed}, mended", trained("mended labels", mended_of),
                (1 + NETWORKS) * setting.steps,
            )
        )  # fmt: skip
    strength = training.ELR_STRENGTH
    run = trained("ELR", lambda part: part.mixed, strength=strength)
    ways.append(Way("ELR", mixed, run, setting.steps))
    if enough:
        for name, method in (("L2R", l2r()), ("MW-Net", mwnet())):
            run = weighted(name, training.meta_step(setting, method))
            ways.append(Way(name, "given, weighted by trusted", run, setting.steps, curve=True))
    return ways


def _batches(labels: np.ndarray, setting: training.Setting, steps: int, seed: int) -> np.ndarray:
    at = np.flatnonzero(labels != UNLABELED)
    return training.batches_of(at, steps, setting.batch, seed)


def _neighbors(data: np.ndarray, part: Part, setting: training.Setting) -> np.ndarray:
    """Votes, by the cosine of centered inputs."""
    from sklearn.neighbors import KNeighborsClassifier

    labels = part.mixed
    at = np.flatnonzero(labels != UNLABELED)
    rows = data.reshape(len(data), -1).astype(np.float32)
    rows = rows - rows[at].mean(0)
    near = KNeighborsClassifier(min(NEIGHBORS, len(at)), metric="cosine", algorithm="brute")
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
    given = np.where(part.given == UNLABELED, part.right, part.given)[kept]
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
    labels = np.full(len(data), UNLABELED, np.int32)
    labels[kept] = mended_labels(found.issues, given)
    return labels if (labels != UNLABELED).any() else part.mixed


def _auditable(part: Part) -> bool:
    labels = part.mixed[part.mixed != UNLABELED]
    return len(labels) >= 2 * NETWORKS and len(np.unique(labels)) > 1
