"""What an audit leaves for people: `audit.html`, `audit.json`, and the lines on the screen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from famus_jax.audit.items import UNLABELED, Items
from famus_jax.audit.known import decisions_of
from famus_jax.audit.page import Fact, page_content, thumbnail
from famus_jax.audit.page_data import Row
from famus_jax.audit.run import Audit, Known
from famus_jax.evidence.score import SCORED
from famus_jax.evidence.types import Summary

MOST_ROWS = 5000  # of the page; the tables have all


def page_of(items: Items, found: Audit, known: Known, warnings: list[str]) -> bytes:
    """The page with the most suspicious examples, at most `MOST_ROWS`, and all that are decided."""
    issues, names = found.issues, items.class_names
    decided = known.wrong | (known.right != UNLABELED)
    last = len(items.labels) + 1
    order = np.argsort(np.where(issues.rank > 0, issues.rank, last), kind="stable")
    first = np.zeros(len(order), bool)
    first[order[:MOST_ROWS]] = True
    shown = [int(at) for at in order if first[at] or decided[at]]
    rows = [
        Row(
            rank=int(issues.rank[at]),
            id=str(items.ids[at]),
            label="" if items.labels[at] == UNLABELED else names[int(items.labels[at])],
            p_wrong=float(issues.p_wrong[at]),
            suggested_label=names[int(issues.suggested_label[at])],
            p_suggested=float(issues.p_suggested[at]),
            fits_no_class=bool(issues.fits_no_class[at]),
            is_label_issue=bool(issues.is_label_issue[at]),
            evidence={name: float(values[at]) for name, values in issues.evidence.items()},
            picture=thumbnail(items.inputs[at]) if items.kind == "images" else None,
            text=str(items.inputs[at]) if items.kind == "texts" else None,
        )
        for at in shown
    ]
    return page_content(
        title=items.name,
        rows=rows,
        class_names=names,
        facts=facts_of(items, found, known),
        warnings=warnings,
        confusion=issues.summary.confusion,
        decisions=decisions_of(items, known),
    )


def facts_of(items: Items, found: Audit, known: Known) -> list[Fact]:
    """The numbers about the whole set."""
    summary, labeled = found.issues.summary, int((items.labels != UNLABELED).sum())
    facts = [
        Fact("Labels", f"{labeled:,}", f"in {len(items.class_names)} classes"),
        Fact(
            "Wrong labels",
            f"about {summary.share_wrong:.1%}",
            f"estimated; 95 % interval {summary.share_low:.1%} to {summary.share_high:.1%}"
            + _of_what(known),
        ),
        Fact("Label issues", f"{summary.num_issues:,}", "more likely wrong than right"),
        Fact("Worst class", *_worst_class(items, summary)),
    ]
    if len(items.labels) > labeled:
        facts.append(
            Fact("Without a label", f"{len(items.labels) - labeled:,}", "they get a suggestion")
        )
    if loners := int(found.issues.fits_no_class.sum()):
        facts.append(Fact("Fit no class", f"{loners:,}", "unlike all other examples"))
    if summary.duplicates:
        facts.append(
            Fact(
                "Near-duplicates",
                f"{len(summary.duplicates):,} groups",
                "all but the same, with different labels",
            )
        )
    decided = int((known.wrong | (known.right != UNLABELED)).sum())
    if decided:
        facts.append(
            Fact("Decided", f"{decided:,}", "by a person; the others follow from these too")
        )
    tested = [t for t in summary.self_tests if math.isfinite(t.auroc)]
    if tested:
        facts.append(
            Fact(
                "Self-test",
                ", ".join(f"{t.name} {t.auroc:.2f}" for t in tested),
                "AUROC: how often a label that was corrupted on purpose looks worse than another "
                "(0.50: as a coin)",
            )
        )
    facts.append(Fact("Network", found.choice.why, f"{found.epochs} epochs, {found.seconds:.0f} s"))
    return facts


def _of_what(known: Known) -> str:
    """What the interval of the share holds and what it leaves out."""
    if known.wrong.any() and ((known.right != UNLABELED) & ~known.wrong).any():
        return ", by the decisions if there are ten or more"
    return (
        "; labels that are wrong by a rule look right, and only decisions and trusted examples tell "
        "of them"
    )


def _worst_class(items: Items, summary: Summary) -> tuple[str, str]:
    given = np.maximum(summary.confusion.sum(0), 1)
    wrong = 1 - np.diag(summary.confusion) / given
    worst = int(wrong.argmax())
    column = summary.confusion[:, worst].copy()
    column[worst] = 0
    if column.sum() < 1:
        return "none", "no label of a class stands out"
    return (
        items.class_names[worst],
        f"about {wrong[worst]:.0%} of its labels look wrong, most often "
        f"{items.class_names[int(column.argmax())]!r}",
    )


def json_of(items: Items, found: Audit, known: Known, warnings: list[str]) -> dict[str, Any]:
    """All figures, for machines."""
    summary = found.issues.summary
    tested = [test._asdict() for test in summary.self_tests]
    return {
        "warnings": warnings,
        "data": {
            "name": items.name,
            "kind": items.kind,
            "examples": len(items.labels),
            "labeled": int((items.labels != UNLABELED).sum()),
            "class_names": list(items.class_names),
            "left_out": [{"id": name, "why": why} for name, why in items.left_out],
        },
        "share_wrong": summary.share_wrong,
        "share_wrong_interval_95": [summary.share_low, summary.share_high],
        "num_issues": summary.num_issues,
        "confusion": {
            "meaning": "estimated number of examples of true class (row) and label (column)",
            "counts": np.round(summary.confusion, 3).tolist(),
        },
        "near_duplicates_with_different_labels": [
            [str(items.ids[at]) for at in group] for group in summary.duplicates
        ],
        "fit_no_class": [str(items.ids[at]) for at in np.flatnonzero(found.issues.fits_no_class)],
        "decided": {
            "right": int(((known.right == items.labels) & (items.labels >= 0)).sum()),
            "wrong": int(known.wrong.sum()),
        },
        "self_tests": tested,
        "evidence_in_the_score": [
            test["name"] for test in tested if test["weight"] > 0 and test["name"] in SCORED
        ],
        "network": {
            "name": found.choice.name,
            "overrides": found.choice.overrides,
            "why": found.choice.why,
            "plan": found.choice.plan._asdict(),
            "epochs": found.epochs,
            "seconds": round(found.seconds, 3),
        },
    }


def lines_of(items: Items, found: Audit, known: Known, warnings: list[str]) -> list[str]:
    """What is printed: warnings first, then the facts."""
    facts = facts_of(items, found, known)
    width = max(len(fact.name) for fact in facts)
    return [f"Read this first: {text}" for text in warnings] + [
        f"{fact.name:{width}s}  {fact.value} ({fact.meaning})" for fact in facts
    ]
