"""An audit: networks in folds, evidence, label issues, and a network trained on what is left."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.audit.folds import Folds, make_folds
from famus_jax.audit.gather import gather
from famus_jax.audit.items import UNLABELED, Items
from famus_jax.audit.networks import Choice, choose
from famus_jax.audit.training import predict, train_folds
from famus_jax.evidence.label_issues import label_issues
from famus_jax.evidence.types import LabelIssues
from famus_jax.printable import printable

NETWORKS = 4
SURE_SUGGESTION = 0.5  # a suggestion below this is not trained on; the example is left out


class Known(NamedTuple):
    """What a person says of N labels.

    Attributes:
      right: int32 [N], the right label; -1 where nobody has said it.
      wrong: bool [N], the given label is wrong; also where the right one is another.
      added: bool [N], examples that are no part of the data, with right labels that nobody had to
        decide about. None: there are none.
    """

    right: np.ndarray
    wrong: np.ndarray
    added: np.ndarray | None = None


def nothing_known(count: int) -> Known:
    """Nobody has looked at any of `count` labels."""
    return Known(np.full(count, UNLABELED, np.int32), np.zeros(count, bool))


class Audit(NamedTuple):
    """What `audit` found.

    Attributes:
      issues: see `LabelIssues`.
      choice: the network and its schedule.
      variables: of a network of the same kind, trained on `mended_labels`; None if none was asked for,
        or no label is sure enough to train on.
      epochs: that were run.
      seconds: that training took.
    """

    issues: LabelIssues
    choice: Choice
    variables: Any
    epochs: int
    seconds: float


def audit(
    items: Items,
    *,
    features: np.ndarray | None = None,
    known: Known | None = None,
    final: bool = True,
    seed: int = 0,
    seconds: float | None = None,
    on_epoch: Callable[[str, int, int], None] | None = None,
) -> Audit:
    """Finds the labels that are likely wrong.

    Args:
      items: images or features; texts need `features`.
      features: float [N, D], of a pretrained network or of texts; the networks then see these.
      known: what a person says of labels; None: nothing.
      final: whether to train a network on the mended labels in the end.
      seed: of folds, of corrupted labels, of networks.
      seconds: at most about so many for training; None: no limit.
      on_epoch: called with the stage, the epochs that are done and those that there are.

    Raises:
      ValueError: inputs, labels or decisions of other shapes or ranges; fewer than two classes with
        labels; fewer labels than two for each network.
      FloatingPointError: the networks diverged.
    """
    data = items.inputs if features is None else np.asarray(features, np.float32)
    if data.dtype == object:
        raise ValueError("texts need features: see famus_jax.audit.text_features")
    labels, num_classes = items.labels, len(items.class_names)
    known = nothing_known(len(labels)) if known is None else known
    if not len(known.right) == len(known.wrong) == len(labels):
        raise ValueError(
            f"known speaks of {len(known.right)} and {len(known.wrong)} labels; there are {len(labels)}"
        )
    trained_on = np.where(known.wrong, UNLABELED, labels).astype(np.int32)
    trained_on = np.where(known.right != UNLABELED, known.right, trained_on).astype(np.int32)
    _check(items, data, trained_on)
    share = 0.75 if final else 1.0
    choice = choose(data, num_classes, None if seconds is None else share * seconds)
    on_device = jnp.asarray(data)

    def stage(name: str) -> Callable[[int, int], None] | None:
        return functools.partial(on_epoch, name) if on_epoch is not None else None

    folds = make_folds(
        trained_on,
        items.ids,
        num_classes,
        count=NETWORKS,
        seed=seed,
        spared=known.wrong,
        judged=np.where(known.wrong, labels, UNLABELED) if known.wrong.any() else None,
    )
    trained = train_folds(
        choice.module, on_device, choice.inputs, folds, num_classes, choice.plan,
        seed=seed, on_epoch=stage("networks in folds"),
    )  # fmt: skip
    evidence = gather(trained, folds, trained_on, labels, data)
    trusted = (known.right == labels) & (labels != UNLABELED)
    issues = label_issues(
        evidence, labels, trusted=trusted, known_wrong=known.wrong, added=known.added, seed=seed
    )
    issues = _said(issues, known)
    variables, epochs, took = None, trained.epochs, trained.seconds
    mended = mended_labels(issues, labels)
    if final and (mended >= 0).any():
        alone = Folds((mended >= 0)[None], mended[None], np.zeros((1, len(mended)), bool))
        plan = choice.plan._replace(
            skipped=1.0,  # nobody asks what it says of the others
            seconds=None if seconds is None else seconds - took,
        )
        last = train_folds(
            choice.module, on_device, choice.inputs, alone, num_classes, plan,
            seed=seed + 1, on_epoch=stage("the network on mended labels"),
        )  # fmt: skip
        variables = _first(last.variables)
        took += last.seconds
    return Audit(issues, choice, variables, epochs, took)


def _said(issues: LabelIssues, known: Known) -> LabelIssues:
    """The suggestion is what a person says, where one says it."""
    said = known.right != UNLABELED
    return issues._replace(
        suggested_label=np.where(said, known.right, issues.suggested_label).astype(np.int32),
        p_suggested=np.where(said, 1.0, issues.p_suggested),
    )


def mended_labels(issues: LabelIssues, labels: np.ndarray) -> np.ndarray:
    """int32 [N]: the suggestion where the label is an issue and one is likely; -1: leave it out."""
    likely = issues.p_suggested > SURE_SUGGESTION
    changed = np.where(likely, issues.suggested_label, UNLABELED)
    unlabeled = labels == UNLABELED
    return np.where(issues.is_label_issue | unlabeled, changed, labels).astype(np.int32)


def probabilities(found: Audit, rows: np.ndarray) -> np.ndarray:
    """float32 [n, C] of the final network, for new images or features of the same kind.

    Raises:
      ValueError: the audit trained no final network.
    """
    if found.variables is None:
        raise ValueError(
            "this audit trained no final network: call audit(..., final=True), and with more labels if "
            "none was sure enough"
        )
    at = np.arange(len(rows))
    return predict(found.choice.module, found.variables, rows, found.choice.inputs, at)


def _first(stacked: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], stacked)


def _check(items: Items, data: np.ndarray, labels: np.ndarray) -> None:
    num_classes = len(items.class_names)

    def named(position: int) -> str:
        return repr(printable(str(items.ids[position])))

    if data.ndim not in (2, 4) or len(data) != len(labels):
        raise ValueError(
            f"inputs of the shape {data.shape}; expected images [N, H, W, C] or features [N, D] for "
            f"{len(labels)} labels"
        )
    if data.dtype.kind == "f":
        odd = np.flatnonzero(~np.isfinite(data.reshape(len(data), -1)).all(1))
        if odd.size:
            raise ValueError(
                f"the features of {named(odd[0])} are not finite ({odd.size} such examples): "
                "leave it out, or mend the features"
            )
    odd = np.flatnonzero((labels < UNLABELED) | (labels >= num_classes))
    if odd.size:
        raise ValueError(
            f"label {labels[odd[0]]} of {named(odd[0])} is none of the {num_classes} classes "
            f"({odd.size} such; -1 marks an example without a label)"
        )
    usable = labels != UNLABELED
    there = np.unique(labels[usable])
    if len(there) < 2:
        one = items.class_names[int(there[0])] if len(there) else None
        raise ValueError(
            f"all labels of {items.name} are {one!r}: with one class there is nothing to compare"
            if len(there)
            else f"{items.name} has no labels: label some examples, in two classes or more"
        )
    if usable.sum() < 2 * NETWORKS:
        raise ValueError(
            f"{items.name} has {usable.sum()} labels that are not known to be wrong; an audit needs "
            f"{2 * NETWORKS} or more: label some"
        )
