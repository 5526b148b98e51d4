"""What a person says of labels: decisions, and other data whose labels are trusted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from famus_jax.audit.decisions import RELABEL, RIGHT, Decision, read_decisions
from famus_jax.audit.items import UNLABELED, Items
from famus_jax.audit.run import Audit, Known, nothing_known
from famus_jax.data.hashing import hash_order
from famus_jax.evidence.confident import confident_joint
from famus_jax.evidence.types import LabelIssues


def known_by_decisions(path: Path, items: Items) -> Known:
    """What the file of decisions says of the labels of `items`.

    Raises what `read_decisions` raises.
    """
    known = nothing_known(len(items.labels))
    of_id = {str(name): at for at, name in enumerate(items.ids)}
    of_class = {name: c for c, name in enumerate(items.class_names)}
    for name, decision in read_decisions(path, items.ids, items.class_names, items.labels).items():
        at = of_id[name]
        if decision.decision == RIGHT:
            known.right[at] = items.labels[at]
        elif decision.decision == RELABEL:
            known.right[at] = of_class[decision.new_label]
        known.wrong[at] = items.labels[at] != UNLABELED and decision.decision != RIGHT
    return known


def with_trusted(items: Items, trusted: Items, known: Known) -> tuple[Items, Known]:
    """The data with trusted examples behind them, whose ids get "trusted/" before them.

    Raises:
      ValueError: trusted data of another kind or shape, or without any label.
    """
    labeled = trusted.labels != UNLABELED
    if not labeled.any():
        raise ValueError(f"{trusted.name}: no trusted example has a label")
    if trusted.kind != items.kind or trusted.inputs.shape[1:] != items.inputs.shape[1:]:
        raise ValueError(
            f"{trusted.name} has {_what(trusted)}, {items.name} {_what(items)}: trusted data must be "
            "of the same kind and size (--size fits images to one)"
        )
    ids = np.char.add("trusted/", trusted.ids[labeled].astype(np.str_))
    joined = items._replace(
        inputs=np.concatenate([items.inputs, trusted.inputs[labeled]]),
        labels=np.concatenate([items.labels, trusted.labels[labeled]]).astype(np.int32),
        ids=np.concatenate([items.ids, ids]),
        paths=(*items.paths, *np.asarray(trusted.paths, object)[labeled]) if items.paths else (),
    )
    more = int(labeled.sum())
    right = np.concatenate([known.right, trusted.labels[labeled]]).astype(np.int32)
    wrong = np.concatenate([known.wrong, np.zeros(more, bool)])
    return joined, Known(right, wrong, np.arange(len(right)) >= len(known.right))


def of_the_first(count: int, found: Audit, labels: np.ndarray) -> Audit:
    """Without the trusted examples that were added at the end: nobody asked about these.

    Args:
      count: how many were there before.
      found: of all.
      labels: int [count], those that were there.
    """
    issues = found.issues
    if len(issues.rank) == count:
        return found
    per_example = {
        name: getattr(issues, name)[:count]
        for name in (
            "p_wrong", "rank", "suggested_label", "p_suggested", "fits_no_class", "is_label_issue",
            "probabilities",
        )
    }  # fmt: skip
    order = np.argsort(np.where(per_example["rank"] > 0, per_example["rank"], len(issues.rank) + 1))
    rank = np.zeros(count, np.int64)
    rank[order] = np.arange(1, count + 1)
    per_example["rank"] = np.where(per_example["rank"] > 0, rank, 0)
    evidence = {name: values[:count] for name, values in issues.evidence.items()}
    groups = tuple(g for g in issues.summary.duplicates if max(g) < count)
    p_wrong, p = per_example["p_wrong"], per_example["probabilities"].astype(np.float64)
    labeled = labels != UNLABELED
    # Trusted labels have no share in what is wrong: without them the share is larger by so much.
    larger = np.isfinite(issues.p_wrong).sum() / max(np.isfinite(p_wrong).sum(), 1)
    summary = issues.summary._replace(
        duplicates=groups,
        share_wrong=min(float(issues.summary.share_wrong * larger), 1.0),
        share_low=min(float(issues.summary.share_low * larger), 1.0),
        share_high=min(float(issues.summary.share_high * larger), 1.0),
        confusion=confident_joint(p[labeled], labels[labeled]),
    )
    return found._replace(issues=issues._replace(**per_example, evidence=evidence, summary=summary))


def proposed(items: Items, issues: LabelIssues, known: Known, count: int) -> list[Decision]:
    """The examples that a person should look at first, with empty decisions, in turns of two kinds.

    One kind is the labels of which it is most open whether they are right, class by class in turn, so
    that every class gets its share: they tell most about single labels. The other is drawn at random:
    only these tell how many labels are wrong where wrong ones look right. A list that is cut short
    has both.
    """
    open_ = np.flatnonzero(~known.wrong & (known.right == UNLABELED))
    doubt = np.abs(np.nan_to_num(issues.p_wrong[open_], nan=0.5) - 0.5)
    order = open_[np.lexsort((issues.rank[open_], doubt))]
    queues = [
        [int(at) for at in order if issues.suggested_label[at] == c]
        for c in range(len(items.class_names))
    ]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*queues))
    doubtful = [at for at in turns if at is not None]
    labeled = open_[items.labels[open_] != UNLABELED]
    drawn = labeled[hash_order(0, "audit_proposed", items.ids[labeled])]
    both = itertools.chain.from_iterable(itertools.zip_longest(doubtful, drawn.tolist()))
    chosen = dict.fromkeys(at for at in both if at is not None)
    return [
        Decision(str(items.ids[at]), _name(items, at), "") for at in itertools.islice(chosen, count)
    ]


def decisions_of(items: Items, known: Known) -> dict[str, tuple[str, str]]:
    """What is known, as the page takes it: id -> (decision, new label)."""
    found = {}
    for at in np.flatnonzero(known.wrong | (known.right != UNLABELED)):
        right, label = int(known.right[at]), int(items.labels[at])
        if right == UNLABELED:
            found[str(items.ids[at])] = ("wrong", "")
        elif right == label:
            found[str(items.ids[at])] = (RIGHT, "")
        else:
            found[str(items.ids[at])] = (RELABEL, items.class_names[right])
    return found


def _name(items: Items, at: int) -> str:
    label = int(items.labels[at])
    return "" if label == UNLABELED else items.class_names[label]


def _what(items: Items) -> str:
    shape: Sequence[int] = items.inputs.shape[1:]
    return items.kind + (f" of the shape {list(shape)}" if shape else "")
